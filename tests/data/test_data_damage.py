"""Damaged, foreign, locked and unwritable datasets are told apart, each in one sentence."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla3d.data import DatasetWriter, DemoDataset, EpisodeRef
from vla3d.data.locking import DatasetLock
from vla3d.data.store import write_group
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError, DatasetLockedError, SchemaVersionError

REQUEST = {"seed": 0, "image_size": 16}
TASK = "pick_and_lift"


@pytest.fixture
def demos(tmp_path: Path, build_episode) -> Path:
    """A dataset of three episodes."""
    with DatasetWriter(tmp_path / "demos", REQUEST) as writer:
        for attempt in (0, 1, 4):
            writer.add(build_episode(seed=attempt, exact_depth=False), attempt)
        writer.record_failure(EpisodeRef(TASK, 2), "collision")
        writer.record_failure(EpisodeRef(TASK, 3), "missed_grasp")
    return tmp_path / "demos"


def array_files(episode: Path) -> list[Path]:
    return sorted(path for path in episode.rglob("*") if path.is_file())


def flips(content: bytes) -> Iterator[bytes]:
    """The content with one bit flipped, at both ends and in between."""
    for position in {0, len(content) // 3, len(content) // 2, len(content) - 6, len(content) - 1}:
        yield content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


def test_every_flipped_bit_is_found(demos: Path) -> None:
    ref = EpisodeRef(TASK, 1)
    dataset = DemoDataset(demos)
    for path in array_files(ref.folder(demos)):
        content = path.read_bytes()
        array = path.relative_to(ref.folder(demos)).parts[0]
        for damaged in flips(content):
            path.write_bytes(damaged)
            with pytest.raises(CorruptEpisodeError, match=f"Episode pick_and_lift/000001, array '{array}'"):
                dataset.read(ref)
            with pytest.raises(CorruptEpisodeError, match=f"Episode pick_and_lift/000001, array '{array}'"):
                dataset.verify(ref)
        path.write_bytes(content)
    dataset.read(ref)


@pytest.mark.parametrize("keep", [0, 0.5, -1])
def test_every_truncated_or_lost_file_is_found(demos: Path, keep: float) -> None:
    ref = EpisodeRef(TASK, 1)
    for path in array_files(ref.folder(demos)):
        content = path.read_bytes()
        array = path.relative_to(ref.folder(demos)).parts[0]
        if keep < 0:
            path.unlink()
        else:
            path.write_bytes(content[: int(len(content) * keep)])
        with pytest.raises(CorruptEpisodeError, match=f"Episode pick_and_lift/000001, array '{array}'"):
            DemoDataset(demos).read(ref)
        path.write_bytes(content)


def test_damage_outside_the_steps_read_does_no_harm(demos: Path) -> None:
    """A chunk is checked when it is needed: a flipped bit late in an episode leaves its first keyframe readable."""
    ref = EpisodeRef(TASK, 1)
    shard = next(path for path in array_files(ref.folder(demos)) if "rgb" in str(path) and path.name != "zarr.json")
    content = bytearray(shard.read_bytes())
    late = len(content) - 4 - 16 * 4 - 10  # before the index of 4 chunks and its checksum: the last chunk
    content[late] ^= 1
    shard.write_bytes(content)
    dataset = DemoDataset(demos)
    assert len(dataset.read_steps(ref, [0])) == 1
    with pytest.raises(CorruptEpisodeError, match="rgb_12x16"):
        dataset.read_steps(ref, [10])


def test_skip_goes_on_without_the_damaged_episode(demos: Path, caplog) -> None:
    shard = next(path for path in array_files(demos / TASK / "000001") if "depth" in str(path) and path.name != "zarr.json")
    shard.write_bytes(shard.read_bytes()[:-1])
    dataset = DemoDataset(demos, on_corrupt="skip")
    assert dataset.episodes() == [EpisodeRef(TASK, 0), EpisodeRef(TASK, 4)] == dataset.episodes()
    assert list(dataset.skipped) == [EpisodeRef(TASK, 1)]
    assert caplog.text.count("array 'depth_12x16'") == 1
    for ref in dataset.episodes():
        dataset.read(ref)
    assert len(DemoDataset(demos).episodes()) == 3
    with pytest.raises(ConfigError, match="Did you mean 'skip'"):
        DemoDataset(demos, on_corrupt="skipp")


def test_failures_are_kept_with_their_reasons(demos: Path) -> None:
    assert DemoDataset(demos).failures(TASK) == {2: "collision", 3: "missed_grasp"}
    with DatasetWriter(demos, REQUEST) as writer:
        assert writer.attempts(TASK) == {0: None, 1: None, 2: "collision", 3: "missed_grasp", 4: None}
        assert writer.attempts("open_drawer") == {}


def test_a_truncated_episode_is_taken_out_on_continuing(demos: Path, caplog) -> None:
    shard = next(path for path in array_files(demos / TASK / "000001") if "steps" in str(path) and path.name != "zarr.json")
    shard.write_bytes(b"")
    with DatasetWriter(demos, REQUEST) as writer:
        assert 1 not in writer.attempts(TASK)
    assert "collected again" in caplog.text
    assert DemoDataset(demos).episodes() == [EpisodeRef(TASK, 0), EpisodeRef(TASK, 4)]


@pytest.mark.parametrize(("version", "remedy"), [(2, "update vla3d"), (0, "collect it again"), (None, "collect it again")])
def test_other_schema_version(demos: Path, version: object, remedy: str) -> None:
    write_group(demos, {"schema_version": version, "request": REQUEST}, where="test")
    with pytest.raises(SchemaVersionError, match=f"got schema version {version}, this vla3d reads version 1; .*{remedy}"):
        DemoDataset(demos)
    with pytest.raises(SchemaVersionError), DatasetWriter(demos, REQUEST):
        pass


def test_foreign_folders(tmp_path: Path, demos: Path) -> None:
    with pytest.raises(DataError, match="is no dataset"):
        DemoDataset(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex' and is no dataset"), DatasetWriter(tmp_path / "other", REQUEST):
        pass
    (demos / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    with pytest.raises(DataError, match="not a vla3d group"):
        DemoDataset(demos)
    (demos / "zarr.json").write_text("{")
    with pytest.raises(DataError, match=r"zarr.json"):
        DemoDataset(demos)


def test_another_request_is_refused_in_one_sentence(demos: Path) -> None:
    refusal = pytest.raises(ConfigError, match="collected with seed=0, got seed=1; choose another out=DIR")
    with refusal as caught, DatasetWriter(demos, {**REQUEST, "seed": 1}):
        pass
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="image_size"), DatasetWriter(demos, {"seed": 0}):
        pass
    with DatasetWriter(demos, REQUEST):  # the refusals let the lock go
        pass


def test_task_names_stay_inside_the_dataset(demos: Path) -> None:
    with DatasetWriter(demos, REQUEST) as writer:
        for task in ("", "../up", "a/b", ".hidden"):
            with pytest.raises(ConfigError, match="expected a name without separators"):
                writer.attempts(task)


HOLD = """
import sys, time
from pathlib import Path
from vla3d.data.locking import DatasetLock
with DatasetLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_writer_is_refused_and_a_killed_one_forgotten(demos: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(demos)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refusal = pytest.raises(DatasetLockedError, match=f"is being written by process {holder.pid}")
        with refusal, DatasetWriter(demos, REQUEST):
            pass
        assert len(DemoDataset(demos).episodes()) == 3  # reading needs no lock
    finally:
        holder.kill()
        holder.communicate()
    with DatasetWriter(demos, REQUEST):
        assert (demos / ".lock").read_text() == str(os.getpid())
    assert (demos / ".lock").read_bytes() == b""


def test_lock_is_exclusive_within_a_process_too(tmp_path: Path) -> None:
    with DatasetLock(tmp_path), pytest.raises(DatasetLockedError):
        DatasetLock(tmp_path).acquire()


def test_a_file_in_the_way_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "demos").write_text("a file")
    with pytest.raises(DataError, match=r"(File exists|Not a directory)\..* mend that or give another folder"):
        DatasetWriter(tmp_path / "demos", REQUEST).__enter__()


def test_unfinished_writes_leave_no_trace(demos: Path, build_episode, monkeypatch) -> None:
    before = {path: path.read_bytes() for path in demos.rglob("*") if path.is_file()}

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with DatasetWriter(demos, REQUEST) as writer:
        with monkeypatch.context() as patch:
            patch.setattr("zarr.storage._local._put", full)
            with pytest.raises(DataError, match=r"No space left on device\. Everything stored before is intact; make room"):
                writer.add(build_episode(seed=9), 9)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(DataError, match="No space left on device"):
                writer.record_failure(EpisodeRef(TASK, 9), "timeout")
        assert list(writer.staging.iterdir()) == []
    assert {path: path.read_bytes() for path in demos.rglob("*") if path.is_file()} == before


def test_what_a_killed_writer_left_is_swept_away(demos: Path) -> None:
    before = {path: path.read_bytes() for path in demos.rglob("*") if path.is_file()}
    (demos / ".zarr.json.unfinished").write_text("{")
    (demos / TASK / ".zarr.json.unfinished").write_text("{")
    (demos / ".partial" / "pick_and_lift-000009-77").mkdir(parents=True)
    (demos / ".partial" / "pick_and_lift-000009-77" / "zarr.json").write_text("{")
    with DatasetWriter(demos, REQUEST):
        pass
    assert {path: path.read_bytes() for path in demos.rglob("*") if path.is_file()} == before
    assert not (demos / ".partial").exists()


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_file_operation_it_ends_at_the_same_bytes(tmp_path: Path, step: int) -> None:
    here = Path(__file__).parent
    program = subprocess.run(
        [sys.executable, str(here / "kill_everywhere.py"), str(tmp_path), str(step)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{Path.cwd()}:{here}"},
        check=False,
    )
    assert program.returncode == 0, program.stderr
    assert int(program.stdout) > 40 // step
