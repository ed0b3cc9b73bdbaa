"""Checkpoints on disk: whole or not at all, with pointers to the last and the best."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from safetensors import SafetensorError

from vla3d.errors import CheckpointError, TrainingError
from vla3d.policies.released import released_policies

FOLDER = "checkpoints"
POLICY = "policy"
_STEP = re.compile(r"step-\d{8}")
_NEW, _OLD = ".new-", ".old-"


def step_name(step: int) -> str:
    """Folder name of the checkpoint after ``step`` updates."""
    return f"step-{step:08d}"


class CheckpointStore:
    """The checkpoints of one run.

    A checkpoint is written into a hidden sibling, flushed to the disk, and renamed into place, so a kill or a full disk at any
    moment leaves the earlier ones as they were. ``last`` and ``best`` are one-line text files that name a checkpoint.

    Args:
        root: the run's ``checkpoints`` folder.
        keep: newest checkpoints to keep, besides the best one.
    """

    def __init__(self, root: Path, keep: int) -> None:
        self.root = root
        self.keep = keep

    def recover(self) -> None:
        """Clear what a killed writer left behind. Only the holder of the run's lock may call this."""
        self.root.mkdir(parents=True, exist_ok=True)
        for leftover in self.root.glob(f"{_OLD}*"):
            final = self.root / leftover.name.removeprefix(_OLD)
            if final.exists():
                shutil.rmtree(leftover)
            else:  # killed between the two renames of ``save``
                leftover.rename(final)
        for leftover in self.root.glob(f"{_NEW}*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def steps(self) -> list[int]:
        """Steps of the checkpoints present, ascending."""
        if not self.root.is_dir():
            return []
        return sorted(int(path.name[5:]) for path in self.root.iterdir() if _STEP.fullmatch(path.name))

    def last(self) -> Path | None:
        """The newest checkpoint, or None."""
        return self._pointed("last") or self._newest()

    def best(self) -> Path | None:
        """The checkpoint with the best validation, or None."""
        return self._pointed("best")

    def save(self, step: int, write: Callable[[Path], None], best: int | None) -> Path:
        """Write a checkpoint and move the pointers.

        Args:
            step: updates done.
            write: fills the folder it is given.
            best: step of the best checkpoint; None leaves that pointer alone.

        Raises:
            CheckpointError: when it cannot be written; earlier checkpoints are untouched.
        """
        final, new, old = (
            self.root / step_name(step),
            self.root / f"{_NEW}{step_name(step)}",
            self.root / f"{_OLD}{step_name(step)}",
        )
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            write(new)
            _sync_tree(new)
            if final.exists():
                final.rename(old)
            new.rename(final)
            _sync(self.root)
            shutil.rmtree(old, ignore_errors=True)
            self._point("last", final.name)
            if best is not None:
                self._point("best", step_name(best))
        except (OSError, SafetensorError) as error:
            shutil.rmtree(new, ignore_errors=True)
            raise self._cannot_save(step, error) from error
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        self._prune()
        return final

    def point_best(self, step: int) -> None:
        """Let ``best`` name the checkpoint of ``step``, if that is still there."""
        if (self.root / step_name(step)).is_dir():
            self._point("best", step_name(step))

    def _prune(self) -> None:
        best = self.best()
        for step in self.steps()[: -self.keep]:
            path = self.root / step_name(step)
            if path != best:
                shutil.rmtree(path, ignore_errors=True)

    def _pointed(self, pointer: str) -> Path | None:
        try:
            name = (self.root / pointer).read_text().strip()
        except OSError:
            return None
        path = self.root / name
        return path if _STEP.fullmatch(name) and path.is_dir() else None

    def _newest(self) -> Path | None:
        steps = self.steps()
        return self.root / step_name(steps[-1]) if steps else None

    def _point(self, pointer: str, name: str) -> None:
        new = self.root / f"{_NEW}{pointer}"
        with new.open("w") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.root / pointer)
        _sync(self.root)

    def _cannot_save(self, step: int, error: Exception) -> CheckpointError:
        number = re.search(r"os error (\d+)", str(error))  # how safetensors reports it
        code = int(number[1]) if number else getattr(error, "errno", None)
        full = code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        try:
            free = f"{shutil.disk_usage(self.root).free / 1e6:.0f} MB free"
        except OSError:
            free = "free space unknown"
        earlier = self.last()
        kept = f"the checkpoint {earlier.name} is intact" if earlier else "no earlier checkpoint exists"
        step_out = "Free some space" if full else "Mend the cause"
        return CheckpointError(
            f"Cannot save the checkpoint of step {step} in {self.root}: {error} ({free}). Training stopped; {kept}. "
            f"{step_out} and run again with resume=true."
        )


def policy_directory(path: Path) -> Path:
    """The folder for ``from_pretrained`` that a path stands for.

    Args:
        path: a run's ``out`` folder (its best checkpoint is taken, else its last), one of its checkpoints, a folder that
            ``save_pretrained`` wrote, or the name of a policy that comes with vla3d.

    Raises:
        CheckpointError: when there is no model.
    """
    store = CheckpointStore(path / FOLDER, keep=1)
    checkpoint = store.best() or store.last() or path
    policy = checkpoint / POLICY
    if policy.is_dir():
        return policy
    if (path / "policy.json").is_file() or (path / "config.json").is_file():
        return path
    released = released_policies()
    if str(path) in released:
        return released[str(path)]
    raise CheckpointError(
        f"No checkpoint in {path}: expected the out folder of a training run, one of its checkpoints, an exported model, or "
        f"the name of one that comes with vla3d ({', '.join(released) or 'none'})."
    )


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold a run's folder; the operating system lets go of it when the process ends, however it ends.

    Raises:
        TrainingError: when another process trains there.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise TrainingError(
            f"Another training run is writing to {out}. Wait for it, stop it, or choose another out folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(root: Path) -> None:
    for path in root.rglob("*"):
        _sync(path)
    _sync(root)
