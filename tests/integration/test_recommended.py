"""The recommended recipe, at a size that trains here: every one of its switches at work in one short run."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vla3d.cli import main

SMALL = [
    "policy=bridgevla_nano",
    "policy.backbone.resolution=32",
    "policy.backbone.vision_width=32",
    "policy.backbone.text_width=32",
    "policy.head_width=16",
    "policy.action_width=32",
    "steps=6",
    "trainer.batch_size=2",
    "trainer.warmup_steps=2",
    "trainer.freeze_steps=3",
    "trainer.save_every=1",
    "trainer.keep_checkpoints=9",
    "trainer.log_every=1",
    "trainer.progress=false",
]


def test_the_recommended_recipe_trains(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    out = tmp_path / "run"
    assert main(["train", "experiment=recommended", f"data={demos}", f"out={out}", *SMALL]) == 0
    capsys.readouterr()
    weights = [load_file(out / "checkpoints" / f"step-{step:08d}" / "state" / "weights.safetensors") for step in range(1, 7)]
    assert weights[0]["action_head.5.bias"].shape == (10,)  # 6D rotation, gripper, collisions
    language = [name for name in weights[0] if ".language_model.layers." in name]
    frozen = [name for name in weights[0] if ".vision_tower." in name or ".embed_tokens." in name]
    assert language and frozen
    assert all(torch.equal(weights[0][name], weights[2][name]) for name in language + frozen)
    assert all(torch.equal(weights[0][name], weights[5][name]) for name in frozen)
    assert not any(torch.equal(weights[2][name], weights[5][name]) for name in language)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if line["kind"] == "train"]
    assert rates == pytest.approx([4e-5, 8e-5, 8e-5, 4e-5, 8e-5, 8e-5])
    state = json.loads((out / "checkpoints" / "step-00000006" / "state" / "state.json").read_text())
    assert state["sampler"]["task_sizes"] == [state["sampler"]["length"]]
