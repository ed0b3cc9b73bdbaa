"""What an inert pickle can hold beside numbers and text: records of named classes, NumPy arrays, scalars and dtypes.

A pickle describes them as calls of classes and functions. Here none is called: the few descriptions that NumPy and plain
objects write are recognised, checked and carried out by this module.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class PickleRefusedError(ValueError):
    """A pickle holds something that is not to be loaded; the message is one clause that names it."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function that a pickle refers to. Nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object of a class that was not imported: the name of its class and its attributes."""

    cls: Global
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Unbuilt:
    """An array or a dtype whose second half, its state, has not been read yet.

    Attributes:
        kind: ``"array"`` or ``"dtype"``.
        typestr: of a dtype, without the byte order.
        slot: where the memo holds it.
    """

    kind: str
    typestr: str = ""
    slot: int | None = None


NDARRAY, DTYPE = Global("numpy", "ndarray"), Global("numpy", "dtype")
RECONSTRUCT = tuple(Global(module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray"))
SCALAR = tuple(Global(module, "scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray"))
NUMPY_GLOBALS = frozenset({NDARRAY, DTYPE, *RECONSTRUCT, *SCALAR})

_TYPESTR = re.compile(r"b1|[iu][1248]|f[248]")
_MOST_AXES = 8


def called(function: Global, arguments: tuple[Any, ...]) -> Any:
    """The value of a call, for the calls by which NumPy describes its objects.

    Raises:
        PickleRefusedError: any other function, or other arguments.
    """
    if function in RECONSTRUCT and len(arguments) == 3 and _is_ndarray(arguments[0]):
        return Unbuilt("array")
    if function == DTYPE and len(arguments) == 3 and isinstance(arguments[0], str):
        if not _TYPESTR.fullmatch(arguments[0]):
            raise PickleRefusedError(f"it holds the dtype {arguments[0][:20]!r}, expected numbers or booleans")
        return Unbuilt("dtype", arguments[0])
    if function in SCALAR and len(arguments) == 2:
        dtype, content = arguments
        return _array((), dtype, False, content)[()]
    raise PickleRefusedError(f"it calls {function} in a way that NumPy does not write")


def built(target: object, state: object) -> Any:
    """The value of an object once its state is known; a ``Record`` is changed in place.

    Raises:
        PickleRefusedError: an object that has no state, or a state of another form.
    """
    if isinstance(target, Record):
        if not (isinstance(state, dict) and all(isinstance(key, str) for key in state)):
            raise PickleRefusedError(f"the state of a {target.cls} is no mapping of names")
        target.fields.update(state)
        return target
    if isinstance(target, Unbuilt) and isinstance(state, tuple):
        if target.kind == "array" and len(state) == 5:
            _, shape, dtype, fortran, content = state
            return _array(shape, dtype, fortran, content)
        if target.kind == "dtype" and len(state) == 8 and all(part is None for part in state[2:5]):
            order = state[1] if isinstance(state[1], str) else ""
            if order in ("<", ">", "|", "="):
                return np.dtype(order + target.typestr)
    raise PickleRefusedError(f"it gives a state to a {_kind(target)} that none belongs to")


def _is_ndarray(value: object) -> bool:
    return isinstance(value, Global) and value == NDARRAY  # an array compares with anything, element by element


def _array(shape: object, dtype: object, fortran: object, content: object) -> np.ndarray:
    """A read-only array over bytes that were read anyway: nothing is allocated that a short file could inflate."""
    sizes = shape if isinstance(shape, tuple) else (None,)
    plain = all(type(size) is int and 0 <= size < 2**31 for size in sizes) and len(sizes) <= _MOST_AXES
    if not (plain and isinstance(dtype, np.dtype) and isinstance(content, bytes) and isinstance(fortran, bool | int)):
        raise PickleRefusedError("it holds an array whose shape, dtype or content is something else")
    if math.prod(sizes) * dtype.itemsize != len(content):
        raise PickleRefusedError(f"it holds an array of {dtype} {sizes} with {len(content)} bytes")
    try:
        return np.frombuffer(content, dtype=dtype).reshape(sizes, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:
        raise PickleRefusedError(f"it holds an array that NumPy refuses ({error})") from error


def _kind(value: object) -> str:
    return str(value) if isinstance(value, Global) else type(value).__name__
