"""The store gives back exactly what it was given, and the same bytes for the same episode."""

from copy import copy
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr

from vla3d.data import DatasetWriter, DemoDataset, EpisodeRef
from vla3d.data.schema import COLUMNS, TABLE_WIDTH, depth_to_units, units_to_depth
from vla3d.data.writer import write_episode
from vla3d.errors import ConfigError, DataError
from vla3d.types import Episode, Step

REQUEST = {"seed": 0, "image_size": 16}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same(left: object, right: object, where: str = "") -> None:
    """Equal to the bit, dataclasses and mappings field by field."""
    assert type(left) is type(right), where
    if hasattr(left, "__dataclass_fields__"):
        for item in fields(left):  # type: ignore[arg-type]
            assert_same(getattr(left, item.name), getattr(right, item.name), f"{where}.{item.name}")
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, where  # type: ignore[attr-defined]
        assert left.shape == right.shape, where  # type: ignore[attr-defined]
        assert left.tobytes() == right.tobytes(), where  # type: ignore[attr-defined]
    elif isinstance(left, dict):
        assert list(left) == list(right), where  # type: ignore[call-overload]
        for key in left:
            assert_same(left[key], right[key], f"{where}[{key!r}]")  # type: ignore[index]
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where  # type: ignore[arg-type]
        for index, (a, b) in enumerate(zip(left, right, strict=True)):  # type: ignore[call-overload]
            assert_same(a, b, f"{where}[{index}]")
    else:
        assert left == right, where


LAYOUTS = {
    "two cameras": {},
    "float depth": {"exact_depth": False},
    "two sizes": {"sizes": ((8, 8), (6, 10), (8, 8)), "segmented": (True, False, False)},
    "no segmentation": {"segmented": (False, False)},
    "one step": {"num_steps": 1, "keyframes": ()},
    "full chunks": {"num_steps": 16, "keyframes": (15,)},
    "no camera": {"sizes": (), "segmented": ()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip_is_exact(tmp_path: Path, build_episode, layout: str) -> None:
    episode: Episode = build_episode(**LAYOUTS[layout])
    with DatasetWriter(tmp_path / "demos", REQUEST) as writer:
        ref = writer.add(episode, 7)
    dataset = DemoDataset(tmp_path / "demos")
    assert dataset.episodes() == [ref] == [EpisodeRef("pick_and_lift", 7)]
    assert dataset.request == REQUEST
    assert_same(dataset.read(ref), episode)
    dataset.verify(ref)


def test_info_needs_no_arrays(tmp_path: Path, build_episode) -> None:
    episode = build_episode()
    with DatasetWriter(tmp_path / "demos", REQUEST) as writer:
        ref = writer.add(episode, 0)
    info = DemoDataset(tmp_path / "demos").info(ref)
    assert (info.num_steps, info.keyframes, info.cameras) == (11, (4, 10), ("camera_0", "camera_1"))
    assert (info.instruction, info.seed, info.variation) == (episode.instruction, 0, 3)
    assert info.num_bytes == sum(len(content) for name, content in files(ref.folder(tmp_path / "demos")).items() if "/" in name)


@pytest.mark.parametrize("indices", [[0], [10], [4, 10], [10, 4, 4, 0], list(range(11)), []])
def test_single_steps_equal_the_whole(tmp_path: Path, build_episode, indices: list[int]) -> None:
    episode = build_episode(exact_depth=False)
    with DatasetWriter(tmp_path / "demos", REQUEST) as writer:
        ref = writer.add(episode, 0)
    steps = DemoDataset(tmp_path / "demos").read_steps(ref, indices)
    assert_same(steps, [episode.steps[index] for index in indices])


def test_cameras_are_selected_in_recorded_order(tmp_path: Path, build_episode) -> None:
    episode: Episode = build_episode(**LAYOUTS["two sizes"])
    with DatasetWriter(tmp_path / "demos", REQUEST) as writer:
        ref = writer.add(episode, 0)
    dataset = DemoDataset(tmp_path / "demos")
    for names in (("camera_2", "camera_0"), ("camera_1",), ()):
        got: list[Step] = list(dataset.read(ref, cameras=names).steps)
        for index, step in enumerate(got):
            expected = {name: frame for name, frame in episode.steps[index].observation.frames.items() if name in names}
            assert_same(dict(step.observation.frames), expected)
    with pytest.raises(ConfigError, match="camera_0"):
        dataset.read(ref, cameras=["camera_00"])
    with pytest.raises(DataError, match="got step 11, expected 0 to 10"):
        dataset.read_steps(ref, [3, 11])
    with pytest.raises(DataError, match="no episode pick_and_lift/000003"):
        dataset.read(EpisodeRef("pick_and_lift", 3))


def test_same_episode_same_bytes(tmp_path: Path, build_episode) -> None:
    for name in "ab":
        write_episode(build_episode(exact_depth=False), tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(files(tmp_path / "a")) == 13


def test_opens_without_this_project(tmp_path: Path, build_episode) -> None:
    episode: Episode = build_episode()
    with DatasetWriter(tmp_path / "demos", REQUEST) as writer:
        writer.add(episode, 0)
    root = zarr.open_group(tmp_path / "demos", mode="r")
    group = root["pick_and_lift/000000"]
    assert group.attrs["vla3d"]["instruction"] == episode.instruction
    assert group["rgb_12x16"].attrs["cameras"] == ["camera_0", "camera_1"]
    np.testing.assert_array_equal(group["rgb_12x16"][4, 1], episode.steps[4].observation.frames["camera_1"].rgb)
    assert group["depth_12x16"].attrs["unit"] == "0.1 mm"
    start, end = group["steps"].attrs["columns"]["gripper_position"]
    np.testing.assert_array_equal(group["steps"][4, start:end], episode.steps[4].observation.gripper_position)


def test_depth_on_the_grid_survives_as_integers() -> None:
    every = np.arange(65536, dtype=np.uint16)
    depth = units_to_depth(every)[None]
    # A simulator that rounds to 0.1 mm by itself lands on the same numbers.
    np.testing.assert_array_equal((every.astype(np.float64) / 1e4).astype(np.float32), depth[0])
    units = depth_to_units(depth)
    assert units is not None
    np.testing.assert_array_equal(units[0], every)


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, -0.0, -0.5, 6.55355, 7.0, np.nextafter(np.float32(1), np.float32(2))]
)
def test_other_depth_is_left_alone(value: float) -> None:
    depth = np.full((2, 3), 1.0, dtype=np.float32)
    assert depth_to_units(depth) is not None
    depth[1, 2] = value
    assert depth_to_units(depth) is None


def test_table_columns_tile_the_table() -> None:
    spans = sorted(COLUMNS.values())
    assert spans[0][0] == 0
    assert spans[-1][1] == TABLE_WIDTH == 38
    assert all(left[1] == right[0] for left, right in pairwise(spans))


def test_episodes_that_do_not_fit_are_refused(tmp_path: Path, build_episode) -> None:
    episode: Episode = build_episode()
    with pytest.raises(DataError, match="no steps"):
        write_episode(replace(episode, steps=[]), tmp_path / "empty")
    step = episode.steps[3]
    frames = dict(step.observation.frames)
    lacking = replace(step, observation=replace(step.observation, frames={"camera_0": frames["camera_0"]}))
    steps = [*episode.steps[:3], lacking, *episode.steps[4:]]
    with pytest.raises(DataError, match="step 3 has cameras"):
        write_episode(replace(episode, steps=steps), tmp_path / "lacking")
    double = copy(frames["camera_1"])
    object.__setattr__(double, "depth", double.depth.astype(np.float64))  # the shape checks of the tests forbid the front door
    steps[3] = replace(step, observation=replace(step.observation, frames={**frames, "camera_1": double}))
    with pytest.raises(DataError, match="step 3, camera 'camera_1', depth: got float64"):
        write_episode(replace(episode, steps=steps), tmp_path / "double")
    with pytest.raises(DataError, match="got a object, expected plain values"):
        write_episode(replace(episode, metadata={"bad": object()}), tmp_path / "object")
    assert list(tmp_path.iterdir()) == []
