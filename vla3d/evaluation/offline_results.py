"""What an offline evaluation leaves on disk: ``evaluate.json`` with every sample's errors, and ``report.html``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d import __version__
from vla3d.errors import ConfigError, DataError
from vla3d.evaluation.offline import OfflineEvaluation
from vla3d.evaluation.offline_summary import summarise_offline
from vla3d.evaluation.results import write_atomic
from vla3d.optional import installed_versions

RESULTS_FILE = "evaluate.json"
REPORT_FILE = "report.html"
_VERSIONED = ("torch", "warp-lang", "numpy", "transformers")


def check_free(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder whose results would be lost: another evaluation's, or a rollout's.

    Args:
        out: where results will be written; the same evaluation may be repeated there.
        settings: what decides the figures, JSON-able.

    Raises:
        ConfigError: naming what differs.
    """
    if not (out / RESULTS_FILE).exists():
        if (out / REPORT_FILE).exists():
            raise ConfigError(f"out: {out} holds the report of something else; choose another folder.")
        return
    stored, asked = read_results(out)["settings"], json.loads(json.dumps(dict(settings)))
    other = [key for key in sorted(stored.keys() | asked.keys()) if stored.get(key) != asked.get(key)]
    if other:
        key = other[0]
        raise ConfigError(
            f"out: {out} holds an evaluation with other settings ({key} was {stored.get(key)!r}, now {asked.get(key)!r}); "
            "choose another folder, or delete it."
        )


def write_results(
    out: Path, evaluation: OfflineEvaluation, settings: Mapping[str, Any], *, report: bool = True
) -> dict[str, Any]:
    """Write an evaluation's files.

    Args:
        out: their folder.
        evaluation: what was found.
        settings: what decides the figures, JSON-able; with ``policy``, ``control`` and ``seed``.
        report: write the page too.

    Returns:
        The content of ``evaluate.json``.
    """
    versions = {"vla3d": __version__, **installed_versions(_VERSIONED)}
    summary = summarise_offline(evaluation.samples, settings, versions)
    if report:
        from vla3d.evaluation.offline_report import offline_page

        write_atomic(out / REPORT_FILE, offline_page(summary, evaluation.samples, evaluation.worst).encode())
    # Last, so that where the figures are the page is too.
    write_atomic(out / RESULTS_FILE, (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    return summary


def read_results(out: Path) -> dict[str, Any]:
    """The content of a folder's ``evaluate.json``.

    Raises:
        DataError: when it is missing or damaged.
    """
    path = out / RESULTS_FILE
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected what vla3d evaluate writes.") from error
    if not isinstance(stored, dict) or not {"overall", "tasks", "settings"} <= stored.keys():
        raise DataError(f"{path} is not what vla3d evaluate writes; delete it and evaluate again.")
    return stored
