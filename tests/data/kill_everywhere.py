"""Kill a writer before each of its file operations in turn, let another one finish, and compare with an undisturbed one.

Run as ``python kill_everywhere.py FOLDER STEP``, to kill it before every STEP-th operation; prints how many places it was
killed at. A program of its own because it forks, which must happen before the first thread starts.
"""

import os
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import data_episodes

from vla3d.data import DatasetWriter, DemoDataset, EpisodeRef

OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def write(out: Path) -> None:
    """Collect three attempts, the second of which fails."""
    with DatasetWriter(out, {"seed": 0}) as writer:
        known = writer.attempts("lift")
        for attempt in sorted({0, 1, 2} - known.keys()):
            if attempt == 1:
                writer.record_failure(EpisodeRef("lift", attempt), "collision")
            else:
                writer.add(data_episodes.build(seed=attempt, task="lift", sizes=()), attempt)


def in_a_child(write: Callable[[Path], object], out: Path, die_before: int) -> int:
    """Exit code of a child that writes and dies before its n-th file operation (0: never)."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen, lock = 0, threading.Lock()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in OPERATIONS and str(arguments[0]).startswith(str(out)):
            with lock:
                seen += 1
                if seen == die_before:
                    os._exit(9)

    sys.addaudithook(hook)
    code = 1
    try:
        write(out)
        code = 0
    finally:
        os._exit(code)


def whole(out: Path) -> int:
    """Exit code of a child that checks every stored episode."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        if (out / "zarr.json").exists():
            dataset = DemoDataset(out)
            for ref in dataset.episodes():
                dataset.verify(ref)
        code = 0
    finally:
        os._exit(code)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main(base: Path, step: int, write: Callable[[Path], object] = write) -> None:
    """Kill ``write`` before its first operation and every ``step``-th after that, and print at how many places."""
    os.fsync = lambda descriptor: None  # the operating system lives on, so only time would be lost
    assert in_a_child(write, base / "undisturbed", 0) == 0
    expected = files(base / "undisturbed")
    for places, operation in enumerate(count(1, step)):
        out = base / str(operation)
        code = in_a_child(write, out, operation)
        assert code in (0, 9), f"operation {operation}: exit code {code}"
        assert whole(out) == 0, f"operation {operation}: what is stored is not whole"
        assert in_a_child(write, out, 0) == 0, f"operation {operation}: the second writer failed"
        assert files(out) == expected, f"operation {operation}: other files"
        if code == 0:
            print(places)
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
