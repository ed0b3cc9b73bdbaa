"""GemBench's records: msgpack in which NumPy arrays lie as maps, decoded without ever running what a record says.

The encoding is that of the package msgpack-numpy: an array is the map ``{nd: True, type, kind, shape, data}``, a NumPy number
``{nd: False, type, data}``. That package hands arrays of Python objects (kind ``O``) to pickle. Here a short list of types is
decoded, by hand, and everything else is refused by name.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from vla3d.optional import require

ARRAY_TYPES: tuple[str, ...] = (
    "|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8",
)  # fmt: skip


class RecordError(ValueError):
    """A record does not decode, or holds something that is never decoded."""


def read_record(content: bytes | memoryview, wanted: Collection[str]) -> dict[str, Any]:
    """Decode some entries of a record; the others are stepped over, whatever they hold.

    Args:
        content: one msgpack map, its keys text.
        wanted: names of the entries.

    Returns:
        The entries that are there. Arrays are read-only views of copies; text inside an entry is ``str``.

    Raises:
        RecordError: it is cut short or no map, or a wanted entry holds objects, structures, or another type.
    """
    msgpack = require("msgpack")
    unpacker = msgpack.Unpacker(
        raw=True,  # keys and types are text in some files and bytes in others
        strict_map_key=False,
        object_hook=_decoded,
        ext_hook=_refuse_extension,
        max_buffer_size=max(1, len(content)),
    )
    unpacker.feed(content)
    found = {}
    try:
        for _ in range(unpacker.read_map_header()):
            name = _text(unpacker.unpack())
            if name in wanted:
                found[name] = unpacker.unpack()
            else:
                unpacker.skip()
    except RecordError:
        raise
    except (ValueError, TypeError, RecursionError, MemoryError, msgpack.exceptions.UnpackException) as error:
        raise RecordError(f"it is cut short or no msgpack map ({str(error) or type(error).__name__})") from error
    return found


def as_array(value: object, name: str) -> np.ndarray:
    """An entry as one array: what was one, or a list of arrays or numbers of one shape.

    Raises:
        RecordError: it is neither.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list) and value:
        parts = [np.asarray(as_array(part, name) if isinstance(part, list) else part) for part in value]
        if all(part.dtype.kind in "biuf" and part.shape == parts[0].shape for part in parts):
            return np.stack(parts)
    raise RecordError(f"{name} is no array but {_kind(value)}")


def _decoded(pairs: Mapping[Any, Any]) -> Any:
    """A map as it is, or the array or number that it stands for."""
    entries = {_text(key): value for key, value in pairs.items()}
    if "complex" in entries:
        raise RecordError("it holds a complex number, which no part of an episode is")
    if "nd" not in entries:
        return entries
    kind = _text(entries.get("kind", b""))
    if kind == "O" or entries.get("type") in (b"O", b"|O"):
        raise RecordError("it holds an array of Python objects, which is a pickle and is never loaded")
    dtype = _dtype(entries.get("type"), kind)
    data, shape = entries.get("data"), entries.get("shape", [])
    if not isinstance(data, bytes) or not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise RecordError(f"it holds an array of shape {shape!r} over {_kind(data)}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise RecordError(f"it holds an array of {len(data)} bytes, expected {math.prod(shape) * dtype.itemsize} for {shape}")
    values = np.frombuffer(data, dtype=dtype)
    return values.reshape(shape) if entries["nd"] is True else values.reshape(())[()]


def _dtype(name: object, kind: str) -> np.dtype[Any]:
    text = _text(name) if isinstance(name, bytes | str) else None
    if kind or text not in ARRAY_TYPES:
        raise RecordError(f"it holds an array of type {name!r}, expected one of {', '.join(ARRAY_TYPES)}")
    return np.dtype(text)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _refuse_extension(code: int, data: bytes) -> Any:
    raise RecordError(f"it holds a msgpack extension ({code}), which no part of an episode is")
