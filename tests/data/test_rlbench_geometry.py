"""RLBench's depth codes, masks and cameras: every code, every pixel, and the table that the cameras must agree on."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rlbench_demos as demos
import torch

from vla3d.data import EpisodeRef, open_demos
from vla3d.data.formats.rlbench_cameras import opencv_camera_from_rlbench
from vla3d.data.formats.rlbench_images import depth_from_rgb, handles_from_rgb, segmentation_from_handles
from vla3d.geometry.cameras import unproject


def test_all_depth_codes_are_the_formula_rounded_once() -> None:
    near, far = 0.009999999776482582, 4.5
    codes = np.arange(2**24, dtype=np.int64)
    pixels = np.empty((4_096, 4_096, 3), dtype=np.uint8)
    for channel, place in enumerate((65_536, 256, 1)):
        pixels[..., channel] = (codes // place % 256).reshape(4_096, 4_096)
    metres = depth_from_rgb(pixels, near, far).reshape(-1)
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(metres, (near + (codes / (2**24 - 1)) * (far - near)).astype(np.float32))
    assert (np.diff(metres) >= 0).all()
    # The formula in rational numbers: float32 holds it to half a unit of its last place.
    for code in (0, 1, 255, 256, 65_535, 65_536, 8_388_608, 2**24 - 2, 2**24 - 1):
        exact = Fraction(near) + Fraction(code, 2**24 - 1) * (Fraction(far) - Fraction(near))
        assert abs(Fraction(float(metres[code])) - exact) <= Fraction(float(np.spacing(metres[code]))) / 2 * Fraction(101, 100)


def test_handles_have_red_lowest_and_what_int16_cannot_hold_is_background() -> None:
    pixels = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [255, 127, 0], [0, 128, 0], [255, 255, 255]]], dtype=np.uint8)
    handles = handles_from_rgb(pixels)
    assert handles.tolist() == [[1, 256, 65_536, 32_767, 32_768, 2**24 - 1]]
    assert segmentation_from_handles(handles).tolist() == [[1, 256, 0, 32_767, 0, 0]]


@pytest.mark.parametrize("camera", demos.CAMERAS)
def test_our_points_are_those_of_the_stored_matrices(camera: str) -> None:
    """``T K^-1 (u, v, 1) z`` with K as stored, negative focal lengths and all, at whole-numbered pixels."""
    size = (9, 13)
    stored = demos.intrinsics(size, camera)
    stored[0, 2] += 1.25  # off the middle
    pose = demos.extrinsics(camera)
    depth = np.random.default_rng(0).uniform(0.3, 3.0, size)
    v, u = np.mgrid[: size[0], : size[1]].astype(np.float64)
    local = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(stored).T * depth[..., None]
    expected = local @ pose[:3, :3].T + pose[:3, 3]

    intrinsics, T_world_camera = opencv_camera_from_rlbench(stored, pose)
    assert intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0
    np.testing.assert_allclose(np.linalg.det(T_world_camera[:3, :3]), 1.0, atol=1e-12)
    points, _ = unproject(torch.from_numpy(depth), torch.from_numpy(intrinsics), torch.from_numpy(T_world_camera))
    np.testing.assert_allclose(points.numpy().reshape(expected.shape), expected, atol=1e-12)


def test_cameras_that_are_opencv_already_keep_their_frame() -> None:
    stored = np.array([[100.0, 0.0, 8.0], [0.0, 90.0, 6.0], [0.0, 0.0, 1.0]])
    intrinsics, pose = opencv_camera_from_rlbench(stored, demos.extrinsics("front"))
    np.testing.assert_array_equal(pose, demos.extrinsics("front"))
    np.testing.assert_array_equal(intrinsics[:2, 2], [8.5, 6.5])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((0, 0, -1.0), "of two signs"),
        ((1, 1, 0.0), "of two signs"),
        ((0, 1, 0.5), "without skew"),
        ((2, 2, 2.0), "without skew"),
    ],
)
def test_mirrors_and_skew_are_refused(change: tuple[int, int, float], sentence: str) -> None:
    stored = np.array([[100.0, 0.0, 8.0], [0.0, 90.0, 6.0], [0.0, 0.0, 1.0]])
    row, column, value = change
    stored[row, column] = value
    with pytest.raises(ValueError, match=sentence):
        opencv_camera_from_rlbench(stored, np.eye(4))


@pytest.mark.parametrize("scale", [1.01, -1.0, 0.0])
def test_transforms_that_are_not_rigid_are_refused(scale: float) -> None:
    pose = np.eye(4)
    pose[:3, 0] *= scale
    with pytest.raises(ValueError, match="no rigid transform"):
        opencv_camera_from_rlbench(demos.intrinsics((8, 8), "front"), pose)


def test_every_camera_sees_the_table_and_the_box_where_they_are(tmp_path: Path) -> None:
    task = demos.write_peract(tmp_path, "look", 1, frames=3, size=(24, 32), cameras=demos.CAMERAS)
    steps = open_demos(task).read_steps(EpisodeRef("look", 0), [0, 2])
    for step, index in zip(steps, (0, 2), strict=True):
        frames = step.observation.frames
        assert tuple(frames) == ("front", "left_shoulder", "right_shoulder", "wrist", "overhead")
        for frame in frames.values():
            points, valid = unproject(
                *(torch.from_numpy(part) for part in (frame.depth, frame.intrinsics, frame.T_world_camera))
            )
            world = points.numpy().reshape(*frame.depth.shape, 3)
            assert valid.all()
            table, box = frame.segmentation == demos.TABLE, frame.segmentation == demos.BOX
            assert table.sum() > 20 and box.sum() >= 2
            np.testing.assert_allclose(world[table][:, 2], demos.TABLE_Z, atol=2e-6)
            low, high = demos.box_at(index)
            on_box = world[box]
            assert (on_box > low - 2e-6).all() and (on_box < high + 2e-6).all()
            from_faces = np.minimum(abs(on_box - low), abs(on_box - high)).min(axis=1)
            assert (from_faces < 2e-6).all()
