"""The benchmark of offline error against success, on made-up results of checkpoints that hold no weights."""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from vla3d.evaluation.policies import checkpoint_digest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "offline_vs_success.py"
TASKS = ("lift", "open")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("offline_vs_success", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def offline_part(error: float) -> dict:
    size = {"median": error / 2, "mean": error, "p90": 3 * error, "interval": None}
    rate = {"rate": 1.0, "successes": 4, "trials": 4, "interval": [0.5, 1.0]}
    return {"samples": 4, "demos": 2, "position_error_mm": size, "rotation_error_deg": size, "gripper_accuracy": rate}


def made_up(runs: Path, name: str, error: float, success: float, data: str = "demos", **rollout: object) -> Path:
    """A run of one checkpoint with both results."""
    policy = runs / name / "train/checkpoints/step-00000010/policy"
    policy.mkdir(parents=True)
    (policy / "policy.json").write_text(name)
    digest = checkpoint_digest(policy)
    part = {"rate": success, "successes": round(20 * success), "episodes": 20, "interval": [0, 1]}
    summary = {
        "control": "none",
        "pooled": part,
        "tasks": {task: part for task in TASKS},
        "settings": {"checkpoint_sha256": digest, "seed": 3000, "factors": []},
    } | rollout
    (runs / name / "rollout").mkdir()
    (runs / name / "rollout/rollout.json").write_text(json.dumps(summary))
    offline = runs / name / "offline" / f"step-00000010-{data}"
    offline.mkdir(parents=True)
    errors = {"overall": offline_part(error), "tasks": {task: offline_part(error) for task in TASKS}}
    (offline / "evaluate.json").write_text(json.dumps({**errors, "settings": {"checkpoint_sha256": digest}}))
    return policy


@pytest.fixture
def options(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{benchmark.BEGIN}\nold\n{benchmark.END}\nafter\n")
    words = ["x", "--runs", str(tmp_path / "runs"), "--data", str(tmp_path / "demos")]
    monkeypatch.setattr(sys, "argv", [*words, "--page", str(page), "--plot", str(tmp_path / "pictures/plot.png")])
    return benchmark.parse()


def test_the_table_tells_how_figures_order_checkpoints(
    benchmark: ModuleType, options: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (error, success) in enumerate(((40.0, 0.1), (20.0, 0.3), (10.0, 0.7), (3.0, 0.9))):
        made_up(options.runs, f"run{number}", error, success)
    for again in range(2):
        benchmark.main()
        printed = capsys.readouterr().out
        rows = {line.split("|")[1].strip(): line for line in printed.splitlines() if line.startswith("| ")}
        assert "−1.00" in rows["position error, median"] and "p = 0.083" in rows["position error, median"], again
        assert rows["gripper right"].count("–") == 3, "all alike: nothing to order by"
        assert rows["offline figure"].split("|")[2:5] == [" all tasks ", " lift ", " open "]
        page = options.page.read_text()
        assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page
        assert rows["position error, median"] in page and "(pictures/plot.png)" in page
    assert options.plot.read_bytes().startswith(b"\x89PNG")


def test_only_nominal_rollouts_of_the_scenes_count(benchmark: ModuleType, options: argparse.Namespace) -> None:
    made_up(options.runs, "good", 1.0, 1.0)
    made_up(options.runs, "swapped", 1.0, 1.0, control="swap")
    digest = {"checkpoint_sha256": "x"}
    made_up(options.runs, "other_scenes", 1.0, 1.0, settings={**digest, "seed": 1000})
    made_up(options.runs, "changed", 1.0, 1.0, settings={**digest, "seed": 3000, "factors": ["light"]})
    assert [one.name for one in benchmark.measure(options)] == ["good step-00000010"]


def test_too_few_and_stale_results_are_refused(benchmark: ModuleType, options: argparse.Namespace) -> None:
    policy = made_up(options.runs, "run", 1.0, 1.0)
    with pytest.raises(SystemExit, match="Got 1 checkpoints with a rollout"):
        benchmark.main()
    (options.runs / "run/offline/step-00000010-demos/evaluate.json").write_text(
        json.dumps({"overall": {}, "tasks": {}, "settings": {"checkpoint_sha256": "old"}})
    )
    with pytest.raises(SystemExit, match="is of another checkpoint"):
        list(benchmark.measure(options))
    assert policy.is_dir()


def test_what_is_missing_is_run(benchmark: ModuleType, options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = made_up(options.runs, "run", 1.0, 1.0)
    asked: list[tuple[str, ...]] = []
    offline, rollout = options.runs / "run/offline/step-00000010-demos", options.runs / "run/rollout"
    hidden = options.runs.parent / "hidden"
    offline.rename(hidden)

    def command(*words: str) -> None:
        asked.append(words)
        if words[0] == "evaluate":
            hidden.rename(offline)

    monkeypatch.setattr(benchmark, "vla3d", command)
    assert len(list(benchmark.measure(options))) == 1
    assert [words[0] for words in asked] == ["evaluate"] and f"checkpoint={policy.parent}" in asked[0]
    assert len(list(benchmark.measure(options))) == 1 and len(asked) == 1, "done once"
    (rollout / "rollout.json").unlink()
    assert not list(benchmark.measure(options))
