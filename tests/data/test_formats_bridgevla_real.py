"""BridgeVLA's real-robot layout: what was written comes back in the library's conventions, and damage is named."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bridgevla_real_demos as real
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from vla3d.data.formats.bridgevla_real_files import quaternion_from_euler_degrees
from vla3d.data.sources import open_demos, recognised_format
from vla3d.data.store import EpisodeRef
from vla3d.errors import ConfigError, CorruptEpisodeError
from vla3d.geometry import quaternion_to_matrix, unproject

REF = EpisodeRef("plate_tasks", 4)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real.write_dataset(tmp_path_factory.mktemp("real") / "demos")


# What comes back


def test_tasks_episodes_and_sentences(root: Path) -> None:
    assert recognised_format(root) == recognised_format(root / "plate_tasks") == "bridgevla-real"
    source = open_demos(root)
    assert source.tasks() == ("drawer_tasks", "plate_tasks")
    assert (
        source.episodes(["plate_tasks"]) == [EpisodeRef("plate_tasks", 3), REF] == open_demos(root / "plate_tasks").episodes()
    )
    info = source.info(REF)
    assert (info.instruction, info.paraphrases, info.variation) == ("put the block on the plate",) * 1 + (
        ("put the block on the plate",),
        0,
    )
    assert (info.cameras, info.num_steps, info.keyframes) == (("zed",), 4, (1, 2, 3))
    assert info.metadata["episode"] == "plate_tasks_004" and info.metadata["arm"] == 0
    source.verify(REF)


def test_poses_come_back_in_metres_and_wxyz(root: Path) -> None:
    positions, rotations, claws = real.poses(1 - 0, 4)
    steps = open_demos(root).read(EpisodeRef("plate_tasks", 4), cameras=()).steps
    for step, position, rotation, claw in zip(steps, positions, rotations, claws, strict=True):
        seen = step.observation
        np.testing.assert_allclose(seen.gripper_position, position, atol=1e-12)
        np.testing.assert_allclose(quaternion_to_matrix(torch.from_numpy(seen.gripper_quaternion)), rotation, atol=1e-12)
        assert seen.gripper_open == (claw == 0) == (seen.gripper_width > 0)
        if step.action is not None:
            assert step.action.ignore_collisions and step.action.gripper_open == seen.gripper_open
            assert np.array_equal(step.action.position, seen.gripper_position)
    assert [step.action is None for step in steps] == [True, False, False, False]
    assert {step.observation.gripper_open for step in steps} == {True, False}


def test_angles_turn_about_the_fixed_axes_one_after_the_other() -> None:
    """Rz Ry Rx by hand, and scipy's and ROS's fixed-axis convention."""
    rx, ry, rz = np.radians([20.0, -35.0, 50.0])
    X = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    Y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    Z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    quaternion = quaternion_from_euler_degrees([20.0, -35.0, 50.0])
    np.testing.assert_allclose(quaternion_to_matrix(torch.from_numpy(quaternion)), Z @ Y @ X, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(quaternion[[1, 2, 3, 0]]).as_matrix(), Z @ Y @ X, atol=1e-12)


def test_images_depth_and_camera_come_back(root: Path) -> None:
    source = open_demos(root)
    truth = real.scene()
    for index, step in enumerate(source.read(REF).steps):
        frame = step.observation.frames["zed"]
        assert np.abs(frame.rgb.astype(int) - real.colours(index)).mean() < 8  # JPEG; swapped colours would be off by dozens
        units = np.rint(truth.depth * 4000).astype(np.uint16)
        units[0, :3] = 0
        assert np.array_equal(frame.depth, units.astype(np.float32) / np.float32(4000)) and frame.depth.dtype == np.float32
        np.testing.assert_array_equal(frame.intrinsics, truth.intrinsics)
        np.testing.assert_array_equal(frame.T_world_camera, truth.T_world_camera)
    (step,) = source.read_steps(REF, [2], cameras=["zed"])
    assert np.array_equal(step.observation.frames["zed"].rgb, source.read(REF).steps[2].observation.frames["zed"].rgb)


def test_points_are_those_of_the_layouts_own_formula(root: Path) -> None:
    """``((u - cx) / fx z, (v - cy) / fy z, z)`` at integer pixels, then camera to base."""
    frame = open_demos(root).read_steps(REF, [0])[0].observation.frames["zed"]
    fx, fy, cx, cy = real.INTRINSICS
    v, u = np.mgrid[: real.SIZE[0], : real.SIZE[1]]
    z = frame.depth.astype(float)
    expected = (
        np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], axis=-1) @ real.T_BASE_CAMERA[:3, :3].T + real.T_BASE_CAMERA[:3, 3]
    )
    points, valid = unproject(*(torch.from_numpy(x) for x in (z, frame.intrinsics, frame.T_world_camera)))
    np.testing.assert_allclose(points[valid], expected[valid.numpy()], atol=1e-12)
    assert (~valid).sum() == 3


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickle_protocols_plain_text_one_intrinsic_for_all_and_an_arm(tmp_path: Path, root: Path, protocol: int) -> None:
    intrinsic = dict(zip(("fx", "fy", "cx", "cy"), ([value] for value in real.INTRINSICS), strict=True)) | {"depth_scale": 4000}
    folder = real.write_episode(
        tmp_path / "plate_tasks" / "ep4", seed=1, intrinsic=intrinsic, protocol=3 if protocol == 2 else protocol
    )
    if protocol == 2:
        (folder / "pose.pkl").write_text(real.pose_text(1, 4, arm=1))
    mine, other = open_demos(tmp_path).read(REF), open_demos(root).read(REF)
    assert mine.metadata["arm"] == (1 if protocol == 2 else 0)
    for a, b in zip(mine.steps, other.steps, strict=True):
        assert np.array_equal(a.observation.gripper_position, b.observation.gripper_position)
        assert np.array_equal(a.observation.frames["zed"].depth, b.observation.frames["zed"].depth)
        assert np.array_equal(a.observation.frames["zed"].intrinsics, b.observation.frames["zed"].intrinsics)


def test_numbers_of_episodes(tmp_path: Path) -> None:
    for name in ("b_7", "a_12", "c_100"):
        real.write_episode(tmp_path / "numbered" / name, images=2)
    for name in ("kitchen_1", "office_1", "office"):
        real.write_episode(tmp_path / "named" / name, images=2)
    source = open_demos(tmp_path)
    assert [ref.attempt for ref in source.episodes(["numbered"])] == [7, 12, 100]
    names = [source.info(ref).metadata["episode"] for ref in source.episodes(["named"])]
    assert names == ["kitchen_1", "office", "office_1"]
    assert [ref.attempt for ref in source.episodes(["named"])] == [0, 1, 2]


def test_keyframes_are_what_was_recorded(root: Path) -> None:
    with pytest.raises(ConfigError, match="keyframe_rule: got 'vla3d', but bridgevla-real stores keyframes alone"):
        open_demos(root, keyframe_rule="vla3d")


# What is refused


class Trap:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["pose", "instruction", "extrinsic_matrix", "intrinsic"])
def test_no_pickle_runs(tmp_path: Path, name: str) -> None:
    trap = tmp_path / "executed"
    real.write_episode(tmp_path / "demos" / "plate_tasks" / "ep_4", **{name: Trap(trap)})
    with pytest.raises(CorruptEpisodeError, match=rf"Episode plate_tasks/000004 .*{name}.pkl: .*pathlib"):
        open_demos(tmp_path / "demos").read(REF)
    assert not trap.exists()


def intrinsic(**changes: Any) -> dict[str, Any]:
    return {"fx": [50.0], "fy": [50.0], "cx": [31.5], "cy": [17.5], "depth_scale": 4000.0} | changes


def line(number: int, words: str) -> str:
    """The pose text with one line replaced."""
    lines = real.pose_text(1, 4).split("\n")
    lines[number] = words
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"pose": None}, "pose.pkl is missing"),
        ({"pose": ["a", "b"]}, "pose.pkl holds a list, expected a text"),
        ({"pose": real.pose_text(1, 3)}, "pose.pkl has 3 poses for 4 images"),
        ({"pose": real.pose_text(1, 5)}, "pose.pkl has 5 poses for 4 images"),
        ({"pose": line(2, "1 2 3 4 5 6 7")}, "pose.pkl, line 3: got 7 words, expected timestamp"),
        ({"pose": line(2, "")}, "pose.pkl, line 3: got 0 words"),
        ({"pose": line(1, "0 1 2 3 4 five 6 0")}, "pose.pkl, line 2: got '0 1 2 3 4 five 6 0', expected numbers"),
        ({"pose": line(1, "0 1 nan 3 4 5 6 0")}, "pose.pkl, line 2: a number is not finite"),
        ({"pose": line(1, "0 1 2 3 4 5 6 0.5")}, r"pose.pkl, line 2: got claw 0.5, expected 0 \(open\) or 1 \(closed\)"),
        ({"pose": line(1, "0 1 2 3 4 5 6 0 1")}, r"moves the arms \[0, 1\], expected one"),
        ({"instruction": None}, "instruction.pkl is missing"),
        ({"instruction": "  "}, "expected a sentence"),
        ({"instruction": 7}, "instruction.pkl holds a int"),
        ({"extrinsic_matrix": np.eye(3)}, "extrinsic_matrix.pkl holds no finite 4x4 matrix"),
        ({"extrinsic_matrix": np.full((4, 4), np.nan)}, "no finite 4x4 matrix"),
        ({"extrinsic_matrix": "eye"}, "no finite 4x4 matrix"),
        ({"extrinsic_matrix": np.diag([1.0, 1, -1, 1])}, "no rigid transform"),
        ({"extrinsic_matrix": np.diag([2.0, 2, 2, 1])}, "no rigid transform"),
        ({"extrinsic_matrix": np.eye(4) + 1100 * np.eye(4, k=3)}, "expected metres"),
        ({"intrinsic": None}, "intrinsic.pkl is missing"),
        ({"intrinsic": [50, 50]}, "intrinsic.pkl holds a list, expected a mapping with fx"),
        ({"intrinsic": {"fx": [50.0]}}, "expected a mapping with fx, fy, cx, cy, depth_scale"),
        ({"intrinsic": intrinsic(fx=[50.0] * 3)}, r"holds \[1, 3\] values of fx"),
        ({"intrinsic": intrinsic(fx=["50"])}, "something else than numbers"),
        ({"intrinsic": intrinsic(fx=[[1.0], [1.0, 2.0]])}, "something else than numbers"),
        ({"intrinsic": intrinsic(fx=[-50.0])}, "a focal length that is not above 0"),
        ({"intrinsic": intrinsic(cy=[np.inf])}, "a number that is not finite"),
        ({"intrinsic": intrinsic(depth_scale=0.00025)}, "has depth_scale 0.00025, expected units in a metre"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_named(tmp_path: Path, files: dict[str, Any], part: str) -> None:
    real.write_episode(tmp_path / "plate_tasks" / "ep_4", **files)
    with pytest.raises(CorruptEpisodeError, match=rf"Episode plate_tasks/000004 \(.*ep_4\): .*{part}") as caught:
        open_demos(tmp_path).info(REF)
    assert "\n" not in str(caught.value)
    skipping = open_demos(tmp_path, on_corrupt="skip")
    assert skipping.episodes() == [] and list(skipping.skipped) == [REF]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda at: cut(at / "zed_rgb" / "2.jpg"), "zed_rgb/2.jpg cannot be read"),
        (lambda at: cut(at / "zed_depth" / "2.png"), "zed_depth/2.png cannot be read"),
        (lambda at: (at / "zed_rgb" / "2.jpg").write_bytes(b""), "zed_rgb/2.jpg cannot be read"),
        (lambda at: shutil.copy(at / "zed_depth" / "2.png", at / "zed_rgb" / "2.jpg"), "zed_rgb/2.jpg cannot"),
        (lambda at: real.Image.new("L", (64, 36)).save(at / "zed_depth" / "2.png"), "2.png is a PNG of mode L, expected I;16"),
        (lambda at: real.Image.new("L", (64, 36)).save(at / "zed_rgb" / "2.jpg"), "2.jpg is a JPEG of mode L, expected RGB"),
        (lambda at: real.Image.new("I;16", (64, 40)).save(at / "zed_depth" / "2.png"), r"2.png has \(40, 64\) pixels"),
        (lambda at: (at / "zed_rgb" / "2.jpg").unlink(), "zed_rgb: image 2 is missing"),
        (lambda at: (at / "zed_depth" / "3.png").unlink(), "zed_depth: image 3 is missing"),
        (lambda at: shutil.rmtree(at / "zed_depth"), "zed_depth: image 0 is missing"),
        (lambda at: (at / "zed_depth").rename(at / "zed_pcd"), r"it holds pickled clouds \(zed_pcd\)"),
    ],
)  # fmt: skip
def test_damaged_images_are_named(tmp_path: Path, damage: Callable[[Path], object], part: str) -> None:
    damage(real.write_episode(tmp_path / "plate_tasks" / "ep_4"))
    for use in (open_demos(tmp_path).verify, open_demos(tmp_path).read):
        with pytest.raises(CorruptEpisodeError, match=rf"Episode plate_tasks/000004 .*{part}") as caught:
            use(REF)
        assert "\n" not in str(caught.value)


def test_images_of_two_sizes(tmp_path: Path) -> None:
    folder = real.write_episode(tmp_path / "plate_tasks" / "ep_4")
    (folder / "zed_rgb" / "2.jpg").write_bytes(real.jpeg(np.zeros((40, 64, 3), np.uint8)))
    real.Image.new("I;16", (64, 40)).save(folder / "zed_depth" / "2.png")
    with pytest.raises(CorruptEpisodeError, match=r"sizes \[\(36, 64\), \(40, 64\)\], expected one"):
        open_demos(tmp_path).verify(REF)


def test_a_folder_without_episodes_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "file").write_bytes(pickle.dumps(1))
    assert recognised_format(tmp_path) is None
