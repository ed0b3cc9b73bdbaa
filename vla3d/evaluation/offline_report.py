"""One self-contained HTML page per offline evaluation: figures, bars by keyframe, histograms, the worst samples as pictures."""

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from vla3d.evaluation.offline import NAMED, Judged, SampleRecord
from vla3d.evaluation.offline_pictures import sample_picture
from vla3d.evaluation.offline_summary import LENGTHS, RATES, size, spread
from vla3d.evaluation.questions import OFFLINE_DESCRIPTIONS
from vla3d.evaluation.report import interval_text, percent, template

TITLES: dict[str, str] = {
    "position_error_mm": "position",
    "coarse_position_error_mm": "first look's position",
    "rotation_error_deg": "rotation",
    NAMED: "to the named goal",
    "within_2cm": "within 2 cm",
    "heatmap_hit_rate": "look 1 hits",
    "fine_heatmap_hit_rate": "look 2 hits",
    "gripper_accuracy": "gripper right",
    "collision_accuracy": "collision flag right",
}

BINS: dict[str, tuple[float, ...]] = {
    "position_error_mm": (0, 1, 2, 5, 10, 20, 50, 100),
    "rotation_error_deg": (0, 1, 2, 5, 10, 20, 45),
}
"""Lower ends of the histograms' bins; the last one is open."""

_SIZE_CARDS = {
    "position_error_mm": "median position error",
    "rotation_error_deg": "median rotation error",
    NAMED: "median distance to the named goal's keyframe",
}
_SPLITS = {
    "validation": "held out by the run",
    "train": "those the run learned from",
    "all": "all of the dataset",
}


def offline_page(summary: Mapping[str, Any], samples: Sequence[SampleRecord], worst: Sequence[Judged]) -> str:
    """The page, which makes no request to any other place.

    Args:
        summary: from ``summarise_offline``.
        samples: every sample, for the histograms.
        worst: those to show as pictures.
    """
    overall = summary["overall"]
    present = [name for name in TITLES if name in overall]
    columns = [{"name": name, "title": TITLES[name], "unit": LENGTHS.get(name)} for name in present]
    keyframes = [one for part in summary["tasks"].values() for one in part["keyframes"]]
    charts = [
        {**column, "most": max(1.0, *(one[column["name"]]["p90"] for one in keyframes))}
        for column in columns
        if column["name"] in BINS
    ]
    page = template("offline.html.j2").render(
        summary=summary,
        overall=overall,
        split=_SPLITS.get(summary["settings"].get("split", ""), "as chosen"),
        description=OFFLINE_DESCRIPTIONS[summary["control"]],
        cards=_cards(overall),
        parts=[*summary["tasks"].items(), ("all together", overall)],
        sizes=[column for column in columns if column["name"] in BINS],
        named=NAMED,
        rates=[column for column in columns if column["name"] in RATES],
        charts=charts,
        looks=[column for column in columns if column["name"] in RATES and "hit_rate" in str(column["name"])],
        histograms=_histograms(summary, samples),
        worst=[{"record": one.record, "picture": _data_uri(sample_picture(one))} for one in worst],
        settings=_settings(summary),
        size=size,
        spread=spread,
        style=Markup(files("vla3d.evaluation").joinpath("report.css").read_text(encoding="utf-8")),  # our own file
    )
    return str(page)


def _cards(overall: Mapping[str, Any]) -> list[dict[str, str]]:
    cards = []
    for name, title in _SIZE_CARDS.items():
        if name in overall:
            part = overall[name]
            known = "" if part["interval"] is None else f"{spread(part['interval'])} {LENGTHS[name]}"
            cards.append({"value": size(part["median"], LENGTHS[name]), "title": title, "range": known})
    for name in ("within_2cm", "heatmap_hit_rate", "fine_heatmap_hit_rate"):
        if name in overall:
            part = overall[name]
            cards.append({"value": percent(part["rate"]), "title": TITLES[name], "range": interval_text(part["interval"])})
    return cards


def _histograms(summary: Mapping[str, Any], samples: Sequence[SampleRecord]) -> list[dict[str, Any]]:
    """Position and rotation errors of all samples, and of each task where there are several."""
    groups = {"all together": list(samples)}
    if len(summary["tasks"]) > 1:
        groups |= {task: [sample for sample in samples if sample.task == task] for task in summary["tasks"]}
    return [
        {"name": name, "charts": [_histogram(figure, [sample.errors[figure] for sample in group]) for figure in BINS]}
        for name, group in groups.items()
    ]


def _histogram(figure: str, values: Sequence[float]) -> dict[str, Any]:
    unit, ends = LENGTHS[figure], (*BINS[figure], float("inf"))
    counts = [sum(low <= value < high for value in values) for low, high in pairwise(ends)]
    labels = [*(f"{low:g}–{high:g}" for low, high in pairwise(BINS[figure])), f"{BINS[figure][-1]:g}+"]
    bins = [
        {"label": label, "count": count, "share": count / max(1, *counts)} for label, count in zip(labels, counts, strict=True)
    ]
    return {"title": f"{TITLES[figure]} error, {unit}", "bins": bins}


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _settings(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    def text(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    shown = [(name.replace("_", " "), text(value)) for name, value in summary["settings"].items() if value is not None]
    return [*shown, *((f"{name} version", value) for name, value in summary["versions"].items())]
