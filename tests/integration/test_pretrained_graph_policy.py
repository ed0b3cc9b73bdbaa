"""From generated scenes to a policy that reads graphs, through the commands: pre-train, train on from that, roll out."""

import json
from pathlib import Path

import pytest
import torch

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.cli import main
from vla3d.policies.grounding.route import GROUNDER_FOLDER
from vla3d.policies.learned import load_policy
from vla3d.training.checkpoint import policy_directory

TASK = "pick_and_lift"
SCENES = (
    "scenes.train=12",
    "scenes.gallery=4",
    "objective.encoder.width=32",
    "objective.encoder.embedding=16",
    "objective.encoder.points=8",
    "steps=2",
    "trainer.batch_size=4",
    "trainer.progress=false",
)
SMALL = (
    "experiment=relational",
    f"demos.tasks=[{TASK}]",
    "demos.episodes=3",
    "policy.graph.triplets=2",
    "policy.backbone.resolution=32",
    "policy.backbone.vision_width=32",
    "policy.backbone.text_width=32",
    "policy.head_width=16",
    "policy.action_width=32",
    "steps=3",
    "trainer.batch_size=3",
    "trainer.validate_every=3",
    "trainer.progress=false",
)


@pytest.mark.slow
def test_pretrain_train_and_roll_out(demos: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    pretrained, run, out = tmp_path / "pretrained", tmp_path / "run", tmp_path / "rollout"
    assert main(["pretrain", f"out={pretrained}", *SCENES]) == 0
    start = policy_directory(pretrained)
    assert main(["train", f"data={demos}", f"out={run}", f"policy.graph.pretrained={start}", *SMALL]) == 0

    policy = load_policy(policy_directory(run))
    assert policy.config.graph.triplets == 2 and policy.config.graph.encoder.width == 32
    words = [InstructionTokenizer.load(folder) for folder in (start, policy_directory(run) / GROUNDER_FOLDER)]
    assert words[0].encode(["left of the cup"], 20).ids.tolist() == words[1].encode(["left of the cup"], 20).ids.tolist()
    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert {"grounding_accuracy", "absence_accuracy"} <= measured.keys(), measured

    assert main(["rollout", f"checkpoint={run}", f"tasks=[{TASK}]", "episodes=1", "graph=shuffled", f"out={out}"]) == 0
    assert json.loads((out / "rollout.json").read_text())["pooled"]["episodes"] == 1
    assert (out / "report.html").exists()
