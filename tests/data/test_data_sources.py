"""The door to demonstrations: the format is recognised, and every format keeps the same promises."""

from pathlib import Path

import numpy as np
import pytest
import rlbench_demos
from data_episodes import build

from vla3d.data import DatasetWriter, DemoDataset, DemoSource, EpisodeRef, describe_dataset, open_demos
from vla3d.data.sources import SourceOptions, format_names, recognised_format
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError


def write_vla3d(root: Path) -> None:
    with DatasetWriter(root, {"seed": 3}) as writer:
        for attempt in range(3):
            writer.add(build(seed=attempt), attempt)


def write_rlbench(root: Path) -> None:
    rlbench_demos.write_peract(root, "open_drawer", 3, frames=9, size=(4, 6))


WRITERS = {"vla3d": write_vla3d, "rlbench": write_rlbench}


@pytest.fixture(params=WRITERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> DemoSource:
    WRITERS[request.param](tmp_path / "demos")
    source = open_demos(tmp_path / "demos")
    assert source.format == request.param == recognised_format(tmp_path / "demos")
    return source


def test_the_store_is_a_format_among_others(tmp_path: Path) -> None:
    assert set(WRITERS) <= set(format_names())
    write_vla3d(tmp_path / "demos")
    assert isinstance(open_demos(tmp_path / "demos"), DemoDataset)
    (tmp_path / "demos" / "zarr.json").write_text("{ damaged")
    with pytest.raises(DataError, match=r"zarr.json: .*collect the dataset again"):  # damaged, but known for what it is
        open_demos(tmp_path / "demos")


def test_a_wrong_wish_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown on_corrupt 'skipp'. Did you mean 'skip'"):
        open_demos(tmp_path, on_corrupt="skipp")
    with pytest.raises(ConfigError, match=r"Unknown keyframe rule 'mine'"):
        SourceOptions(keyframe_rule="mine")
    assert recognised_format(tmp_path / "nowhere") is None


def test_infos_are_those_of_the_episodes(source: DemoSource) -> None:
    assert len(source.episodes()) == 3 and not source.skipped
    assert source.episodes(source.tasks()) == source.episodes()
    for ref in source.episodes():
        source.verify(ref)
        info, episode = source.info(ref), source.read(ref)
        assert info.ref == ref and ref.task == episode.task
        assert info.num_steps == len(episode.steps) and info.keyframes == episode.keyframe_indices
        assert info.cameras == tuple(episode.steps[0].observation.frames)
        for field in ("variation", "instruction", "paraphrases", "seed", "success", "metadata"):
            assert getattr(info, field) == getattr(episode, field)
        assert info.num_bytes > 0


def test_parts_are_those_of_the_whole(source: DemoSource) -> None:
    ref = source.episodes()[1]
    whole = source.read(ref)
    outline = source.read(ref, cameras=())
    assert all(not step.observation.frames for step in outline.steps)
    last = len(whole.steps) - 1
    camera = source.info(ref).cameras[1]
    for step, index in zip(source.read_steps(ref, [last, 0, last], cameras=[camera]), (last, 0, last), strict=True):
        expected = whole.steps[index]
        assert list(step.observation.frames) == [camera] and step.time == expected.time
        frame, other = step.observation.frames[camera], expected.observation.frames[camera]
        np.testing.assert_array_equal(frame.rgb, other.rgb)
        np.testing.assert_array_equal(frame.depth, other.depth)
        np.testing.assert_array_equal(outline.steps[index].observation.gripper_position, step.observation.gripper_position)
    assert source.read_steps(ref, []) == []


def test_what_is_not_there_is_named(source: DemoSource) -> None:
    ref = source.episodes()[0]
    for wrong, error, sentence in (
        (lambda: source.info(EpisodeRef(ref.task, 77)), DataError, "has no episode .*/000077"),
        (lambda: source.read_steps(ref, [99]), DataError, "got step 99, expected 0 to"),
        (lambda: source.read_steps(ref, [-1]), DataError, "got step -1, expected 0 to"),
        (lambda: source.read(ref, cameras=["nose"]), ConfigError, "Unknown camera of episode .* 'nose'"),
        (lambda: source.episodes(["tidy"]), ConfigError, "Unknown task in .* 'tidy'"),
    ):
        with pytest.raises(error, match=sentence):
            wrong()


def test_damaged_episodes_are_named_or_left_out(source: DemoSource, tmp_path: Path) -> None:
    ref = source.episodes()[0]
    images = [path for path in (tmp_path / "demos").rglob("*") if path.is_file() and path.stat().st_size > 60]
    victim = next(path for path in sorted(images) if path.name in ("0.png", "c.0.0.0.0.0"))
    content = bytearray(victim.read_bytes())
    content[-30] ^= 4
    victim.write_bytes(content)
    with pytest.raises(CorruptEpisodeError, match=str(ref)):
        source.read(ref)
    skipping = open_demos(source.path, on_corrupt="skip")
    assert skipping.episodes() == source.episodes()[1:] and list(skipping.skipped) == [ref]
    text = describe_dataset(source.path)
    assert "1 damaged episodes" in text and f"Episode {ref}" in text


def test_descriptions_tell_format_cameras_sizes_and_sentences(source: DemoSource) -> None:
    text = describe_dataset(source.path)
    if source.format == "vla3d":
        assert "demonstrations, schema version 1\nrequest: seed=3\ncameras: camera_0 16x12, camera_1 16x12\n" in text
        assert "pick_and_lift: “lift the réd block”" in text
    else:
        assert "demonstrations, format rlbench\ncameras: front 6x4, wrist 6x4\n" in text
        assert "open_drawer: “open the top drawer”" in text
    row = next(line.split() for line in text.splitlines() if line.startswith(source.tasks()[0]))
    steps = sum(source.info(ref).num_steps for ref in source.episodes())
    assert (row[1], row[5], row[7]) == ("3", str(steps), str(2 * steps))
