"""One writer at a time: an advisory lock that the kernel drops when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from vla3d.errors import DatasetLockedError

LOCK_NAME = ".lock"


class DatasetLock:
    """Exclusive ``flock`` on ``<dataset>/.lock``.

    The file stays behind, empty, once the lock is released: removing it would let two processes lock two different files of
    one name. While the lock is held it contains the holder's process id, for the message that others get.
    """

    def __init__(self, dataset: Path) -> None:
        self._path = dataset / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take the lock at once or not at all.

        Raises:
            DatasetLockedError: another process holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            process = f"process {holder}" if holder else "another process"
            raise DatasetLockedError(
                f"{self._path.parent} is being written by {process}; wait until it has finished, or choose another out=DIR."
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.release()
