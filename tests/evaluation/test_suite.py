"""Suites: rows are checked before anything runs, each goes on where it was stopped, and the table says what changed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from evaluation_fakes import FakeEnv
from test_evaluation_rollout import InProcess

from vla3d import cli
from vla3d.commands.composition import compose
from vla3d.envs.base import FactorDoesNotApplyError
from vla3d.envs.registration import BUILT_IN
from vla3d.errors import ConfigError
from vla3d.evaluation import rollout as rollout_module
from vla3d.evaluation import suite as suite_module
from vla3d.evaluation import worker
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.suite import row_config, run_suite
from vla3d.evaluation.suite_config import Suite, SuiteRow
from vla3d.evaluation.suite_report import change_to_first

SUITES = ("tabletop8", "tabletop_colosseum", "tabletop_gembench", "tabletop_relations")
ROWS = [
    {"name": "standard"},
    {"name": "dark", "group": "light", "factors": ["dark"]},
    {"name": "box", "group": "size", "factors": ["box"]},
]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Fakes in place of simulator and processes; lists the factors of every episode that was run."""
    episodes: list[tuple[str, ...]] = []

    class Noting(FakeEnv):
        factors: tuple[str, ...] = ()

        def reset(self, **keywords: Any) -> Any:
            episodes.append(self.factors)
            return super().reset(**keywords)

    def make(task: str, image_size: int = 32, renderer: str | None = None, factors: Sequence[str] = ()) -> FakeEnv:
        if factors == ("box",) and task != "other":
            raise FactorDoesNotApplyError("no box")
        env = Noting(task, image_size)
        env.factors = tuple(factors)
        return env

    for module in (rollout_module, suite_module):
        monkeypatch.setattr(module, "task_names", lambda: ("fake", "other"))
        monkeypatch.setattr(module, "make_env", make)
    monkeypatch.setattr(rollout_module, "WorkerPool", InProcess)
    monkeypatch.setattr(worker, "make_env", make)
    return episodes


def suite(only: Sequence[str] = (), rows: Sequence[Any] = ROWS) -> Suite:
    return Suite.from_values({"name": "trial", "rows": rows, "only": list(only)})


def config(out: Path, **changes: Any) -> RolloutConfig:
    values = {"tasks": ["fake", "other"], "out": out, "policy": "scripted", "episodes": 2, "videos": "none", "num_workers": 1}
    return RolloutConfig(**{**values, "image_size": 32, **changes})


def test_a_suite_leaves_a_table_a_page_and_a_rollout_for_each_row(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    result = run_suite(config(tmp_path), suite())
    stored = json.loads((tmp_path / "suite.json").read_text())
    assert stored == result.summary and [row["name"] for row in stored["rows"]] == ["standard", "dark", "box"]
    assert sorted(stored["rows"][2]["tasks"]) == ["other"]  # the factor changes nothing of the first task
    assert ran == [()] * 4 + [("dark",)] * 4 + [("box",)] * 2
    for row in ("standard", "dark", "box"):
        assert (tmp_path / "rows" / row / "rollout.json").exists()
        assert f"rows/{row}/report.html" in result.report.read_text()
    lines = result.table.splitlines()
    assert lines[0].split()[-2:] == ["fake", "other"]
    assert lines[4].split()[0] == "box" and lines[4].split()[-3:] == ["-", "100", "%"]


def test_an_interrupted_suite_goes_on_and_shows_what_is_done(
    tmp_path: Path, ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = suite_module.evaluate

    def interrupted(row: RolloutConfig) -> Any:
        if row.factors == ("box",):
            raise KeyboardInterrupt
        return real(row)

    with monkeypatch.context() as patched:
        patched.setattr(suite_module, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_suite(config(tmp_path), suite())
    half = json.loads((tmp_path / "suite.json").read_text())
    assert len(half["rows"]) == 2 and half["rows_planned"] == 3
    assert "2 of 3 rows" in (tmp_path / "report.html").read_text()
    ran.clear()
    run_suite(config(tmp_path), suite())
    assert ran == [("box",)] * 2  # the rows that were done are not run again
    assert "of 3 rows" not in (tmp_path / "report.html").read_text()


def test_change_compares_the_same_tasks() -> None:
    rows = [row(successes, tasks) for successes, tasks in (((2, 1), "ab"), ((0,), "b"), ((0,), "c"))]
    summary = {"rows": [{**part, "name": str(number)} for number, part in enumerate(rows)]}
    assert [change_to_first(summary, part) for part in summary["rows"]] == [None, -0.5, None]


def test_a_swapped_row_tells_how_often_the_old_goal_was_reached(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    result = run_suite(config(tmp_path), suite(rows=[{"name": "standard"}, {"name": "swap", "control": "swap"}]))
    header, _, standard, swap = result.table.splitlines()
    assert header.split("change")[1].split()[:2] == ["old", "goal"]
    assert "100 %" in swap and standard.split("]")[1].split()[1:] == ["100", "%", "100", "%"]  # the expert is deaf
    assert "old goal" in result.report.read_text()


def row(successes: tuple[int, ...], tasks: str) -> dict[str, Any]:
    parts = {name: {"successes": count, "episodes": 2, "rate": count / 2} for name, count in zip(tasks, successes, strict=True)}
    total = sum(successes)
    pooled = {"successes": total, "episodes": 2 * len(tasks), "rate": total / (2 * len(tasks)), "interval": [0.0, 1.0]}
    return {"tasks": parts, "pooled": pooled}


def test_everything_is_checked_before_the_first_episode(tmp_path: Path, ran: list[tuple[str, ...]]) -> None:
    with pytest.raises(ConfigError, match="box cannot change any"):
        run_suite(config(tmp_path, tasks=["fake"]), suite())
    with pytest.raises(ConfigError, match="Did you mean 'other'"):
        run_suite(config(tmp_path), suite(rows=[{"name": "a"}, {"name": "b", "tasks": ["othr"]}]))
    assert not ran and not (tmp_path / "rows").exists()


@pytest.mark.parametrize(
    ("rows", "only", "message"),
    [
        ([], [], "no rows"),
        ([{"name": "a"}, {"name": "a"}], [], "more than once"),
        ([{"factors": ["x"]}], [], "expected a row"),
        ([{"name": "a", "factor": ["x"]}], [], "Did you mean 'factors'"),
        ([{"name": "a/b"}], [], "letters, digits"),
        ([{"name": "a", "control": "swop"}], [], "swap"),
        (ROWS, ["lihgt"], "Did you mean 'light'"),
    ],
)
def test_bad_suites_are_refused_in_a_sentence(rows: list[Any], only: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite(only, rows)


def test_only_takes_rows_and_levels() -> None:
    assert [row.name for row in suite(["size", "standard"]).rows] == ["standard", "box"]


@pytest.mark.parametrize("name", SUITES)
def test_the_suites_that_come_with_vla3d_can_be_run(name: str, tmp_path: Path) -> None:
    values = compose("rollout", "rollout", [f"suite={name}", "episodes=3"])
    assert values is not None and values["episodes"] == 3
    made = Suite.from_values(values["suite"])
    assert made.name == name
    shared = RolloutConfig(tasks=values["tasks"], out=tmp_path, policy="scripted")
    assert all(row_config(shared, row).tasks for row in made.rows)
    assert set(values["tasks"]) <= set(BUILT_IN)


def test_factors_of_the_column_all_are_those_of_the_other_columns() -> None:
    values = compose("rollout", "rollout", ["suite=tabletop_colosseum"])
    assert values is not None
    made = Suite.from_values(values["suite"])
    columns: dict[str, SuiteRow] = {row.name: row for row in made.rows if row.group == "The COLOSSEUM"}
    everything = columns.pop("all")
    assert sorted(everything.factors) == sorted(factor for row in columns.values() for factor in row.factors)
    assert len(columns) == 13


def test_command_line_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["rollout", "policy=scripted", f"out={tmp_path / 'out'}", "tasks=[pick_and_lift]"]
    for words, message in (
        (["suite=tabletop_colosseum", "suite.only=[mo_colour]"], "mo_color"),
        (["suite=tabletop_gembench", "suite.only=[L5]"], "L1"),
        (["suite=tabletop9"], "tabletop8"),
        (["suite=tabletop8", "factors=[mass]"], "one of the two"),
        (["factors=[light]"], "light_color"),
        (["factors=[unseen_handles]"], "pick_and_lift"),
    ):
        assert cli.main([*base, *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
