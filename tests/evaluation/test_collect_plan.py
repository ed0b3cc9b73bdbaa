"""Which attempts are made depends on their outcomes alone, never on timing, kills or the number of workers."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla3d.errors import ConfigError
from vla3d.evaluation.collect import AttemptPlan
from vla3d.evaluation.collect_config import CollectConfig


def serial(outcomes: list[bool], episodes: int) -> dict[int, str | None]:
    """One worker, never disturbed; attempts beyond the list succeed."""
    known: dict[int, str | None] = {}
    while sum(failure is None for failure in known.values()) < episodes:
        attempt = len(known)
        known[attempt] = None if attempt >= len(outcomes) or outcomes[attempt] else "timeout"
    return known


@given(
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 12),
    st.integers(1, 5),
    st.lists(st.integers(0, 100), max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_course_ends_like_the_serial_one(outcomes, episodes, workers, kills, random) -> None:
    expected = serial(outcomes, episodes)
    known: dict[int, str | None] = {}
    kills = [*kills, None]
    for lifetime in kills:
        plan = AttemptPlan(episodes, known)
        running: list[int] = []
        ended = 0
        while ended != lifetime:
            while len(running) < workers and (attempt := plan.start()) is not None:
                running.append(attempt)
            if not running:
                break
            attempt = running.pop(random.randrange(len(running)))
            failure = None if attempt >= len(outcomes) or outcomes[attempt] else "timeout"
            plan.finish(attempt, failure)
            known[attempt] = failure
            ended += 1
        assert set(known) <= set(expected)  # nothing was made in vain
    assert dict(sorted(known.items())) == expected
    assert AttemptPlan(episodes, known).start() is None


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 8), st.integers(1, 8))
def test_asking_for_more_later_is_like_asking_for_it_at_once(outcomes, first, more) -> None:
    known = serial(outcomes, first)
    plan = AttemptPlan(first + more, known)
    while (attempt := plan.start()) is not None:
        known[attempt] = None if attempt >= len(outcomes) or outcomes[attempt] else "timeout"
        plan.finish(attempt, known[attempt])
    assert known == serial(outcomes, first + more)


def test_gaps_are_filled_first_and_counted() -> None:
    plan = AttemptPlan(3, {0: None, 2: "timeout", 5: None})
    assert (plan.successes, plan.missing, plan.gaps) == (2, 1, 3)
    assert [plan.start() for _ in range(4)] == [1, 3, 4, None]
    for attempt in (1, 3, 4):
        plan.finish(attempt, "collision")
    assert [plan.start(), plan.start()] == [6, None]


def test_recent_failures_end_the_unbroken_sequence() -> None:
    assert AttemptPlan(9, {}).recent_failures() == []
    assert AttemptPlan(9, {0: "a", 1: None, 2: "b", 3: "c", 5: "d"}).recent_failures() == ["c", "b"]
    assert AttemptPlan(9, {1: "b"}).recent_failures() == []


GOOD = CollectConfig(tasks=["open_drawer"], out=Path("x"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": []}, "tasks: got none"),
        ({"tasks": ["a", "b", "a"]}, "got a more than once"),
        ({"episodes": 0}, "episodes: got 0, expected a whole number of at least 1"),
        ({"episodes": True}, "episodes: got True"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 1.5}, "seed: got 1.5"),
        ({"num_workers": -1}, "num_workers: got -1"),
        ({"max_mb_per_demo": 0}, "max_mb_per_demo: got 0"),
        ({"max_mb_per_demo": float("nan")}, "max_mb_per_demo: got nan"),
        ({"over_cap": "fial"}, "Did you mean 'fail'"),
        ({"max_failures_in_a_row": 0}, "max_failures_in_a_row: got 0"),
    ],
)
def test_config_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(GOOD, **changes)
