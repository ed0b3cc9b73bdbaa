"""The 2025 release of BridgeVLA through the commands, at a small size: train, resume, evaluate, roll out."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vla3d import cli
from vla3d.training.checkpoint import policy_directory

TASK = "pick_and_lift"
SMALL = (
    "policy=bridgevla_v1_nano",
    "policy.backbone.resolution=32",
    "policy.backbone.vision_width=32",
    "policy.backbone.text_width=32",
    "policy.backbone.text_layers=1",
    "policy.head_width=16",
    "policy.action_widths=[32,16]",
    "trainer.batch_size=3",
    "trainer.warmup_steps=1",
    "trainer.schedule=constant",
    "trainer.progress=false",
)


def train(demos: Path, out: Path, steps: int, *more: str) -> dict:
    assert cli.main(("train", f"data={demos}", f"out={out}", f"steps={steps}", *SMALL, *more)) == 0
    return load_file(policy_directory(out) / "model.safetensors")


@pytest.fixture(scope="module")
def run(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("v1") / "run"
    train(demos, out, 2)
    return out


def test_a_resumed_run_equals_an_uninterrupted_one(demos: Path, tmp_path: Path) -> None:
    """Running statistics of the features included."""
    last = ("trainer.validate_every=0", "demos.validation_share=0")
    train(demos, tmp_path / "two", 1, *last)
    resumed = train(demos, tmp_path / "two", 2, "resume=true", *last)
    whole = train(demos, tmp_path / "one", 2, *last)
    assert {name: value.tolist() for name, value in resumed.items()} == {name: value.tolist() for name, value in whole.items()}
    assert int(whole["action_head.normalization.num_batches_tracked"]) == 2


def test_a_batch_of_one_is_refused(demos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ("train", f"data={demos}", f"out={tmp_path / 'run'}", "steps=1", *SMALL, "trainer.batch_size=1")
    assert cli.main(words) == 2
    assert "expected at least 2 to normalise features over; raise batch_size" in capfd.readouterr().err


def test_evaluate(run: Path, tmp_path: Path) -> None:
    assert cli.main(("evaluate", f"checkpoint={run}", f"out={tmp_path / 'out'}")) == 0
    found = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    assert found["settings"]["policy"] == "bridgevla_v1" and found["overall"]["samples"] > 0
    assert {"position_error_mm", "fine_heatmap_hit_rate", "rotation_error_deg"} <= set(found["overall"])
    assert "data:image/jpeg" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("control", ["none", "mask_text"])
def test_rollout(control: str, run: Path, tmp_path: Path) -> None:
    words = (f"checkpoint={run}", f"tasks=[{TASK}]", "episodes=1", "num_workers=1", "image_size=48", "renderer=raycast")
    assert cli.main(("rollout", f"out={tmp_path / 'out'}", f"control={control}", "videos=0", *words)) == 0
    summary = json.loads((tmp_path / "out" / "rollout.json").read_text())
    assert summary["tasks"][TASK]["episodes"] == 1
