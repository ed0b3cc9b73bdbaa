"""Checks the shape annotations of vla3d while the tests run (see conftest.py)."""

import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray

T = TypeVar("T", bound=Callable[..., Any])


def checked(function: T) -> T:
    """Let beartype check the arrays of a function's signature, and nothing else: mypy sees to the rest."""
    shaped = {name: hint for name, hint in inspect.get_annotations(function).items() if _is_shaped(hint)}
    if not shaped:
        return function
    function.__annotations__ = shaped
    return beartype(function)


calls: Counter[Callable[..., Any]] = Counter()
"""Of each checked function, in the test that runs."""

FIRST, ONE_IN = 100, 20


def spare_the_rest() -> None:
    """Let jaxtyping's import hook check what has arrays in its signature only, and in loops not every call.

    A test checks the first calls of a function, and of further ones some: jaxtyping binds the arguments of a call by hand, and
    the simulator's small functions would take several times as long.
    """
    check = jaxtyping.jaxtyped

    def sparing(*, typechecker: object) -> Callable[[T], T]:
        return lambda thing: _some_calls(thing, check(thing, typechecker=typechecker)) if _has_shapes(thing) else thing

    jaxtyping.jaxtyped = sparing


def _some_calls(plain: T, checking: T) -> T:
    if inspect.isclass(plain):
        return checking

    @functools.wraps(checking)
    def either(*args: Any, **kwargs: Any) -> Any:
        calls[plain] += 1
        number = calls[plain]
        return (checking if number <= FIRST or number % ONE_IN == 0 else plain)(*args, **kwargs)

    return either  # type: ignore[return-value]


def _has_shapes(thing: Callable[..., Any]) -> bool:
    function = thing.__init__ if inspect.isclass(thing) else thing
    return any(map(_is_shaped, getattr(function, "__annotations__", {}).values()))


def _is_shaped(hint: object) -> bool:
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(_is_shaped, get_args(hint)))
