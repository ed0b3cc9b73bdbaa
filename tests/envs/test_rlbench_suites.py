"""RLBench-18 and The COLOSSEUM through the one rollout engine, over the stand-in: protocol, resuming, averages, refusals."""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import fake_rlbench
import pytest
from fake_rlbench import World, layout_of

from vla3d.cli import main
from vla3d.commands.composition import compose
from vla3d.envs.base import FactorDoesNotApplyError, make_env
from vla3d.envs.rlbench.colosseum import colosseum_scene, variation_of
from vla3d.envs.rlbench.names import COLOSSEUM, COLOSSEUM_FACTORS, RLBENCH_18
from vla3d.envs.rlbench.session import SIMULATOR
from vla3d.errors import ConfigError
from vla3d.evaluation import rollout as rollout_module

YAML = """
data:
  image_size: [128, 128]
env:
  task_name: "{task}"
  seed: 42
  scene:
    factors:
      - variation: object_color
        name: manip_obj_color
        enabled: False
        seed: ${{env.seed}}
      - variation: object_color
        name: recv_obj_color
        enabled: False
        seed: ${{env.seed}}
      - variation: light_color
        enabled: False
        color_range: [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
        seed: ${{env.seed}}
"""


def strategy(without: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """A task's strategy in the published form; the entries are not in the order of their numbers."""
    named = {1: [("object_color", "any"), ("light_color", "any")], 2: [("object_color", "manip_obj_color")]}
    named |= {3: [("object_color", "recv_obj_color")], 8: [("light_color", "any")]}
    return [
        {
            "spreadsheet_idx": number,
            "variation_name": f"variation {number}",
            "enabled": number not in without,
            "variations": [{"type": kind, "name": name, "enabled": True} for kind, name in named.get(number, [])],
        }
        for number in reversed(range(18))
    ]


class InProcess:
    """A ``WorkerPool`` without processes: the stand-in lives in this one."""

    def __init__(self, function: Callable[[Any], Any], number: int, *, initializer: Callable[..., None], initargs: Any) -> None:
        initializer(*initargs)
        self._function, self.free = function, 1
        self._given: deque[tuple[int, Any]] = deque()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, job: Any) -> int:
        self._given.append((self._count, job))
        self._count, self.free = self._count + 1, 0
        return self._count - 1

    def next_result(self) -> tuple[int, Any]:
        self.free = 1
        number, job = self._given.popleft()
        return number, self._function(job)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(rollout_module, "WorkerPool", InProcess)
    yield fake_rlbench.install(monkeypatch, fork=True)
    SIMULATOR.close()


@pytest.fixture
def colosseum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """The COLOSSEUM beside upstream's RLBench: two tasks, of which the second has no receiver's colour."""
    monkeypatch.setattr(rollout_module, "WorkerPool", InProcess)
    made = fake_rlbench.install(monkeypatch, fork=False)
    for folder in ("configs", "json"):
        (tmp_path / folder).mkdir()
    for task, without in (("close_box", ()), ("hockey", (3,)), ("wipe_desk", ()), ("insert_onto_square_peg", ())):
        (tmp_path / "configs" / f"{task}.yaml").write_text(YAML.format(task=task))
        (tmp_path / "json" / f"{task}.json").write_text(json.dumps({"strategy": strategy(without)}))
    fake_rlbench.install_colosseum(monkeypatch, made, tmp_path)
    yield made
    SIMULATOR.close()


def rollout(out: Path, *words: str) -> int:
    return main(["rollout", f"out={out}", "report=false", "image_size=16", "num_workers=1", *words])


# The suites as they come


def test_the_suites_name_the_published_tasks_and_protocol() -> None:
    rlbench = compose("rollout", "rollout", ["suite=rlbench18"])
    assert rlbench is not None
    assert sorted(rlbench["tasks"]) == sorted(f"rlbench_{task}" for task in RLBENCH_18)
    assert (rlbench["episodes"], rlbench["repeats"], rlbench["image_size"], rlbench["videos"]) == (25, 5, 128, "none")
    values = compose("rollout", "rollout", ["suite=colosseum"])
    assert values is not None
    assert sorted(values["tasks"]) == sorted(f"colosseum_{task}" for task in COLOSSEUM)
    assert (values["episodes"], values["repeats"]) == (25, 3)
    group = [row for row in values["suite"]["rows"] if row["group"] == "The COLOSSEUM"]
    assert [variation_of(row["factors"]) for row in group] == list(range(1, 15))
    assert [row["name"] for row in group] == [name for name, number in COLOSSEUM_FACTORS.items() if number < 15]


def test_without_rlbench_the_suite_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rlbench", None)
    for suite in ("rlbench18", "colosseum"):
        assert rollout(tmp_path / "out", "policy=random", f"suite={suite}") == 2
        err = capsys.readouterr().err
        assert "CoppeliaSim 4.1" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


# RLBench-18


def test_the_engine_runs_recorded_tests_in_repeats(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = fake_rlbench.write_tests(tmp_path / "test", "close_jar", 3)
    fake_rlbench.write_tests(demos, "open_drawer", 3)
    tasks = "tasks=[rlbench_close_jar,rlbench_open_drawer]"
    words = ["suite=rlbench18", f"test_demos={demos}", tasks, "episodes=2", "repeats=3"]
    assert rollout(tmp_path / "out", "policy=scripted", *words) == 0
    table = capsys.readouterr().out
    assert "12/12" in table and "100.0 ± 0.0 %" in table
    folder = tmp_path / "out" / "rows" / "standard"
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("episodes/rlbench_close_jar/*.json"))]
    assert [record["instruction"].split()[2] for record in records] == [layout_of(number) for number in (0, 1, 0, 1, 0, 1)]
    assert {record["variation"] for record in records} == {4}
    assert [len(record["actions"]) for record in records] == [3] * 6  # the demonstration's keyframes, and no more
    summary = json.loads((folder / "rollout.json").read_text())
    assert summary["repeats"] == {"means": [1.0, 1.0, 1.0], "mean": 1.0, "std": 0.0}
    assert len(world.launches) == 1

    assert rollout(tmp_path / "out", "policy=scripted", *words) == 0  # finished: nothing is run again
    assert len(world.launches) == 1
    assert rollout(tmp_path / "out", "policy=scripted", *words[:-2], "episodes=3", "repeats=3") == 2
    assert "episodes was 2 and is now 3" in capsys.readouterr().err


def test_a_policy_that_fails_is_counted_and_named(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = fake_rlbench.write_tests(tmp_path / "test", "close_jar", 4)
    assert (
        rollout(
            tmp_path / "out", "policy=random", f"test_demos={demos}", "tasks=[rlbench_close_jar]", "episodes=4", "videos=none"
        )
        == 0
    )
    summary = json.loads((tmp_path / "out" / "rollout.json").read_text())
    part = summary["tasks"]["rlbench_close_jar"]
    assert part["successes"] == 0 and sum(part["failures"].values()) == 4
    assert set(part["failures"]) <= {"unreachable", "timeout"}
    assert summary["settings"]["test_demos"] == str(demos)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["episodes=3"], "episodes: got 3, but"),
        (["control=swap"], "take control=none or mask_text"),
        (["factors=[mo_color]"], "factors: task 'rlbench_close_jar' takes none"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], part: str, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = fake_rlbench.write_tests(tmp_path / "test", "close_jar", 2)
    base = ["policy=scripted", f"test_demos={demos}", "tasks=[rlbench_close_jar]", "episodes=2", "videos=none"]
    assert rollout(tmp_path / "out", *base, *words) == 2
    err = capsys.readouterr().err
    assert part in err.splitlines()[-1]


# The COLOSSEUM


def test_the_colosseum_runs_row_by_row_on_the_demonstrations_of_each(
    colosseum: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = tmp_path / "test"
    for task in ("close_box", "hockey"):
        for number in (0, 1, 3):
            fake_rlbench.write_tests(demos, f"{task}_{number}", 1, upstream=True)
    words = ["suite=colosseum", "suite.only=[standard,all,ro_color]", f"test_demos={demos}", "episodes=1", "repeats=2"]
    tasks = "tasks=[colosseum_close_box,colosseum_hockey]"
    assert rollout(tmp_path / "out", "policy=scripted", *words, tasks) == 0
    table = capsys.readouterr().out
    assert "mean of The COLOSSEUM (2 rows, each the mean over its tasks): 100.0 ± 0.0 %" in table
    rows = {row["name"]: row for row in json.loads((tmp_path / "out" / "suite.json").read_text())["rows"]}
    assert sorted(rows["all"]["tasks"]) == ["colosseum_close_box", "colosseum_hockey"]
    assert sorted(rows["ro_color"]["tasks"]) == ["colosseum_close_box"]  # hockey has no receiver whose colour could change
    launched = [(env.env_config.task_name, enabled(env)) for env in colosseum.launches]
    both = {"manip_obj_color", "recv_obj_color", "light_color"}
    assert launched == [
        ("close_box", set()),
        ("hockey", set()),
        ("close_box", both),
        ("hockey", both),
        ("close_box", {"recv_obj_color"}),
    ]
    assert colosseum.open == 1 and colosseum.launches[0].env_config.scene.factors[0].seed == 42
    assert colosseum.launches[0]._config.front_camera.render_mode == 1  # OPENGL3: with shadows


def enabled(environment: Any) -> set[str]:
    return {factor.get("name", factor.variation) for factor in environment.env_config.scene.factors if factor.enabled}


def test_factors_are_the_colosseums_one_at_a_time(colosseum: World) -> None:
    with pytest.raises(ConfigError, match=r"Unknown factor of The COLOSSEUM 'mo_colour'\. Did you mean 'mo_color'"):
        make_env("colosseum_close_box", factors=["mo_colour"])
    with pytest.raises(ConfigError, match="expected one at a time"):
        make_env("colosseum_close_box", factors=["mo_color", "mass"])
    with pytest.raises(FactorDoesNotApplyError, match="has no ro_color of hockey"):
        make_env("colosseum_hockey", factors=["ro_color"])
    with pytest.raises(ConfigError, match=r"Unknown task of The COLOSSEUM 'close_bx'\. Did you mean 'close_box'"):
        make_env("colosseum_close_bx")


@pytest.mark.parametrize(
    ("task", "variation", "attempts"),
    [
        ("wipe_desk", 0, 10),
        ("wipe_desk", 9, 10),
        ("insert_onto_square_peg", 1, 10),
        ("insert_onto_square_peg", 6, 10),
        ("insert_onto_square_peg", 2, 1),
        ("close_box", 1, 1),
    ],
)
def test_scenes_that_are_hard_to_lay_out_are_tried_again(
    task: str, variation: int, attempts: int, colosseum: World, tmp_path: Path
) -> None:
    factors = [name for name, number in COLOSSEUM_FACTORS.items() if number == variation]
    assert colosseum_scene(task, factors, 16, ()).reset_attempts == attempts
    demos = fake_rlbench.write_tests(tmp_path / "test", f"{task}_{variation}", 1, upstream=True)
    env = make_env(f"colosseum_{task}", renderer=None, factors=factors, demos=demos)
    colosseum.unplaced = 3
    if attempts == 1:
        with pytest.raises(Exception, match="cannot be laid out in 1 attempts"):
            env.reset_to_episode(0)  # type: ignore[attr-defined]
    else:
        sentence = env.reset_to_episode(0).instruction  # type: ignore[attr-defined]
        assert layout_of(0) not in sentence  # further along the same random numbers
        colosseum.unplaced = 3
        assert env.reset_to_episode(0).instruction == sentence  # type: ignore[attr-defined]


def test_an_installation_without_the_files_is_named(colosseum: World, tmp_path: Path) -> None:
    (tmp_path / "json" / "close_box.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"close_box\.json cannot be read .*check the installation of colosseum"):
        make_env("colosseum_close_box")
    (tmp_path / "json" / "close_box.json").write_text(json.dumps({"strategy": []}))
    with pytest.raises(ConfigError, match="has 0 entries for the variation 0"):
        make_env("colosseum_close_box")
