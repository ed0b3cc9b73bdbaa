"""Pickles read without Python's unpickler: a stack machine that builds plain values and can call nothing.

Python's unpickler imports what a file names and calls it, which hands the machine over to whoever wrote the file. Forbidding
names there is not enough: the operations themselves reach into objects (BUILD sets attributes and calls ``__setstate__``), and
a few bytes can ask for gigabytes (an entry of the memo numbered four billion, an array of shape ``(10**12,)``). Here the
operations that data needs are written anew on plain values, every other one is refused by its name, and what is built is
bounded by the file that describes it.

The operations are those of protocols 2 to 4, as ``pickletools`` documents them.
"""

import pickletools
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vla3d.data.formats.inert_values import NUMPY_GLOBALS, Global, PickleRefusedError, Record, Unbuilt, built, called

MOST_BYTES = 1 << 30
MOST_OPERATIONS = 5_000_000
"""About 9,000 recorded instants of an arm; each operation makes one object at most."""

_LONGEST_NAME = 256
_NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}


def read_inert_pickle(path: Path, records: Collection[Global] = ()) -> Any:
    """Load a pickle file of plain values.

    Args:
        path: the file.
        records: classes whose objects are read as ``Record``; besides them only NumPy's arrays, scalars and dtypes may occur.

    Raises:
        OSError: the file cannot be read.
        PickleRefusedError: it holds something else, or is cut short.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise PickleRefusedError(f"it has {size} bytes, expected at most {MOST_BYTES}")
    return load_inert_pickle(path.read_bytes(), records)


def load_inert_pickle(content: bytes, records: Collection[Global] = ()) -> Any:
    """The value that a pickle describes; see ``read_inert_pickle``."""
    return _Machine(content, frozenset(records)).run()


class _Stop(Exception):
    """The pickle ended as it should."""


class _Machine:
    """One run over one pickle. A method that is named like an operation of ``pickletools`` carries it out."""

    def __init__(self, content: bytes, records: frozenset[Global]) -> None:
        self._content = content
        self._at = 0
        self._records = records
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        table = [self._refused] * 256
        for code, name in _OPERATIONS.items():
            table[code] = getattr(self, name)
        self._table = table

    def run(self) -> Any:
        content, table, end = self._content, self._table, len(self._content)
        try:
            for _ in range(MOST_OPERATIONS):
                at = self._at
                if at >= end:
                    raise PickleRefusedError("it is cut short")
                self._at = at + 1
                table[content[at]]()
        except _Stop:
            return self._stack[-1]
        except (IndexError, KeyError, struct.error):  # an empty stack, no mark, an unknown memo entry, too few bytes
            raise PickleRefusedError(f"it is no whole pickle (at byte {self._at})") from None
        raise PickleRefusedError(f"it has more than {MOST_OPERATIONS} operations")

    def _refused(self) -> None:
        at = self._at - 1
        name = _NAMES.get(self._content[at])
        what = "an unknown operation" if name is None else f"the operation {name}"
        if name == "INST":
            what += f" of {self._line()}.{self._line()}"
        elif name in ("PERSID", "BINPERSID"):
            what += " (a persistent id)"
        elif name in ("EXT1", "EXT2", "EXT4"):
            what += " (an extension of copyreg)"
        raise PickleRefusedError(f"it holds {what} at byte {at}, which plain data does not need")

    # Reading.

    def _take(self, count: int) -> bytes:
        start = self._at
        self._at = end = start + count
        if end > len(self._content):
            raise PickleRefusedError("it is cut short")
        return self._content[start:end]

    def _line(self) -> str:
        end = self._content.find(b"\n", self._at, self._at + _LONGEST_NAME)
        if end < 0:
            raise PickleRefusedError("it names something whose name does not end")
        line = self._content[self._at : end].decode("utf-8", errors="backslashreplace")
        self._at = end + 1
        return line

    def _length(self, form: str) -> int:
        value: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return value

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    # Plain values.

    def _none(self) -> None:
        self._stack.append(None)

    def _newtrue(self) -> None:
        self._stack.append(True)

    def _newfalse(self) -> None:
        self._stack.append(False)

    def _binint(self) -> None:
        self._stack.append(self._length("<i"))

    def _binint1(self) -> None:
        self._stack.append(self._content[self._at])
        self._at += 1

    def _binint2(self) -> None:
        self._stack.append(self._length("<H"))

    def _long1(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._length("<B")), "little", signed=True))

    def _binfloat(self) -> None:
        self._stack.append(struct.unpack(">d", self._take(8))[0])

    def _text(self, form: str) -> None:
        try:
            self._stack.append(str(self._take(self._length(form)), "utf-8"))
        except UnicodeDecodeError:
            raise PickleRefusedError("it holds a text that is not UTF-8") from None

    def _binunicode(self) -> None:
        self._text("<I")

    def _short_binunicode(self) -> None:
        self._text("<B")

    def _binbytes(self) -> None:
        self._stack.append(self._take(self._length("<I")))

    def _short_binbytes(self) -> None:
        self._stack.append(self._take(self._length("<B")))

    def _binbytes8(self) -> None:
        self._stack.append(self._take(self._length("<Q")))

    # Containers.

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _tuple_of(self, count: int) -> None:
        stack = self._stack
        if len(stack) < count:
            raise IndexError
        stack[-count:] = [tuple(stack[-count:])]

    def _tuple1(self) -> None:
        self._tuple_of(1)

    def _tuple2(self) -> None:
        self._tuple_of(2)

    def _tuple3(self) -> None:
        self._tuple_of(3)

    def _empty_list(self) -> None:
        self._stack.append([])

    def _append(self) -> None:
        item = self._stack.pop()
        self._list().append(item)

    def _appends(self) -> None:
        items = self._since_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        target = self._stack[-1]
        if type(target) is not list:
            raise PickleRefusedError(f"it appends to a {type(target).__name__}")
        return target

    def _empty_dict(self) -> None:
        self._stack.append({})

    def _setitem(self) -> None:
        value = self._stack.pop()
        self._insert([self._stack.pop(), value])

    def _setitems(self) -> None:
        self._insert(self._since_mark())

    def _insert(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise PickleRefusedError(f"it sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise PickleRefusedError(f"it holds a mapping with a {type(key).__name__} for a key")
            target[key] = value

    # The memo, and the frame of the file.

    def _put(self, slot: int) -> None:
        value = self._stack[-1]
        if isinstance(value, Unbuilt):
            value.slot = slot
        self._memo[slot] = value

    def _binput(self) -> None:
        self._put(self._length("<B"))

    def _long_binput(self) -> None:
        self._put(self._length("<I"))

    def _memoize(self) -> None:
        self._put(len(self._memo))

    def _binget(self) -> None:
        self._stack.append(self._memo[self._content[self._at]])
        self._at += 1

    def _long_binget(self) -> None:
        self._stack.append(self._memo[self._length("<I")])

    def _proto(self) -> None:
        if self._length("<B") > 4:
            raise PickleRefusedError("it is of a pickle protocol above 4")

    def _frame(self) -> None:
        if self._length("<Q") > len(self._content) - self._at:
            raise PickleRefusedError("it is cut short")

    def _stop(self) -> None:
        if len(self._stack) != 1 or self._marked:
            raise PickleRefusedError("it ends in the middle of a value")
        raise _Stop

    # Names and the objects made with them.

    def _global(self) -> None:
        self._named(self._line(), self._line())

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (type(name) is str and type(module) is str):
            raise PickleRefusedError("it names a class by something that is no text")
        self._named(module, name)

    def _named(self, module: str, name: str) -> None:
        found = Global(module, name)
        if found not in NUMPY_GLOBALS and found not in self._records:
            text = str(found)[:_LONGEST_NAME].encode("ascii", errors="backslashreplace").decode()
            raise PickleRefusedError(f"it refers to {text}, which is not among the few names that may occur in it")
        self._stack.append(found)

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not (isinstance(function, Global) and type(arguments) is tuple):
            raise PickleRefusedError(f"it calls a {type(function).__name__}")
        self._stack.append(called(function, arguments))

    def _newobj(self) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        if not (isinstance(cls, Global) and cls in self._records and type(arguments) is tuple and not arguments):
            raise PickleRefusedError(f"it makes an object of {cls if isinstance(cls, Global) else type(cls).__name__}")
        self._stack.append(Record(cls))

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        self._stack[-1] = value = built(target, state)
        if isinstance(target, Unbuilt) and target.slot is not None:
            self._memo[target.slot] = value


_SUPPORTED = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINBYTES
    SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT
    LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD
"""
_OPERATIONS = {code: f"_{name.lower()}" for code, name in _NAMES.items() if name in _SUPPORTED.split()}
"""Code of every operation that exists here, to the method that carries it out."""
