"""The tests' own check of shapes: the first calls of each test, and some of a loop."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from shape_checks import FIRST, ONE_IN

from vla3d.errors import unknown_name
from vla3d.geometry.resection import measured

RIGHT, WRONG = np.ones((2, 2, 3)), np.ones((2, 2, 3), dtype=np.int64)


def test_a_wrong_array_is_refused_at_once() -> None:
    with pytest.raises(TypeCheckError, match="measured"):
        measured(WRONG)


@pytest.mark.wrong_shapes
def test_but_where_wrong_shapes_are_the_point() -> None:
    assert measured(WRONG).all()


def test_in_a_long_loop_it_is_refused_soon() -> None:
    for _ in range(FIRST):
        measured(RIGHT)
    with pytest.raises(TypeCheckError):
        for _ in range(ONE_IN):
            measured(WRONG)


def test_what_has_no_arrays_is_left_as_it_is() -> None:
    assert not hasattr(unknown_name, "__wrapped__") and hasattr(measured, "__wrapped__")
