"""From the errors of single samples to the figures of ``evaluate.json`` and the table on the screen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vla3d.data.summary import format_table
from vla3d.evaluation.offline import NAMED, SampleRecord
from vla3d.evaluation.statistics import SuccessRate, bootstrap_median_interval

OFFLINE_VERSION = 1

LENGTHS: dict[str, str] = {
    "position_error_mm": "mm",
    "coarse_position_error_mm": "mm",
    "rotation_error_deg": "°",
    NAMED: "mm",
}
"""Figures that are sizes of errors, with their unit."""

RATES: tuple[str, ...] = (
    "within_2cm",
    "heatmap_hit_rate",
    "fine_heatmap_hit_rate",
    "gripper_accuracy",
    "collision_accuracy",
)
"""Figures that are shares of right answers; a heatmap hit rate counts every view of a sample as one trial."""

_PER_VIEW = ("heatmap_hit_rate", "fine_heatmap_hit_rate")


def summarise_offline(
    samples: Sequence[SampleRecord], settings: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Any]:
    """The content of ``evaluate.json``.

    Args:
        samples: at least one.
        settings: what decides the figures; its ``seed`` is that of the bootstrap.
        versions: of the programs.

    Returns:
        ``overall``, ``tasks.<name>`` and in each of those ``keyframes`` with the same figures; ``samples`` with every error.
    """
    tasks = {}
    for task in dict.fromkeys(sample.task for sample in samples):
        own = [sample for sample in samples if sample.task == task]
        ordinals = sorted({sample.keyframe for sample in own})
        keyframes = [
            {"keyframe": ordinal, **figures([one for one in own if one.keyframe == ordinal], settings["seed"])}
            for ordinal in ordinals
        ]
        tasks[task] = {**figures(own, settings["seed"]), "keyframes": keyframes}
    return {
        "format": OFFLINE_VERSION,
        "policy": settings["policy"],
        "control": settings["control"],
        "overall": figures(samples, settings["seed"]),
        "tasks": tasks,
        "settings": dict(settings),
        "versions": dict(versions),
        "samples": [_plain(sample) for sample in samples],
    }


def figures(samples: Sequence[SampleRecord], seed: int) -> dict[str, Any]:
    """Sizes and rates over some samples, with 95 % intervals: bootstrap over demonstrations for medians, Wilson for rates."""
    demos = {demo: number for number, demo in enumerate(dict.fromkeys(sample.demo for sample in samples))}
    found: dict[str, Any] = {"samples": len(samples), "demos": len(demos)}
    for name in LENGTHS:
        having = [sample for sample in samples if name in sample.errors]
        if having:
            values = np.array([sample.errors[name] for sample in having])
            interval = bootstrap_median_interval(values, np.array([demos[sample.demo] for sample in having]), seed=seed)
            found[name] = {
                "samples": len(having),
                "median": float(np.median(values)),
                "interval": None if interval is None else list(interval),
                "mean": float(values.mean()),
                "p90": float(np.percentile(values, 90)),
            }
    for name in RATES:
        having = [sample for sample in samples if name in sample.errors]
        if having:
            weights = [sample.views if name in _PER_VIEW else 1 for sample in having]
            right = sum(round(weight * sample.errors[name]) for weight, sample in zip(weights, having, strict=True))
            rate = SuccessRate(successes=right, episodes=sum(weights))
            ends = [rate.interval.low, rate.interval.high]
            found[name] = {"successes": right, "trials": rate.episodes, "rate": rate.rate, "interval": ends}
    return found


def _plain(sample: SampleRecord) -> dict[str, Any]:
    stored = asdict(sample)
    for action in ("predicted", "demonstrated"):
        del stored[action]["failure"]  # nothing was carried out
    return {**{key: value for key, value in stored.items() if key != "errors"}, **stored["errors"]}


_COLUMNS = {
    "heatmap_hit_rate": "look 1",
    "fine_heatmap_hit_rate": "look 2",
    "gripper_accuracy": "gripper",
    "collision_accuracy": "collision",
}


def offline_table(summary: Mapping[str, Any]) -> str:
    """The summary as a text table: each task, its keyframes, and all together."""
    rates = {name: title for name, title in _COLUMNS.items() if name in summary["overall"]}
    named = NAMED in summary["overall"]
    head = ["task", "samples", "position: median", "95 %", "mean", "90 %", "rotation", *rates.values()]
    rows = [head + ["named goal"] * named]
    for task, part in summary["tasks"].items():
        rows.append(_row(task, part, rates, named))
        rows += [_row(f"  keyframe {one['keyframe']}", one, rates, named) for one in part["keyframes"]]
    lines = format_table([*rows, _row("all together", summary["overall"], rates, named)])
    return "\n".join(line.rstrip() for line in [*lines[:-1], lines[1], lines[-1]])


def _row(name: str, part: Mapping[str, Any], rates: Mapping[str, str], named: bool) -> list[str]:
    position, rotation = part["position_error_mm"], part["rotation_error_deg"]
    row = [name, str(part["samples"]), size(position["median"], "mm"), spread(position["interval"])]
    row += [size(position["mean"], "mm"), size(position["p90"], "mm"), size(rotation["median"], "°")]
    row += [f"{100 * part[rate]['rate']:.0f} %" if rate in part else "" for rate in rates]
    return row + [size(part[NAMED]["median"], "mm") if NAMED in part else ""] * named


def size(value: float, unit: str) -> str:
    """An error with its unit: three digits, none of them made up."""
    digits = 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{'' if unit == '°' else ' '}{unit}"


def spread(interval: Sequence[float] | None) -> str:
    """An interval of sizes; a dash where nothing is known."""
    return "–" if interval is None else f"{interval[0]:.1f}–{interval[1]:.1f}"
