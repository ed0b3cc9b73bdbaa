"""One self-contained HTML page per evaluation: numbers with intervals, how episodes ended, controls, key frames, videos."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vla3d.envs.base import FAILURES
from vla3d.errors import DataError
from vla3d.evaluation.controls import DESCRIPTIONS, SUCCESS_WORDS
from vla3d.evaluation.results import EpisodeRecord, RolloutFolder, write_atomic
from vla3d.evaluation.summary import verified_name

_MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class EpisodeView:
    """What the page shows of one episode; media are data URIs, or links where the page would grow too large."""

    record: EpisodeRecord
    strip: str | None
    video: str | None
    video_link: str | None
    recording_link: str | None
    troubles: str


class _Budget:
    """Embeds files until so many bytes are used up."""

    def __init__(self, size: int) -> None:
        self._left = size

    def embed(self, path: Path, kind: str) -> str | None:
        """The file as a data URI; None when it is missing or does not fit any more."""
        if not path.exists() or path.stat().st_size > self._left:
            return None
        content = path.read_bytes()
        self._left -= len(content)
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def write_report(folder: Path, *, compare: Sequence[Path] = (), megabytes: float = 24.0) -> Path:
    """Write ``report.html`` for a finished evaluation.

    Args:
        folder: of a rollout; holds ``rollout.json``.
        compare: folders of other rollouts (controls, baselines) to set beside it.
        megabytes: how much of key frames, and as much again of videos, to embed; the rest is linked.

    Returns:
        The path of the page, which makes no request to any other place.

    Raises:
        DataError: when a folder holds no finished rollout.
    """
    store = RolloutFolder(folder)
    summary = store.summary()
    word = SUCCESS_WORDS.get(summary["control"], "success")
    strips, videos = _Budget(int(megabytes * _MEGABYTE)), _Budget(int(megabytes * _MEGABYTE))
    tasks = [
        {
            "name": name,
            "part": part,
            "outcomes": _outcomes([part], word),
            "episodes": [_episode(store, name, index, strips, videos) for index in range(part["episodes"])],
        }
        for name, part in summary["tasks"].items()
    ]
    columns, rows = _side_by_side([summary, *(RolloutFolder(other).summary() for other in compare)])
    answers: Counter[str] = Counter()
    for part in summary["tasks"].values():
        answers.update(part["answers"])
    page = template("report.html.j2").render(
        summary=summary,
        run={**_column(summary), "control": summary["control"], "tasks": tasks},
        outcomes=_outcomes(list(summary["tasks"].values()), word),
        success=word,
        answers=sorted(answers.items()),
        columns=columns,
        rows=rows,
        settings=_settings(summary),
        style=Markup(_resource("report.css")),  # our own file, not user text
    )
    path = folder / "report.html"
    write_atomic(path, page.encode())
    return path


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f} %"


def interval_text(ends: Sequence[float]) -> str:
    """An interval of shares in percent."""
    return f"{100 * ends[0]:.0f}–{100 * ends[1]:.0f} %"


def _episode(store: RolloutFolder, task: str, index: int, strips: _Budget, videos: _Budget) -> EpisodeView:
    record = store.read(task, index)
    if record is None:
        raise DataError(f"{store.file(task, index, '.json')} is missing, expected every episode of rollout.json; run it again.")
    video, recording = store.file(task, index, ".mp4"), store.file(task, index, ".rrd")
    embedded = videos.embed(video, "video/mp4")
    troubles = Counter(action.failure for action in record.actions if action.failure is not None)
    return EpisodeView(
        record=record,
        strip=strips.embed(store.file(task, index, ".jpg"), "image/jpeg"),
        video=embedded,
        video_link=_link(store, video) if embedded is None else None,
        recording_link=_link(store, recording),
        troubles=", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(troubles.items())),
    )


def _link(store: RolloutFolder, path: Path) -> str | None:
    return path.relative_to(store.path).as_posix() if path.exists() else None


def _outcomes(parts: Sequence[Mapping[str, Any]], success: str) -> list[dict[str, Any]]:
    """Successes, called so, then every failure reason that occurs, in a fixed order."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part["failures"])
    names = [*(name for name in FAILURES if name in counts), *sorted(counts.keys() - set(FAILURES))]
    failures = [
        {"label": name.replace("_", " "), "count": counts[name], "css": f"{name if name in FAILURES else 'other'}-fill"}
        for name in names
    ]
    successes = sum(part["successes"] for part in parts)
    return [*([{"label": success, "count": successes, "css": "success-fill"}] if successes else []), *failures]


def _column(summary: Mapping[str, Any]) -> dict[str, str]:
    control = summary["control"]
    policy = verified_name(summary)
    return {
        "policy": policy,
        "title": ", ".join([policy, *([] if control == "none" else [control]), *_graph_note(summary)]),
        "subtitle": f"{summary['pooled']['episodes']} episodes, seed {summary['settings']['seed']}",
        "description": DESCRIPTIONS.get(control, control),
    }


def _graph_note(summary: Mapping[str, Any]) -> list[str]:
    """What was done to the policy's scene graph, in a word or two; nothing where nothing was."""
    control = summary["settings"].get("graph", "none")
    return [] if control == "none" else [f"graph {control}"]


def _side_by_side(summaries: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Columns and rows of the comparison; the first summary is the page's own."""
    tasks = list(dict.fromkeys(task for summary in summaries for task in summary["tasks"]))
    rows = [{"name": task, "parts": [summary["tasks"].get(task) for summary in summaries]} for task in tasks]
    rows.append({"name": "all pooled", "parts": [summary["pooled"] for summary in summaries]})
    return [_column(summary) for summary in summaries], rows


def _settings(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = {**summary["settings"], "checkpoint": summary.get("checkpoint"), "finished": summary.get("finished")}
    settings = [(name.replace("_", " "), str(value)) for name, value in shown.items() if value is not None]
    return [*settings, *((f"{name} version", str(value)) for name, value in summary["versions"].items())]


def template(name: str) -> Any:
    """A page of this folder, to be rendered; it knows shares and intervals as percentages."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(percent=percent, interval=interval_text, css=lambda share: f"{100 * share:.2f}%")
    return environment.from_string(_resource(name))


def _resource(name: str) -> str:
    return files("vla3d.evaluation").joinpath(name).read_text(encoding="utf-8")
