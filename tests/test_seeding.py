"""Scene seeds: repeatable, in range, and never shared between splits."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla3d.errors import ConfigError
from vla3d.seeding import Split, scene_seed, split_of

SPLITS = get_args(Split)
tasks = st.text(min_size=1, max_size=20)
numbers = st.integers(0, 2**31)


@given(st.sampled_from(SPLITS), numbers, tasks, numbers)
def test_range_split_and_repetition(split: Split, seed: int, task: str, index: int) -> None:
    value = scene_seed(split, seed, task, index)
    assert 0 <= value < 2**31
    assert split_of(value) == split
    assert value == scene_seed(split, seed, task, index)


def test_known_values() -> None:
    """These are what datasets and published results were made with: they may never change."""
    assert scene_seed("train", 0, "pick_and_lift", 0) == 124061675
    assert scene_seed("test", 1000, "open_drawer", 24) == 1238078678


def test_scenes_differ() -> None:
    values = [scene_seed("test", seed, task, i) for seed in range(3) for task in ("a", "b") for i in range(500)]
    assert len(set(values)) >= len(values) - 2  # 3,000 draws from 2**29: a shared one has a chance of 1 in 120


def test_unknown_split() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'validation'"):
        scene_seed("valdation", 0, "a", 0)  # type: ignore[arg-type]
