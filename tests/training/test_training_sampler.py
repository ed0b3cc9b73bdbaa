"""The order of samples: whole epochs, no sharing between ranks, any position restored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla3d.errors import CheckpointError, DataError
from vla3d.training.sampler import EpochSampler

sizes = {
    "length": st.integers(1, 40),
    "batch_size": st.integers(1, 17),
    "world_size": st.integers(1, 4),
    "seed": st.integers(0, 9),
}


def stream(length: int, batch_size: int, world_size: int, seed: int, steps: int) -> np.ndarray:
    """What all ranks together draw, in order."""
    samplers = [
        EpochSampler(length=length, batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    return np.array([index for step in range(steps) for sampler in samplers for index in sampler.batch(step)])


@given(**sizes)
def test_every_epoch_shows_every_sample_once(length: int, batch_size: int, world_size: int, seed: int) -> None:
    steps = -(-3 * length // (batch_size * world_size))
    drawn = stream(length, batch_size, world_size, seed, steps)
    for epoch in range(3):
        assert sorted(drawn[epoch * length : (epoch + 1) * length]) == list(range(length))


@given(**sizes, start=st.integers(0, 50))
def test_any_position_is_reached_directly(length: int, batch_size: int, world_size: int, seed: int, start: int) -> None:
    def make() -> EpochSampler:
        return EpochSampler(length=length, batch_size=batch_size, seed=seed, world_size=world_size)

    walked = make()
    batches = [walked.batch(step) for step in range(start + 3)]
    assert list(make().batches(start, start + 3)) == batches[start:]


@given(**sizes)
def test_the_global_batch_does_not_depend_on_the_number_of_ranks(
    length: int, batch_size: int, world_size: int, seed: int
) -> None:
    together = stream(length, batch_size * world_size, 1, seed, 5)
    assert (stream(length, batch_size, world_size, seed, 5) == together).all()


def test_epochs_and_seeds_differ_in_order() -> None:
    sampler = EpochSampler(length=30, batch_size=30, seed=0)
    assert sampler.batch(0) != sampler.batch(1)
    assert sampler.batch(0) != EpochSampler(length=30, batch_size=30, seed=1).batch(0)
    assert sampler.epoch(2) == 2.0


def test_no_data_is_an_error() -> None:
    with pytest.raises(DataError, match="training data is empty"):
        EpochSampler(length=0, batch_size=1, seed=0)


@pytest.mark.parametrize(("change", "words"), [({"world_size": 2}, "number of processes was 1"), ({"seed": 3}, "seed was 0")])
def test_a_position_of_another_order_is_refused(change: dict[str, int], words: str) -> None:
    stored = EpochSampler(length=30, batch_size=4, seed=0).state(7)
    EpochSampler(length=30, batch_size=4, seed=0).check(7, stored)
    with pytest.raises(CheckpointError, match=words):
        EpochSampler(**{"length": 30, "batch_size": 4, "seed": 0, **change}).check(7, stored)
