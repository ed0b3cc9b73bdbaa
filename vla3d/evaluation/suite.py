"""Running a suite: row by row, each an evaluation of its own that goes on where it was stopped."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vla3d.envs.base import FactorDoesNotApplyError, make_env
from vla3d.envs.registration import simulator_of, task_names
from vla3d.errors import ConfigError, unknown_name
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.repeats import group_means
from vla3d.evaluation.results import write_atomic
from vla3d.evaluation.rollout import evaluate
from vla3d.evaluation.suite_config import Suite, SuiteRow
from vla3d.evaluation.suite_report import suite_table, write_suite_report

SUITE_FILE = "suite.json"
SUITE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """What a suite found and where it lies."""

    folder: Path
    summary: dict[str, Any]
    report: Path

    @property
    def table(self) -> str:
        """The summary as a text table."""
        return suite_table(self.summary)


def run_suite(config: RolloutConfig, suite: Suite) -> SuiteResult:
    """Run, or finish, every row of a suite.

    The summary and the report are written after each row, so an interrupted suite shows what is done.

    Args:
        config: what the rows share: policy, tasks, episodes, seed; ``out`` gets a folder for each row under ``rows/``.
        suite: the rows.

    Raises:
        ConfigError: an unknown task or factor, in any row, before the first is run; or see ``evaluate``.
    """
    plans = [(row, row_config(config, row)) for row in suite.rows]
    done: list[dict[str, Any]] = []
    for number, (row, planned) in enumerate(plans, start=1):
        changed = f" ({', '.join(row.factors)})" if row.factors else ""
        print(f"{suite.name}, row {number} of {len(plans)}: {row.name}{changed}", flush=True)
        summary = evaluate(planned).summary
        done.append(
            {
                "name": row.name,
                "group": row.group,
                "factors": list(row.factors),
                "control": row.control,
                **{key: summary[key] for key in ("mean_success", "pooled", "tasks", "repeats") if key in summary},
            }
        )
        result = _write(config, suite, summary, done, len(plans))
    return result


def row_config(config: RolloutConfig, row: SuiteRow) -> RolloutConfig:
    """The evaluation that a row stands for.

    Raises:
        ConfigError: an unknown task or factor, or a row whose factors apply to none of its tasks.
    """
    tasks = applicable(row.tasks or config.tasks, row.factors)
    if not tasks:
        raise ConfigError(f"suite row {row.name}: {', '.join(row.factors)} cannot change any of {', '.join(config.tasks)}.")
    out = config.out / "rows" / row.name
    return replace(config, out=out, tasks=tasks, factors=row.factors, control=row.control, compare=())


def applicable(tasks: Sequence[str], factors: Sequence[str]) -> tuple[str, ...]:
    """The tasks that at least one of the factors changes; all of them where there are no factors.

    Raises:
        ConfigError: an unknown task or factor.
    """
    found = []
    for task in tasks:
        if simulator_of(task) is None and task not in task_names():
            raise unknown_name("task", task, task_names())
        try:
            make_env(task, renderer=None, factors=factors).close()
        except FactorDoesNotApplyError:
            continue
        found.append(task)
    return tuple(found)


def _write(
    config: RolloutConfig, suite: Suite, last: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], planned: int
) -> SuiteResult:
    summary = {
        "format": SUITE_VERSION,
        "suite": suite.name,
        "policy": last["policy"],
        "checkpoint": last["checkpoint"],
        "seed": config.seed,
        "episodes": config.episodes,
        "rows": list(rows),
        "group_means": group_means(rows),
        "rows_planned": planned,
        "versions": last["versions"],
        "finished": last["finished"],
    }
    write_atomic(config.out / SUITE_FILE, (json.dumps(summary, indent=2) + "\n").encode())
    return SuiteResult(folder=config.out, summary=summary, report=write_suite_report(config.out, summary))
