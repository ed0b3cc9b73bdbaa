"""A suite's results for people: a text table, and a page with bars, intervals and a link to each row's own report."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vla3d.evaluation.repeats import in_percent
from vla3d.evaluation.report import template
from vla3d.evaluation.results import write_atomic


def suite_table(summary: Mapping[str, Any]) -> str:
    """One line per row: successes, rate, interval, the difference to the first row on the same tasks, and each task's rate.

    Where a row swaps sentences, there is a column for how often the old goal was reached; with repeats, one for the mean over
    tasks with its standard deviation. Below stands the mean of each group of several rows.
    """
    tasks = all_tasks(summary)
    swapped = any("old_goal" in row["pooled"] for row in summary["rows"])
    repeated = any("repeats" in row for row in summary["rows"])
    header = [
        "row",
        "success",
        "rate",
        "95 % interval",
        "change",
        *(["repeats"] if repeated else []),
        *(["old goal"] if swapped else []),
        *tasks,
    ]
    lines = [header]
    for row in summary["rows"]:
        pooled = row["pooled"]
        low, high = pooled["interval"]
        change = change_to_first(summary, row)
        lines.append(
            [
                row["name"],
                f"{pooled['successes']}/{pooled['episodes']}",
                f"{100 * pooled['rate']:.0f} %",
                f"[{100 * low:.0f}, {100 * high:.0f}] %",
                "" if change is None else f"{100 * change:+.0f}",
                *([_repeats(row)] if repeated else []),
                *([f"{100 * pooled['old_goal']['rate']:.0f} %" if "old_goal" in pooled else ""] if swapped else []),
                *(f"{100 * row['tasks'][task]['rate']:.0f} %" if task in row["tasks"] else "-" for task in tasks),
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "  ".join("-" * width for width in widths), *texts[1:], *_group_lines(summary).values()])


def _repeats(row: Mapping[str, Any]) -> str:
    return in_percent(row["repeats"]["mean"], row["repeats"]["std"]) if "repeats" in row else ""


def _group_lines(summary: Mapping[str, Any]) -> dict[str, str]:
    """A line for each group of several rows."""
    return {
        name: f"mean of {name} ({group['rows']} rows, each the mean over its tasks): "
        + in_percent(group["mean"], group.get("std"))
        for name, group in summary.get("group_means", {}).items()
        if group["rows"] > 1
    }


def all_tasks(summary: Mapping[str, Any]) -> list[str]:
    """Every task of any row, in order of appearance."""
    return list(dict.fromkeys(task for row in summary["rows"] for task in row["tasks"]))


def change_to_first(summary: Mapping[str, Any], row: Mapping[str, Any]) -> float | None:
    """Success of a row minus that of the first row on the same tasks; None for the first, and where it lacks one of them."""
    first = summary["rows"][0]
    if row["name"] == first["name"] or any(task not in first["tasks"] for task in row["tasks"]):
        return None
    parts = [first["tasks"][task] for task in row["tasks"]]
    before = sum(part["successes"] for part in parts) / sum(part["episodes"] for part in parts)
    return float(row["pooled"]["rate"] - before)


def write_suite_report(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``report.html`` of a suite, finished or not.

    Returns:
        The path of the page, which makes no request to any other place.
    """
    rows = [
        {
            **row,
            "label": row["name"].replace("_", " "),
            "change": change_to_first(summary, row),
            "spread": _repeats(row),
            "link": f"rows/{row['name']}/report.html" if (folder / "rows" / row["name"] / "report.html").exists() else None,
        }
        for row in summary["rows"]
    ]
    page = template("suite.html.j2").render(
        summary=summary,
        rows=rows,
        groups=list(dict.fromkeys(row["group"] for row in rows)),
        tasks=all_tasks(summary),
        means=_group_lines(summary),
        repeated=max((len(row["repeats"]["means"]) for row in rows if "repeats" in row), default=0),
        style=Markup(files("vla3d.evaluation").joinpath("report.css").read_text(encoding="utf-8")),  # our own file
    )
    path = folder / "report.html"
    write_atomic(path, page.encode())
    return path
