"""The converter ends at the same bytes, whatever happens on the way, and tells what it left out."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import conversion_fakes
import numpy as np
import pytest
from conversion_fakes import DAMAGED, run, write_demos

from vla3d.conversion.convert import closing_table
from vla3d.conversion.record import RECORD_FILE
from vla3d.data import DatasetWriter, DemoDataset, EpisodeRef
from vla3d.data.locking import DatasetLock
from vla3d.data.schema import table_from_steps
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError, DatasetLockedError

DEMOS = {"lift": [3, DAMAGED, 5, 6], "draw": [4, 8], "hopeless": [DAMAGED]}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demos(tmp_path_factory.mktemp("source") / "demos", DEMOS)


@pytest.fixture(scope="module")
def undisturbed(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "dataset"
    run(demos, out, num_workers=1)
    return out


def test_episodes_keep_their_names_and_numbers(demos: Path, undisturbed: Path) -> None:
    dataset = DemoDataset(undisturbed)
    assert dataset.episodes() == [EpisodeRef("draw", 0), EpisodeRef("draw", 1), *(EpisodeRef("lift", k) for k in (0, 2, 3))]
    for ref in dataset.episodes():
        dataset.verify(ref)
        seed = int((demos / ref.task / f"{ref.attempt}.txt").read_text())
        expected = conversion_fakes.data_episodes.build(seed=seed, task=ref.task, sizes=(), num_steps=3, keyframes=(1, 2))
        stored = dataset.read(ref)
        assert np.array_equal(table_from_steps(stored.steps)[0], table_from_steps(expected.steps)[0], equal_nan=True)
        for name in ("variation", "instruction", "paraphrases", "keyframe_indices"):
            assert getattr(stored, name) == getattr(expected, name)
        assert len(stored.alternatives) == len(expected.alternatives)


def test_what_was_left_out_is_told_with_its_reason(demos: Path, undisturbed: Path, tmp_path: Path) -> None:
    record = json.loads((undisturbed / RECORD_FILE).read_text())
    assert record["skipped"] == {"hopeless/000000": "0.txt is damaged", "lift/000001": "1.txt is damaged"}
    assert record["request"] == {"converter": "fake", "cameras": "all", "keyframe_rule": "recorded", "image_stride": 1}
    report = run(demos, tmp_path / "dataset")
    assert (report.new_episodes, report.camera_frames) == (5, 0)
    table = closing_table(report)
    assert "2 damaged demonstrations were left out" in table and "\n  lift/000001: 1.txt is damaged" in table
    assert not (undisturbed / "hopeless").exists(), "a task without a sound episode is none"


def test_workers_and_order_change_no_byte(demos: Path, undisturbed: Path, tmp_path: Path) -> None:
    run(demos, tmp_path / "dataset", num_workers=4)
    assert files(tmp_path / "dataset") == files(undisturbed)
    texts = [content.decode() for name, content in files(undisturbed).items() if name.endswith(".json")]
    assert not any(str(demos.parent) in text or os.uname().nodename in text for text in texts)


def test_more_later_equals_more_at_once(demos: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    assert run(demos, out, tasks=["lift"], episodes=1).new_episodes == 1
    assert run(demos, out, tasks=["draw"]).new_episodes == 2
    assert run(demos, out, tasks=["lift", "hopeless"]).skipped.keys() == {EpisodeRef("lift", 1), EpisodeRef("hopeless", 0)}
    assert files(out) == files(undisturbed)
    again = run(demos, out)
    assert again.new_episodes == 0 and len(again.skipped) == 2
    assert "This run: nothing new." in closing_table(again)
    assert files(out) == files(undisturbed)


def test_what_was_mended_is_converted_after_all_and_what_is_gone_forgotten(tmp_path: Path) -> None:
    demos, out = write_demos(tmp_path / "demos", DEMOS), tmp_path / "dataset"
    run(demos, out)
    (demos / "lift" / "1.txt").write_text("9")
    (demos / "hopeless" / "0.txt").unlink()
    report = run(demos, out)
    assert report.new_episodes == 1 and not report.skipped
    assert "No demonstration was left out." in closing_table(report)
    run(demos, tmp_path / "fresh")
    assert files(out) == files(tmp_path / "fresh")


def test_strict_stops_at_the_first_damage_and_keeps_what_is_there(demos: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    with pytest.raises(CorruptEpisodeError, match=r"Episode lift/000001 .*1.txt is damaged"):
        run(demos, out, tasks=["lift"], strict=True, num_workers=1)
    assert DemoDataset(out).episodes() == [EpisodeRef("lift", 0)]
    assert not (out / ".partial").exists()
    run(demos, out)
    assert files(out) == files(undisturbed)


@pytest.mark.parametrize(("name", "value"), [("cameras", ["front"]), ("keyframe_rule", "vla3d"), ("image_stride", 2)])
def test_other_options_are_refused(demos: Path, undisturbed: Path, name: str, value: Any) -> None:
    before = files(undisturbed)
    with pytest.raises(ConfigError, match=rf"{name}: .* got {name}=.*; choose another out=DIR") as caught:
        run(demos, undisturbed, **{name: value})
    assert "\n" not in str(caught.value)
    assert files(undisturbed) == before


@pytest.mark.parametrize(
    ("other", "where"),
    [
        ({"lift": [7, 7, 7, 7], "draw": [4, 8]}, "lift/000000"),
        ({"draw": [4, 8]}, "lift/000000"),
        ({"draw": [4], "lift": [3, 3, 5, 6]}, "draw/000001"),
        ({"other": [1]}, "draw/000000"),
    ],
)
def test_other_demonstrations_are_refused(undisturbed: Path, tmp_path: Path, other: dict[str, Any], where: str) -> None:
    before = files(undisturbed)
    source = write_demos(tmp_path / "demos", other)
    with pytest.raises(ConfigError, match=rf"made of other demonstrations than .*demos \(they differ in {where}\)"):
        run(source, undisturbed)
    assert files(undisturbed) == before


def test_demonstrations_that_were_moved_or_have_grown_go_on(undisturbed: Path, tmp_path: Path) -> None:
    run(write_demos(tmp_path / "a", DEMOS), tmp_path / "dataset")
    grown = write_demos(tmp_path / "b", {**DEMOS, "draw": [4, 8, 10]})
    assert run(grown, tmp_path / "dataset").new_episodes == 1


def test_folders_that_no_conversion_made_are_refused(demos: Path, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "collected", {"collector": "expert", "seed": 0}):
        pass
    with pytest.raises(ConfigError, match="collected was not made by vla3d convert; choose a new or empty folder"):
        run(demos, tmp_path / "collected")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex' and is no dataset"):
        run(demos, tmp_path / "other")
    with pytest.raises(ConfigError, match="is a dataset of vla3d already"):
        run(tmp_path / "collected", tmp_path / "out", format=None)
    with pytest.raises(ConfigError, match="lies in the demonstrations to convert"):
        run(demos, demos / "out")


def test_two_converters_into_one_dataset(demos: Path, undisturbed: Path) -> None:
    with DatasetLock(undisturbed), pytest.raises(DatasetLockedError, match=f"is being written by process {os.getpid()}"):
        run(demos, undisturbed)


def test_unknown_tasks_and_nothing_to_convert(demos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lift'"):
        run(demos, tmp_path / "dataset", tasks=["lfit"])
    (tmp_path / "empty" / "task").mkdir(parents=True)
    (tmp_path / "empty" / "task" / "x.txt").write_text("")
    (tmp_path / "empty" / "task" / "x.txt").unlink()
    with pytest.raises(DataError, match="is no dataset of the format fake; give a folder of small texts"):
        run(tmp_path / "empty", tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    demos: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "dataset"
    run(demos, out, tasks=["draw"])
    before = files(out)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("zarr.storage._local._put", full)
        with pytest.raises(DataError, match=r"No space left on device\. Everything stored before is intact; make room"):
            run(demos, out)
    assert files(out) == before
    assert not (out / ".partial").exists()
    run(demos, out)
    assert files(out) == files(undisturbed)


def test_a_truncated_episode_is_converted_again(demos: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    run(demos, out)
    shard = next(path for path in (out / "lift" / "000002").rglob("c.*") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:-3])
    assert run(demos, out).new_episodes == 1
    assert files(out) == files(undisturbed)


@pytest.mark.parametrize("content", ["{", "[]", '{"skipped": {"lift": "?"}}', '{"skipped": 3}', "null"])
def test_a_damaged_record_is_told(demos: Path, tmp_path: Path, content: str) -> None:
    out = tmp_path / "dataset"
    run(demos, out, tasks=["draw"])
    (out / RECORD_FILE).write_text(content)
    with pytest.raises(DataError, match=r"conversion.json is damaged \(.*\); delete it and run the same command again"):
        run(demos, out, tasks=["draw"])


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_file_operation_it_ends_at_the_same_bytes(tmp_path: Path, step: int) -> None:
    here = Path(__file__).parent
    program = subprocess.run(
        [sys.executable, str(here / "kill_convert.py"), str(tmp_path), str(step)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{Path.cwd()}:{here}"},
        check=False,
    )
    assert program.returncode == 0, program.stderr
    assert int(program.stdout) > 40 // step
