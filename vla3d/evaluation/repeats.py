"""Evaluations that were run several times: the mean over the repeats and their spread, as published tables print them.

The Wilson interval says how well the pooled episodes pin a rate down; the standard deviation over repeats says how much a
figure moves when the evaluation is run again, with the scenes' share in it only where the scenes change.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from vla3d.evaluation.results import EpisodeRecord


def repeat_means(records: Mapping[str, Sequence[EpisodeRecord]], repeats: int) -> list[float]:
    """Success in each repeat: the mean over tasks of each task's rate.

    Args:
        records: task name to its episodes in the order of their indices, all repeats one after the other.
        repeats: how many there are.
    """
    rates = [task_means(episodes, repeats) for episodes in records.values()]
    return [sum(of_task) / len(rates) for of_task in zip(*rates, strict=True)]


def task_means(episodes: Sequence[EpisodeRecord], repeats: int) -> list[float]:
    """Success rate of one task in each repeat."""
    size = len(episodes) // repeats
    assert size * repeats == len(episodes), "every repeat has the same episodes"
    parts = [episodes[start : start + size] for start in range(0, len(episodes), size)]
    return [sum(record.success for record in part) / size for part in parts]


def spread(means: Sequence[float]) -> dict[str, Any]:
    """Means, their mean and their sample standard deviation (n - 1); None for a single one."""
    return {
        "means": list(means),
        "mean": statistics.fmean(means),
        "std": statistics.stdev(means) if len(means) > 1 else None,
    }


def group_means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean success of each group of a suite's rows: over the tasks of a row first, then over rows.

    A row lacks the tasks that its factors do not change; each row weighs the same however many it has. This is how The
    COLOSSEUM's average is formed.

    Args:
        rows: with ``group``, ``control``, ``mean_success``, and ``repeats`` where there were some.

    Returns:
        Group to ``mean``, ``rows`` and, with repeats, ``std`` of the group's mean over them. Rows without a group form none,
        and controls neither: each of them asks something else.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["group"] and row["control"] == "none":
            groups.setdefault(row["group"], []).append(row)
    found = {}
    for name, members in groups.items():
        found[name] = {"rows": len(members), "mean": statistics.fmean(row["mean_success"] for row in members)}
        if all("repeats" in row for row in members):
            per_repeat = zip(*(row["repeats"]["means"] for row in members), strict=True)
            found[name]["std"] = spread([statistics.fmean(means) for means in per_repeat])["std"]
    return found


def in_percent(mean: float, std: float | None) -> str:
    """``"88.2 ± 1.3 %"``."""
    return f"{100 * mean:.1f} %" if std is None else f"{100 * mean:.1f} ± {100 * std:.1f} %"
