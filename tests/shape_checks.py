"""Checks the shape annotations of vla3d while the tests run (see conftest.py)."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from beartype import beartype
from jaxtyping import AbstractArray

F = TypeVar("F", bound=Callable[..., Any])


def checked(function: F) -> F:
    """Let beartype check the arrays of a function's signature, and nothing else: mypy sees to the rest."""
    shaped = {name: hint for name, hint in inspect.get_annotations(function).items() if _is_shaped(hint)}
    if not shaped:
        return function
    function.__annotations__ = shaped
    return beartype(function)


def _is_shaped(hint: object) -> bool:
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(_is_shaped, get_args(hint)))
