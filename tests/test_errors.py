"""The error tree: what users can mend is one kind, and names get a suggestion."""

import inspect

import pytest

from vla3d import errors
from vla3d.errors import ConfigError, Vla3dError, unknown_name


def test_every_error_is_the_users_to_mend() -> None:
    found = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
    assert len(found) > 5
    assert all(issubclass(error, Vla3dError) for error in found)


def test_wrong_values_are_value_errors_too() -> None:
    """So that callers of the library who know nothing of vla3d's errors catch them."""
    assert issubclass(ConfigError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)


def test_unknown_name_suggests_the_nearest() -> None:
    error = unknown_name("task", "open_drawr", ["pick_and_lift", "open_drawer"])
    assert str(error) == "Unknown task 'open_drawr'. Did you mean 'open_drawer'? Choices: open_drawer, pick_and_lift."


@pytest.mark.parametrize("name", ["xyz", ""])
def test_unknown_name_does_not_guess_wildly(name: str) -> None:
    assert "Did you mean" not in str(unknown_name("task", name, ["open_drawer"]))
