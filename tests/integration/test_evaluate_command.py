"""`vla3d evaluate` on real demonstrations and a policy of two updates; its mistakes are one sentence each."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_bad_input import altered, train_words, with_frames

from vla3d import cli
from vla3d.data.reader import DemoDataset
from vla3d.data.writer import DatasetWriter
from vla3d.training.checkpoint import policy_directory
from vla3d.training.record import recorded_run

TASK = "pick_and_lift"


@pytest.fixture(scope="module")
def run(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates that held out the last of three demonstrations; not to be written to."""
    out = tmp_path_factory.mktemp("evaluate") / "run"
    assert cli.main(train_words(demos, out)) == 0
    return out


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Evaluate in a way that must be refused; the one sentence, after which nothing is left behind."""

    def words(*words: str) -> str:
        code = cli.main(("evaluate", f"out={tmp_path / 'out'}", *words))
        _, err = capfd.readouterr()
        assert code == 2, err
        sentence = err.rstrip("\n").rsplit("\n", 1)[-1].rsplit("\r", 1)[-1]
        assert sentence.startswith("vla3d: ") and "Traceback" not in err
        assert not (tmp_path / "out").exists()
        return sentence

    return words


def evaluated(out: Path, *words: str) -> dict:
    assert cli.main(("evaluate", f"out={out}", *words)) == 0
    return dict(json.loads((out / "evaluate.json").read_text()))


def test_held_out_demonstrations_are_the_default_and_agree_with_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(tmp_path / "out", f"checkpoint={run}", "alternatives=true")
    printed = capsys.readouterr().out
    assert found["settings"]["demos"] == [f"{TASK}/000002"] and found["settings"]["split"] == "validation"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validation = next(line for line in reversed(lines) if line["kind"] == "validation")
    assert found["overall"]["position_error_mm"]["mean"] == pytest.approx(validation["position_error_mm"], rel=1e-4)
    assert found["overall"]["rotation_error_deg"]["mean"] == pytest.approx(validation["rotation_error_deg"], rel=1e-4)
    for rate in ("heatmap_hit_rate", "fine_heatmap_hit_rate", "gripper_accuracy", "collision_accuracy", "within_2cm"):
        assert found["overall"][rate]["rate"] == pytest.approx(validation[rate], abs=1e-6)
    assert "all together" in printed and str(tmp_path / "out" / "report.html") in printed
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/jpeg") == found["overall"]["samples"] == 5
    assert (tmp_path / "out" / "config.yaml").exists()


def test_splits_tasks_limits_and_checkpoints(run: Path, demos: Path, tmp_path: Path) -> None:
    policy = policy_directory(run)
    small = ("report=false",)
    train = evaluated(tmp_path / "train", f"checkpoint={policy.parent}", "demos=train", *small)
    assert train["settings"]["demos"] == [f"{TASK}/000000", f"{TASK}/000001"]
    exported = Path(shutil.copytree(policy, tmp_path / "exported"))
    words = (f"checkpoint={exported}", f"data={demos}", "demos=all", f"tasks=[{TASK}]", "limit=2", "stride=5", *small)
    some = evaluated(tmp_path / "some", *words)
    assert some["overall"]["demos"] == 2 and some["overall"]["samples"] > 10
    again = evaluated(tmp_path / "again", *words, "batch_size=16")
    assert (tmp_path / "some" / "evaluate.json").read_bytes() == (tmp_path / "again" / "evaluate.json").read_bytes(), again


def test_controls(run: Path, tmp_path: Path) -> None:
    swapped = evaluated(tmp_path / "swap", f"checkpoint={run}", "control=swap_text", "report=false")
    assert all(one["said"] != one["goal"] for one in swapped["samples"])
    assert swapped["overall"]["named_position_error_mm"]["samples"] == 1
    masked = evaluated(tmp_path / "mask", f"checkpoint={run}", "control=mask_text", "report=false")
    assert {one["said"] for one in masked["samples"]} == {""}


# Mistakes


def test_an_exported_policy_needs_data_and_a_split_of_its_own(
    run: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    exported = Path(shutil.copytree(policy_directory(run), tmp_path / "exported"))
    assert recorded_run(exported) is None
    assert "give data=DIR" in refused(f"checkpoint={exported}")
    assert "give demos=all" in refused(f"checkpoint={exported}", f"data={demos}")


def test_a_policy_without_weights(tmp_path: Path, demos: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "policy.json").write_text('{"policy": "random", "config": {}}')
    assert "which has no weights to load" in refused(f"checkpoint={tmp_path}", f"data={demos}", "demos=all")


def test_other_cameras_are_named(run: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    data = altered(demos, tmp_path / "demos", with_frames(lambda frames: {k: v for k, v in frames.items() if k != "wrist"}))
    sentence = refused(f"checkpoint={run}", f"data={data}", "demos=all")
    assert "needs the camera 'wrist' (it was trained with front, left_shoulder, right_shoulder, wrist)" in sentence
    assert f"the demonstration {TASK}/000001" in sentence


def renamed(demos: Path, out: Path, task: str) -> Path:
    source = DemoDataset(demos)
    with DatasetWriter(out, source.request) as writer:
        for ref in source.episodes():
            writer.add(replace(source.read(ref), task=task), ref.attempt)
    return out


def test_other_tasks_are_named(run: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    data = renamed(demos, tmp_path / "demos", "stack")
    assert f"was trained on {TASK}, but" in refused(f"checkpoint={run}", f"data={data}", "demos=all")
    assert "lacks 1 of the 1 validation demonstrations" in refused(f"checkpoint={run}", f"data={data}")
    assert "Unknown task in" in refused(f"checkpoint={run}", f"data={demos}", "tasks=[pick_and_lft]")
    assert evaluated(tmp_path / "named", f"checkpoint={run}", f"data={data}", "demos=all", "tasks=[stack]", "limit=1")


def test_another_dataset_of_the_same_names(run: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    source = DemoDataset(demos)
    with DatasetWriter(tmp_path / "demos", {**source.request, "seed": 7}) as writer:
        for ref in source.episodes():
            writer.add(source.read(ref), ref.attempt)
    sentence = refused(f"checkpoint={run}", f"data={tmp_path / 'demos'}")
    assert "is not the dataset of the run" in sentence and "seed is 7, expected 0" in sentence


def test_an_empty_dataset_and_no_validation(run: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    with DatasetWriter(tmp_path / "empty", {}):
        pass
    assert "holds no demonstrations; collect some" in refused(f"checkpoint={run}", f"data={tmp_path / 'empty'}")
    bare = Path(shutil.copytree(run, tmp_path / "run"))
    record = json.loads((bare / "trainer.json").read_text())
    record["settings"]["validation_episodes"] = []
    (bare / "trainer.json").write_text(json.dumps(record))
    assert "held no demonstrations out" in refused(f"checkpoint={bare}")
    (bare / "trainer.json").write_text('{"settings": {"train_episodes": ["nonsense"]}}')
    assert "trainer.json cannot be read" in refused(f"checkpoint={bare}")


def test_a_truncated_demonstration_is_named_or_skipped(
    run: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    copied = Path(shutil.copytree(demos, tmp_path / "demos"))
    files = [path for path in (copied / TASK / "000001").rglob("*") if path.is_file() and path.name != "zarr.json"]
    shard = next(path for path in files if "depth" in str(path))
    shard.write_bytes(shard.read_bytes()[:100])
    words = (f"checkpoint={run}", f"data={copied}", "demos=all")
    assert f"Episode {TASK}/000001, array 'depth" in refused(*words)
    left = evaluated(tmp_path / "skipped", *words, "on_corrupt=skip", "report=false")
    assert left["settings"]["demos"] == [f"{TASK}/000000", f"{TASK}/000002"]


def test_results_of_something_else_are_not_written_over(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    evaluated(out, f"checkpoint={run}", "report=false")
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert cli.main(("evaluate", f"checkpoint={run}", "control=mask_text", f"out={out}")) == 2
    assert "holds an evaluation with other settings" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before
