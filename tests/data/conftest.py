"""What the tests of this folder share."""

from collections.abc import Callable

import data_episodes
import pytest

from vla3d.types import Episode


@pytest.fixture
def build_episode() -> Callable[..., Episode]:
    """A function that makes a random but repeatable episode."""
    return data_episodes.build
