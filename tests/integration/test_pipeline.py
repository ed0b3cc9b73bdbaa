"""The main job end to end, as small as it gets: collect, train, resume, roll out."""

import json
from pathlib import Path

import numpy as np
import torch

from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.data.reader import DemoDataset
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.rollout import evaluate
from vla3d.policies.bridgevla import BridgeVLAConfig
from vla3d.policies.learned import load_policy
from vla3d.seeding import split_of
from vla3d.training.checkpoint import policy_directory
from vla3d.training.config import TrainerConfig
from vla3d.training.run import TrainRunConfig, train_policy

TASK = "pick_and_lift"


def run_config(demos: Path, out: Path, steps: int, resume: bool = False) -> TrainRunConfig:
    policy = BridgeVLAConfig(
        workspace_low=(0.2, -0.36, 0.004),
        workspace_high=(0.92, 0.36, 0.69),
        backbone=PaliGemmaBackboneConfig(size="nano", resolution=32, vision_width=32, text_width=32, text_layers=1),
        head_width=16,
        action_width=32,
    )
    trainer = TrainerConfig(steps=steps, batch_size=4, validate_every=2, save_every=2, warmup_steps=1, progress=False)
    return TrainRunConfig(
        data=demos, out=out, policy="bridgevla", policy_config=policy.to_dict(), trainer=trainer, resume=resume
    )


def test_demos_offer_what_training_needs(demos: Path) -> None:
    dataset = DemoDataset(demos)
    for ref in dataset.episodes():
        episode = dataset.read(ref)
        assert episode.success
        assert split_of(episode.seed) == "train"
        assert [other.action.answer for other in episode.alternatives] == ["move", "move", "absent"]
        hover = episode.steps[episode.keyframe_indices[0]]
        assert hover.action is not None
        np.testing.assert_allclose(hover.observation.gripper_position, hover.action.position, atol=2e-3)


def test_collect_train_resume_roll_out(demos: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run = tmp_path / "run"
    first = train_policy(run_config(demos, run, steps=2))
    assert first.step == 2
    result = train_policy(run_config(demos, run, steps=4, resume=True))
    assert result.step == 4
    assert {"position_error_mm", "rotation_error_deg", "heatmap_hit_rate", "gripper_accuracy"} <= result.metrics.keys()
    assert load_policy(policy_directory(run)).config.cameras == ("front", "left_shoulder", "right_shoulder", "wrist")

    evaluation = evaluate(
        RolloutConfig(
            tasks=[TASK],
            out=tmp_path / "rollout",
            checkpoint=policy_directory(run),
            episodes=2,
            num_workers=1,
            videos=1,
            image_size=48,
            renderer="raycast",
        )
    )
    summary = json.loads((tmp_path / "rollout" / "rollout.json").read_text())
    assert summary["tasks"][TASK]["episodes"] == 2
    assert sum(summary["tasks"][TASK]["failures"].values()) == 2 - summary["tasks"][TASK]["successes"]
    assert evaluation.report is not None
    assert "<video" in evaluation.report.read_text()
    assert list((tmp_path / "rollout").rglob("*.mp4"))
