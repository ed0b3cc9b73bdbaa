"""From episode records to the numbers in ``rollout.json`` and the table on the screen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vla3d.evaluation.controls import SUCCESS_WORDS
from vla3d.evaluation.repeats import in_percent, repeat_means, spread, task_means
from vla3d.evaluation.results import EpisodeRecord
from vla3d.evaluation.statistics import SuccessRate, pooled

SUMMARY_VERSION = 1


def summarise(records: Mapping[str, Sequence[EpisodeRecord]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``rollout.json``.

    Args:
        records: task name to its finished episodes, in the order to report.
        settings: what the episodes share; its keys ``policy``, ``control`` and ``versions`` are lifted to the top.

    Returns:
        ``mean_success`` (mean over tasks), ``pooled`` (all episodes as one sample), ``tasks.<name>`` with ``successes``,
        ``episodes``, ``rate``, ``interval``, ``failures``, ``answers``, ``old_goal`` (under ``swap`` only) and ``seeds``.
        Where the settings name ``repeats``, the whole and each task have ``repeats``: their means, mean and standard deviation.
    """
    tasks = {task: _task(episodes, settings["control"]) for task, episodes in records.items()}
    rates = [SuccessRate.of(r.success for r in episodes) for episodes in records.values()]
    everything = [record for episodes in records.values() for record in episodes]
    summary: dict[str, Any] = {
        "format": SUMMARY_VERSION,
        "policy": settings["policy"],
        "control": settings["control"],
        "mean_success": sum(rate.rate for rate in rates) / len(rates),
        "pooled": _rate(pooled(rates)),
        "tasks": tasks,
        "seeds": {task: [r.seed for r in episodes] for task, episodes in records.items()},
        "decision_milliseconds": _mean_milliseconds(everything),
        "versions": settings["versions"],
        "settings": {key: value for key, value in settings.items() if key != "versions"},
    }
    repeats = settings.get("repeats", 1)
    if repeats > 1:
        summary["repeats"] = spread(repeat_means(records, repeats))
        for task, episodes in records.items():
            tasks[task]["repeats"] = spread(task_means(episodes, repeats))
    if settings["control"] == "swap":
        summary["pooled"]["old_goal"] = _rate(SuccessRate.of(r.old_goal for r in everything))
    return summary


def verified_name(summary: Mapping[str, Any]) -> str:
    """The policy's name, and whether its keyframes were verified."""
    return f"{summary['policy']}, verified" if "verify" in summary["settings"] else str(summary["policy"])


def _task(episodes: Sequence[EpisodeRecord], control: str) -> dict[str, Any]:
    part: dict[str, Any] = _rate(SuccessRate.of(r.success for r in episodes))
    part["failures"] = _counts(r.failure for r in episodes if r.failure is not None)
    part["answers"] = _counts(r.answer for r in episodes if r.answer is not None)
    part["mean_decisions"] = sum(len(r.actions) for r in episodes) / len(episodes)
    if control == "swap":
        part["old_goal"] = _rate(SuccessRate.of(r.old_goal for r in episodes))
    return part


def _rate(rate: SuccessRate) -> dict[str, Any]:
    interval = rate.interval
    return {
        "successes": rate.successes,
        "episodes": rate.episodes,
        "rate": rate.rate,
        "interval": [interval.low, interval.high],
    }


def _counts(names: Any) -> dict[str, int]:
    """How often each name occurs, the most frequent first, ties by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _mean_milliseconds(records: Sequence[EpisodeRecord]) -> float:
    decisions = sum(len(r.actions) for r in records)
    return 1000 * sum(r.decision_seconds * len(r.actions) for r in records) / max(1, decisions)


def success_table(summary: Mapping[str, Any]) -> str:
    """The summary as a text table, one line per task and one for all episodes pooled.

    With repeats there is a column for the mean and standard deviation over them; its last line is of the mean over tasks.
    """
    swapped, repeated = summary["control"] == "swap", "repeats" in summary
    header = [
        "task",
        SUCCESS_WORDS.get(summary["control"], "success"),
        "rate",
        "95 % interval",
        *(["repeats"] if repeated else []),
        *(["old goal"] if swapped else []),
        "failures",
    ]
    rows = [_row(name, part, swapped) for name, part in summary["tasks"].items()]
    failures: Counter[str] = Counter()
    for part in summary["tasks"].values():
        failures.update(part["failures"])
    pooled = {**summary["pooled"], "failures": _counts(failures.elements())}
    rows.append(_row("all pooled", {**pooled, "repeats": summary["repeats"]} if repeated else pooled, swapped))
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = "  ".join("-" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _row(name: str, part: Mapping[str, Any], swapped: bool) -> list[str]:
    low, high = part["interval"]
    row = [
        name,
        f"{part['successes']}/{part['episodes']}",
        f"{100 * part['rate']:.0f} %",
        f"[{100 * low:.0f}, {100 * high:.0f}] %",
    ]
    if "repeats" in part:
        row.append(in_percent(part["repeats"]["mean"], part["repeats"]["std"]))
    if swapped:
        row.append(f"{100 * part['old_goal']['rate']:.0f} %")
    return [*row, ", ".join(f"{reason} {count}" for reason, count in part["failures"].items()) or "none"]
