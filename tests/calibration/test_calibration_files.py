"""A folder of one's own: read back as it was written, and one clear sentence for everything that can be wrong with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_scenes import PLACES, look_at, seen
from PIL import Image

from vla3d.calibration.files import read_camera_folder
from vla3d.errors import Vla3dError

GOOD = seen(look_at(PLACES["front"]))


def write(folder: Path, change: Callable[[dict[str, Any]], object] = lambda cameras: None) -> Path:
    """Two cameras, one with depth as a PNG of millimetres and one with metres in ``.npy``."""
    folder.mkdir(exist_ok=True)
    calibration = {"intrinsics": GOOD.intrinsics.tolist(), "T_world_camera": GOOD.T_world_camera.tolist()}
    Image.fromarray(GOOD.rgb).save(folder / "rgb.png")
    Image.fromarray(np.rint(GOOD.depth * 1000).astype(np.uint16)).save(folder / "depth.png")
    np.save(folder / "depth.npy", GOOD.depth)
    cameras: dict[str, Any] = {
        "front": {**calibration, "depth_scale": 0.001, "rgb": "rgb.png", "depth": "depth.png"},
        "left": {**calibration, "rgb": "rgb.png", "depth": "depth.npy"},
    }
    changed = change(cameras)
    (folder / "cameras.json").write_text(changed if isinstance(changed, str) else json.dumps(cameras))
    return folder


def test_round_trip(tmp_path: Path) -> None:
    (frames,) = read_camera_folder(write(tmp_path)).instants
    assert list(frames) == ["front", "left"]
    for name, tolerance in (("front", 0.51e-3), ("left", 0)):
        np.testing.assert_array_equal(frames[name].rgb, GOOD.rgb)
        np.testing.assert_allclose(frames[name].depth, GOOD.depth, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(frames[name].T_world_camera, GOOD.T_world_camera)


def test_the_scale_of_a_png_is_a_millimetre_when_none_is_told(tmp_path: Path) -> None:
    told = read_camera_folder(write(tmp_path / "a")).instants[0]["front"].depth
    untold = read_camera_folder(write(tmp_path / "b", lambda cameras: cameras["front"].pop("depth_scale")))
    np.testing.assert_array_equal(untold.instants[0]["front"].depth, told)


def test_several_instants_of_a_moving_camera(tmp_path: Path) -> None:
    def twice(cameras: dict[str, Any]) -> None:
        for camera in cameras.values():
            camera["rgb"], camera["depth"] = [camera["rgb"]] * 2, [camera["depth"]] * 2
        moved = GOOD.T_world_camera.copy()
        moved[2, 3] += 0.1
        cameras["left"]["T_world_camera"] = [GOOD.T_world_camera.tolist(), moved.tolist()]

    first, second = read_camera_folder(write(tmp_path, twice)).instants
    assert first["front"].T_world_camera[2, 3] == second["front"].T_world_camera[2, 3]
    assert second["left"].T_world_camera[2, 3] - first["left"].T_world_camera[2, 3] == pytest.approx(0.1)


def put(name: str, key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(cameras: dict[str, Any]) -> None:
        cameras[name][key] = value

    return change


MIRRORED = (GOOD.T_world_camera @ np.diag([1.0, -1, 1, 1])).tolist()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda cameras: "{", "cameras.json cannot be read"),
        (lambda cameras: "[]", "names no camera"),
        (lambda cameras: cameras.update(front=3), "Camera 'front'"),
        (lambda cameras: cameras["front"].__delitem__("depth"), "depth is missing"),
        (put("front", "intrinsic", 1), "Unknown key of camera 'front' in cameras.json 'intrinsic'. Did you mean 'intrinsics'?"),
        (put("front", "intrinsics", [[1, 2], [3]]), "intrinsics is no matrix of 3 rows of 3 numbers"),
        (put("front", "T_world_camera", np.eye(3).tolist()), "T_world_camera is no matrix of 4 rows of 4 numbers"),
        (put("front", "T_world_camera", MIRRORED), "Camera 'front': T_world_camera mirrors (determinant -1)"),
        (put("front", "T_world_camera", [MIRRORED, MIRRORED]), "got 2 transforms for 1 images"),
        (put("front", "depth_scale", 0), "depth_scale is 0, expected metres for one unit"),
        (put("front", "depth_scale", 1.0), "it is probably in millimetres: multiply depth_scale by 0.001"),
        (put("front", "rgb", "nowhere.png"), "nowhere.png does not exist"),
        (put("front", "rgb", 7), "rgb is 7, expected a file's name"),
        (put("front", "rgb", "cameras.json"), "expected a whole image file"),
        (put("front", "depth", "rgb.png"), "has RGB pixels, expected a 16-bit PNG"),
        (put("front", "rgb", ["rgb.png", "rgb.png"]), "got 2 rgb and 1 depth files"),
    ],
)
def test_what_is_wrong_is_one_sentence(change: Callable[[dict[str, Any]], object], part: str, tmp_path: Path) -> None:
    with pytest.raises(Vla3dError) as raised:
        read_camera_folder(write(tmp_path, change))
    assert part in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["rgb.png", "depth.png", "depth.npy"])
def test_a_truncated_file_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(Vla3dError, match=rf"{name} cannot be read"):
        read_camera_folder(tmp_path)


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("values", "part"),
    [
        (np.zeros((96, 96, 3), np.float32), "has shape (96, 96, 3)"),
        (np.full((96, 96), np.nan, np.float32), "no pixel has a depth (all are NaN)"),
        (np.zeros((96, 96), np.float32), "no pixel has a depth (all are 0)"),
        (np.ones((96, 40), np.float32), "of one size"),
        (np.full((96, 96), 1500.0), "the median depth is 1500 m"),
    ],
)
def test_depth_that_cannot_be_right(values: np.ndarray, part: str, tmp_path: Path) -> None:
    write(tmp_path)
    np.save(tmp_path / "depth.npy", values)
    with pytest.raises(Vla3dError) as raised:
        read_camera_folder(tmp_path)
    assert part in str(raised.value) and "'left'" in str(raised.value)


def test_cameras_with_another_number_of_images(tmp_path: Path) -> None:
    def more(cameras: dict[str, Any]) -> None:
        cameras["left"]["rgb"], cameras["left"]["depth"] = ["rgb.png"] * 2, ["depth.npy"] * 2

    with pytest.raises(Vla3dError, match="expected as many of each camera"):
        read_camera_folder(write(tmp_path, more))
