"""Three-valued truth (Kleene's strong logic): true, false, and undecided for what lies inside a tolerance band."""

from functools import reduce
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int8

TRUE, UNDECIDED, FALSE = 1, 0, -1
Truth = Int8[np.ndarray, "*shape"]
Word = Literal["true", "undecided", "false"]
_WORDS: dict[int, Word] = {TRUE: "true", UNDECIDED: "undecided", FALSE: "false"}


def decide(values: np.ndarray, *, no: float, yes: float) -> Int8[np.ndarray, "*shape"]:
    """True at ``yes`` and beyond, false at ``no`` and beyond, undecided between; not a number is undecided.

    Args:
        values: what was measured.
        no: threshold of false; below ``yes`` where large values mean true, above it where small ones do.
        yes: threshold of true.
    """
    assert no != yes, "a band of no width would be a coin flip"
    true, false = (values >= yes, values <= no) if yes > no else (values <= yes, values >= no)
    return np.asarray(true).view(np.int8) - np.asarray(false).view(np.int8)


def known(values: Bool[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """Plain booleans as truth."""
    return np.where(values, np.int8(TRUE), np.int8(FALSE))


def both(*values: Int8[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """And: false if any is, true if all are."""
    return reduce(np.minimum, values)


def either(*values: Int8[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """Or: true if any is, false if all are."""
    return reduce(np.maximum, values)


def opposite(values: Int8[np.ndarray, "*shape"]) -> Int8[np.ndarray, "*shape"]:
    """Not."""
    return -values


def word(value: int) -> Word:
    """``"true"``, ``"undecided"`` or ``"false"``."""
    return _WORDS[int(value)]
