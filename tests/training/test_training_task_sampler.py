"""Drawing tasks by temperature: the shares are met, rounds are whole, ranks do not share, and any position is restored."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vla3d.errors import CheckpointError, DataError
from vla3d.training.sampler import EpochSampler
from vla3d.training.task_sampler import TaskSampler, task_shares

sizes = st.lists(st.integers(1, 12), min_size=1, max_size=6)
alphas = st.sampled_from([0.0, 0.3, 0.5, 1.0])


def tasks_of(sizes: list[int]) -> list[str]:
    """Samples of several tasks, mixed up."""
    names = [f"task{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return [names[index] for index in np.random.default_rng(5).permutation(len(names))]


def make(tasks: list[str], alpha: float, **changes: int) -> TaskSampler:
    return TaskSampler(tasks, alpha, **{"batch_size": 4, "seed": 0, **changes})


def drawn(sampler: TaskSampler, epochs: int) -> np.ndarray:
    """All draws of some epochs, a row for each."""
    return np.array([sampler._order(epoch) for epoch in range(epochs)])


def test_the_shares_are_n_to_the_alpha() -> None:
    assert task_shares([1, 4, 16], 0.5).tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert task_shares([1, 4, 16], 0.0).tolist() == pytest.approx([1 / 3] * 3)
    assert task_shares([1, 4, 15], 1.0).tolist() == pytest.approx([0.05, 0.2, 0.75])


@given(sizes, alphas)
def test_a_tasks_count_is_its_share_rounded_in_each_epoch_and_exact_over_many(sizes: list[int], alpha: float) -> None:
    tasks = tasks_of(sizes)
    names = list(dict.fromkeys(tasks))
    share = dict(zip(names, task_shares([tasks.count(name) for name in names], alpha), strict=True))
    total: Counter[str] = Counter()
    epochs = 8
    for order in drawn(make(tasks, alpha), epochs):
        counts = Counter(tasks[index] for index in order)
        assert sum(counts.values()) == len(tasks)
        for name in names:
            assert abs(counts[name] - len(tasks) * share[name]) < 1 + 1e-6
        total.update(counts)
    for name in names:  # the rounding evens out: far less than one draw for each epoch
        assert abs(total[name] - epochs * len(tasks) * share[name]) < 3


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_expected_frequencies_of_samples(alpha: float) -> None:
    """Weight n ** (alpha - 1) of each sample, judged by chi-square on the samples of many epochs."""
    sizes = [2, 7, 40]
    tasks = tasks_of(sizes)
    weights = np.array([sizes[int(task[-1])] ** (alpha - 1.0) for task in tasks])
    draws = drawn(make(tasks, alpha, seed=3), 200).ravel()
    observed = np.bincount(draws, minlength=len(tasks))
    expected = weights / weights.sum() * len(draws)
    # Rounds make the counts far more even than independent draws would be, so the statistic is small; a wrong alpha is not.
    assert stats.chisquare(observed, expected).pvalue > 0.5
    wrong = np.array([sizes[int(task[-1])] ** (alpha - 0.8) for task in tasks])
    assert stats.chisquare(observed, wrong / wrong.sum() * len(draws)).pvalue < 1e-6


def test_alpha_one_shows_every_sample_once_in_each_epoch() -> None:
    for order in drawn(make(tasks_of([3, 9, 5]), 1.0), 5):
        assert sorted(order) == list(range(17))


@given(sizes, alphas, st.integers(0, 5))
def test_a_sample_comes_again_only_after_all_others_of_its_task(sizes: list[int], alpha: float, seed: int) -> None:
    tasks = tasks_of(sizes)
    draws = drawn(make(tasks, alpha, seed=seed), 4).ravel().tolist()
    for name in set(tasks):
        own = [index for index in draws if tasks[index] == name]
        size = tasks.count(name)
        for start in range(0, len(own) - size + 1, size):
            assert len(set(own[start : start + size])) == size


@given(sizes, alphas, st.integers(1, 3), st.integers(1, 9), st.integers(0, 9))
def test_ranks_cut_one_line_and_any_position_is_reached_directly(
    sizes: list[int], alpha: float, world_size: int, batch_size: int, start: int
) -> None:
    tasks = tasks_of(sizes)
    ranks = [make(tasks, alpha, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    alone = make(tasks, alpha, batch_size=batch_size * world_size)
    for step in (start, start + 1, 0):
        assert [index for sampler in ranks for index in sampler.batch(step)] == alone.batch(step)


def test_tasks_are_mixed_and_epochs_and_seeds_differ() -> None:
    tasks = tasks_of([20, 20, 20])
    sampler = make(tasks, 0.0, batch_size=60)
    assert len({tasks[index] for index in sampler.batch(0)[:12]}) == 3
    assert sampler.batch(0) != sampler.batch(1)
    assert sampler.batch(0) != make(tasks, 0.0, batch_size=60, seed=1).batch(0)


def test_no_data_is_an_error() -> None:
    with pytest.raises(DataError, match="training data is empty"):
        make([], 0.3)


def test_a_position_of_other_tasks_or_of_the_plain_order_is_refused() -> None:
    sampler = make(["a", "a", "b"], 0.3)
    sampler.check(4, sampler.state(4))
    with pytest.raises(CheckpointError, match=r"number of samples of each task was \[2, 1\] and is now \[1, 2\]"):
        make(["a", "b", "b"], 0.3).check(4, sampler.state(4))
    with pytest.raises(CheckpointError, match="samples of each task was None"):
        sampler.check(4, EpochSampler(length=3, batch_size=4, seed=0).state(4))
