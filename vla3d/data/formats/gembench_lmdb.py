"""GemBench's files: one LMDB folder for each variation of a task, opened read-only and without leaving a lock file."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla3d.data.formats.gembench_records import read_record
from vla3d.errors import DataError
from vla3d.optional import require

DATA_FILE = "data.mdb"
_PREFIX = b"episode"

# LMDB refuses to open a folder twice in one process, so every access opens it anew (a few microseconds) and one at a time.
_one_at_a_time = threading.Lock()


class EpisodeRecords:
    """The episodes of one LMDB folder.

    Args:
        folder: holds ``data.mdb``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def numbers(self) -> list[int]:
        """Numbers N of the keys ``episode<N>``, sorted; other keys are not looked at.

        Raises:
            DataError: the folder is no LMDB, or its file is cut short.
        """
        with self._transaction() as transaction:
            names = [bytes(key) for key in transaction.cursor().iternext(keys=True, values=False)]
        return sorted(
            int(name[len(_PREFIX) :]) for name in names if name.startswith(_PREFIX) and name[len(_PREFIX) :].isdigit()
        )

    def size(self, number: int) -> int:
        """Bytes of a record."""
        with self._transaction() as transaction:
            return len(transaction.get(_key(number)) or b"")

    def read(self, number: int, wanted: Collection[str]) -> dict[str, Any]:
        """Some entries of a record, see ``read_record``.

        Raises:
            RecordError: it is damaged.
            DataError: the file is.
            KeyError: there is no such record.
        """
        with self._transaction() as transaction:
            content = transaction.get(_key(number))
            if content is None:
                raise KeyError(number)
            return read_record(content, wanted)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        lmdb = require("lmdb")
        path = self.folder / DATA_FILE
        with _one_at_a_time:
            try:
                environment = lmdb.open(str(self.folder), readonly=True, lock=False, readahead=False, max_spare_txns=0)
            except lmdb.Error as error:
                reason = str(error).removeprefix(f"{self.folder}: ")
                raise DataError(f"{path} cannot be opened as an LMDB ({reason}); copy the folder again.") from error
            try:
                # LMDB maps the file into memory and believes its header: pages behind the file's end would kill the process.
                expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
                actual = path.stat().st_size
                if actual < expected:
                    raise DataError(f"{path} is cut short: it has {actual} bytes, expected {expected}; copy the folder again.")
                with environment.begin(buffers=True) as transaction:
                    yield transaction
            except lmdb.Error as error:
                raise DataError(f"{path} is damaged ({error}); copy the folder again.") from error
            finally:
                environment.close()


def _key(number: int) -> bytes:
    return _PREFIX + str(number).encode()
