"""Repeats and groups, by hand."""

import math
from pathlib import Path
from typing import Any

import pytest

from vla3d.errors import ConfigError
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.repeats import group_means, in_percent, repeat_means, spread, task_means
from vla3d.evaluation.results import EpisodeRecord
from vla3d.evaluation.rollout import plan, shared_settings
from vla3d.evaluation.suite_report import suite_table
from vla3d.evaluation.summary import success_table, summarise


def episodes(task: str, outcomes: str) -> list[EpisodeRecord]:
    """One episode for each letter: ``s`` succeeds."""
    return [
        EpisodeRecord(
            task=task,
            index=index,
            seed=index,
            variation=0,
            instruction="go",
            shown="go",
            success=outcome == "s",
            old_goal=outcome == "s",
            failure=None if outcome == "s" else "timeout",
            answer=None,
            actions=(),
            decision_seconds=0.0,
            seconds=0.0,
        )
        for index, outcome in enumerate(outcomes)
    ]


RECORDS = {"jar": episodes("jar", "ssffsfff"), "cup": episodes("cup", "ssssssff")}
SETTINGS: dict[str, Any] = {"policy": "p", "control": "none", "versions": {}, "repeats": 2, "episodes": 4}


def test_a_repeat_is_the_mean_over_tasks_of_its_own_episodes() -> None:
    assert task_means(RECORDS["jar"], 2) == [0.5, 0.25]
    assert repeat_means(RECORDS, 2) == [(0.5 + 1.0) / 2, (0.25 + 0.5) / 2]
    assert task_means(RECORDS["jar"], 1) == [3 / 8]


def test_the_spread_is_the_sample_standard_deviation() -> None:
    found = spread([0.75, 0.375])
    assert found["mean"] == pytest.approx(0.5625)
    assert found["std"] == pytest.approx(math.sqrt(2 * 0.1875**2))
    assert spread([0.5])["std"] is None
    assert in_percent(0.882, 0.013) == "88.2 ± 1.3 %" and in_percent(0.882, None) == "88.2 %"


def test_the_summary_and_its_table_tell_both_uncertainties() -> None:
    summary = summarise(RECORDS, SETTINGS)
    assert summary["repeats"]["means"] == [0.75, 0.375] and summary["tasks"]["jar"]["repeats"]["means"] == [0.5, 0.25]
    assert summary["pooled"]["episodes"] == 16 and summary["mean_success"] == pytest.approx(9 / 16)
    lines = success_table(summary).splitlines()
    assert "repeats" in lines[0] and "37.5 ± 17.7 %" in lines[2] and "56.2 ± 26.5 %" in lines[-1]
    assert "3/8" in lines[2]
    plain = summarise(RECORDS, {key: value for key, value in SETTINGS.items() if key not in ("repeats", "episodes")})
    assert "repeats" not in plain and "repeats" not in success_table(plain)


def row(name: str, group: str, mean: float, tasks: tuple[str, ...], repeats: list[float] | None = None) -> dict[str, Any]:
    part = {"successes": 1, "episodes": 4, "rate": 0.25, "interval": [0.0, 1.0]}
    made = {
        "name": name,
        "group": group,
        "control": "none",
        "mean_success": mean,
        "pooled": part,
        "tasks": dict.fromkeys(tasks, part),
    }
    return made | ({"repeats": spread(repeats)} if repeats is not None else {})


def test_a_groups_mean_weighs_rows_alike_however_many_tasks_they_have() -> None:
    rows = [
        row("standard", "training", 0.9, ("jar", "cup"), [0.8, 1.0]),
        row("dark", "The COLOSSEUM", 0.5, ("jar", "cup"), [0.4, 0.6]),
        row("ro_size", "The COLOSSEUM", 0.2, ("jar",), [0.2, 0.2]),
        row("swap", "", 0.1, ("jar",)),
    ]
    means = group_means(rows)
    assert means["The COLOSSEUM"]["mean"] == pytest.approx(0.35) and means["The COLOSSEUM"]["rows"] == 2
    assert means["The COLOSSEUM"]["std"] == pytest.approx(math.sqrt(2 * 0.05**2))  # of 0.3 and 0.4
    assert means["training"]["rows"] == 1 and "" not in means
    lines = suite_table({"rows": rows, "group_means": means}).splitlines()
    assert lines[-1] == "mean of The COLOSSEUM (2 rows, each the mean over its tasks): 35.0 ± 7.1 %"
    assert "repeats" in lines[0] and "50.0 ± 14.1 %" in lines[3]


def test_controls_are_not_averaged() -> None:
    controls = [{**row(name, "controls", 0.9, ("jar",)), "control": name} for name in ("swap", "mask_text")]
    assert group_means(controls) == {}


def config(**changes: Any) -> RolloutConfig:
    return RolloutConfig(**{"tasks": ["open_drawer"], "out": Path("x"), "policy": "random", "episodes": 3, **changes})


def test_repeats_go_through_the_same_recorded_episodes_with_other_seeds() -> None:
    jobs = plan(config(repeats=2))
    assert [job.index for job in jobs] == [0, 1, 2, 3, 4, 5] and [job.number for job in jobs] == [0, 1, 2, 0, 1, 2]
    assert len({job.seed for job in jobs}) == 6
    assert [job.seed for job in jobs[:3]] == [job.seed for job in plan(config())]  # repeats add, they change nothing


def test_the_folder_remembers_how_an_index_is_read() -> None:
    assert not {"repeats", "episodes", "test_demos"} & shared_settings(config()).keys()
    settings = shared_settings(config(repeats=2, test_demos=Path("test")))
    assert (settings["repeats"], settings["episodes"], settings["test_demos"]) == (2, 3, "test")


def test_recorded_states_are_not_repeated() -> None:
    with pytest.raises(ConfigError, match="repeats: got 2 with states, expected 1"):
        config(repeats=2, states=Path("states"))
    with pytest.raises(ConfigError, match="repeats: got 0, expected a whole number of at least 1"):
        config(repeats=0)
