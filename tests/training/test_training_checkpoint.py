"""Checkpoints are whole or absent, whatever happens while they are written."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy_model import toy_trainer

from vla3d.errors import CheckpointError, TrainingError
from vla3d.training.checkpoint import CheckpointStore, policy_directory, run_lock, step_name
from vla3d.training.state import write_tensors

ROOT = Path(__file__).parents[2]


def writer(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "policy").mkdir()
        (folder / "policy" / "config.json").write_text(text)

    return write


def text_of(checkpoint: Path | None) -> str:
    assert checkpoint is not None
    return (checkpoint / "policy" / "config.json").read_text()


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    store.recover()
    return store


def test_pointers_and_pruning(store: CheckpointStore) -> None:
    for step in range(1, 6):
        store.save(step, writer(str(step)), best=step if step == 2 else None)
    assert store.steps() == [2, 4, 5]
    assert text_of(store.best()) == "2" and text_of(store.last()) == "5"
    assert (store.root / "last").read_text() == "step-00000005\n"


def test_saving_a_step_again_replaces_it(store: CheckpointStore) -> None:
    store.save(1, writer("old"), best=1)
    store.save(1, writer("new"), best=None)
    assert text_of(store.best()) == "new"
    assert sorted(path.name for path in store.root.iterdir()) == ["best", "last", "step-00000001"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("bug"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_earlier_one(store: CheckpointStore, error: BaseException) -> None:
    store.save(1, writer("one"), best=1)

    def fail(folder: Path) -> None:
        writer("half")(folder)
        raise error

    expected = CheckpointError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        store.save(2, fail, best=2)
    assert store.steps() == [1] and text_of(store.last()) == "one" == text_of(store.best())
    assert not list(store.root.glob(".*"))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from vla3d.training import checkpoint
    store = checkpoint.CheckpointStore(Path(sys.argv[1]), keep=2)
    store.save(1, lambda folder: (folder / "x").write_text("one"), best=1)
    moments = iter(range(100))
    original = os.rename
    def die(source, target, **_):
        if next(moments) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(source, target)
    os.rename = os.replace = die
    store.save(1, lambda folder: (folder / "x").write_text("again"), best=1)
"""


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_killed_at_any_rename_one_whole_checkpoint_remains(tmp_path: Path, moment: int) -> None:
    """The moments: set the old aside, move the new in, move ``last``, move ``best``."""
    root = tmp_path / "checkpoints"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(root), str(moment)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = CheckpointStore(root, keep=2)
    store.recover()
    for found in (store.last(), store.best()):
        assert found is not None and (found / "x").read_text() == ("one" if moment < 2 else "again")
    assert not list(root.glob(".*"))


def test_a_lost_pointer_falls_back_to_the_newest(store: CheckpointStore) -> None:
    store.save(1, writer("one"), best=1)
    store.save(2, writer("two"), best=None)
    (store.root / "last").unlink()
    assert text_of(store.last()) == "two"
    (store.root / "last").write_text("../../etc\n")
    assert text_of(store.last()) == "two"


@pytest.mark.parametrize("limit", [200, 3000, 6000])
def test_disk_full_stops_training_and_keeps_the_last_checkpoint(tmp_path: Path, limit: int) -> None:
    """A limit on file sizes fails writes like a full disk does, in safetensors' own writer as well as in Python's."""
    out = tmp_path / "run"
    toy_trainer(out, steps=10, trackers=[]).train()
    before = {path: path.read_bytes() for path in (out / "checkpoints").rglob("*") if path.is_file()}
    trainer = toy_trainer(out, steps=20, resume=True, trackers=[])
    trainer._open_run()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(CheckpointError) as caught:
            trainer._save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = str(caught.value)
    assert "Cannot save the checkpoint of step 10" in message and "step-00000010 is intact" in message
    assert "File too large" in message and "Free some space and run again with resume=true" in message
    assert {path: path.read_bytes() for path in (out / "checkpoints").rglob("*") if path.is_file()} == before
    assert toy_trainer(out, steps=20, resume=True, trackers=[]).train().step == 20


def test_policy_directory_accepts_run_checkpoint_and_export(store: CheckpointStore, tmp_path: Path) -> None:
    store.save(1, writer("one"), best=1)
    store.save(2, writer("two"), best=None)
    best = store.root / step_name(1) / "policy"
    assert policy_directory(tmp_path) == best
    assert policy_directory(store.root / step_name(2)) == store.root / step_name(2) / "policy"
    assert policy_directory(best) == best
    with pytest.raises(CheckpointError, match="No checkpoint in"):
        policy_directory(tmp_path / "nowhere")


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    with run_lock(tmp_path), pytest.raises(TrainingError, match="Another training run is writing"):
        toy_trainer(tmp_path, steps=5).train()
    toy_trainer(tmp_path, steps=5).train()


def test_tensors_that_are_views_are_written(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    write_tensors({"t": base.T, "row": base[1]}, tmp_path / "x.safetensors")
    from vla3d.training.state import read_tensors

    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["t"], base.T)
