"""Demonstrations of a hand over coloured patches, and policies that know or do not know what was demonstrated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.data.reader import DemoDataset
from vla3d.data.writer import DatasetWriter
from vla3d.policies.base import Decision
from vla3d.policies.bridgevla import BridgeVLA, BridgeVLAConfig
from vla3d.policies.learned import LearnedPolicy
from vla3d.types import Alternative, Episode, KeyframeAction, Observation, RgbdFrame, Step

DOWN = np.array([0.0, 1.0, 0.0, 0.0])
COLORS = {"red": (200, 30, 30), "blue": (40, 60, 210)}
KEYFRAMES = (3, 6)
LOW, HIGH = (0.2, -0.3, 0.0), (0.8, 0.3, 0.6)


def sentence(task: str, color: str) -> str:
    return f"{task} the {color} patch"


def target(task: str, number: int, color: str, keyframe: int) -> KeyframeAction:
    """Where demonstration ``number`` goes for a colour: above the patch, then onto it."""
    side = 0.15 if color == "red" else -0.15
    place = np.array([0.4 + 0.02 * number + 0.1 * (task == "open"), side, 0.25 if keyframe == 0 else 0.02])
    return KeyframeAction(position=place, quaternion=DOWN, gripper_open=keyframe == 0, ignore_collisions=keyframe == 1)


def frame(number: int, index: int) -> RgbdFrame:
    """A camera that looks straight down from 0.8 m on a red and a blue half."""
    rgb = np.full((24, 24, 3), COLORS["red"], dtype=np.uint8)
    rgb[:, 12:] = COLORS["blue"]
    rgb[index % 24, number % 24] = 255
    down = np.array([[0, -1, 0, 0.5], [-1, 0, 0, 0], [0, 0, -1, 0.8], [0, 0, 0, 1.0]])
    intrinsics = np.array([[30.0, 0, 12], [0, 30.0, 12], [0, 0, 1]])
    depth = np.full((24, 24), 0.78, dtype=np.float32)
    return RgbdFrame(rgb=rgb, depth=depth, intrinsics=intrinsics, T_world_camera=down)


def episode(task: str, number: int, cameras: Sequence[str] = ("front",), alternatives: bool = True) -> Episode:
    own, other = ("red", "blue") if number % 2 == 0 else ("blue", "red")

    def step(index: int) -> Step:
        seen = Observation(
            frames={name: frame(number, index) for name in cameras},
            instruction=sentence(task, own),
            # Tells the instant apart from all others, so that an oracle can look it up.
            gripper_position=np.array([0.3 + 0.01 * number, 0.001 * index, 0.5 if task == "lift" else 0.45]),
            gripper_quaternion=DOWN,
            gripper_width=0.08,
            gripper_open=True,
            joint_positions=np.zeros(7),
            step=index // 3,
            step_limit=4,
        )
        action = target(task, number, own, KEYFRAMES.index(index)) if index in KEYFRAMES else None
        return Step(observation=seen, time=index / 10, arm_moving=False, joint_velocities=np.zeros(7), action=action)

    said = sentence(task, other)
    rival = Alternative(sentences=(said, f"please {said}"), action=target(task, number, other, 0))
    # Asks for no keyframe, so an offline evaluation leaves it out.
    gone = Alternative(sentences=(sentence(task, "absent"),), action=replace(rival.action, answer="absent"))
    return Episode(
        task=task,
        variation=number % 2,
        instruction=sentence(task, own),
        paraphrases=(sentence(task, own), f"please {sentence(task, own)}"),
        seed=number,
        success=True,
        steps=[step(index) for index in range(7)],
        alternatives=(rival, gone) if alternatives else (),
    )


def write_demos(path: Path, counts: dict[str, int], request: dict[str, Any] | None = None, **kwargs: Any) -> DemoDataset:
    with DatasetWriter(path, request or {"seed": 0}) as writer:
        for task, count in counts.items():
            for number in range(count):
                writer.add(episode(task, number, **kwargs), number)
    return DemoDataset(path)


def random_bridgevla(mask: str = "bidirectional") -> BridgeVLA:
    """The true class with random weights; under ``images_first_causal`` it cannot read."""
    backbone = PaliGemmaBackboneConfig(
        size="nano", resolution=32, vision_width=32, text_width=32, text_layers=1, max_text_tokens=32, mask=mask
    )  # type: ignore[call-arg]
    config = BridgeVLAConfig(
        workspace_low=LOW,
        workspace_high=HIGH,
        cameras=("front",),
        backbone=backbone,
        head_width=16,
        head_layers=1,
        action_width=32,
    )
    said = [sentence(task, color) for task in ("lift", "open") for color in COLORS]
    return BridgeVLA.from_config(config.to_dict(), sentences=[*said, *(f"please {one}" for one in said)], seed=0).eval()


class Oracle(LearnedPolicy):
    """Answers what was demonstrated at an instant for the sentence it reads; blind, it always goes for red.

    Args:
        off: added to every position, metres.
    """

    name: ClassVar[str] = "oracle"
    selection_metric: ClassVar[str] = "none"
    from_config = prepare = collate = loss = metrics = architecture = _save_parts = _load_parts = None  # type: ignore[assignment]

    def __init__(self, off: Sequence[float] = (0.0, 0.0, 0.0), cameras: Sequence[str] = ("front",)) -> None:
        super().__init__()
        self.off, self.cameras = np.asarray(off), tuple(cameras)
        self.batches: list[int] = []

    @property
    def required_cameras(self) -> tuple[str, ...]:
        return self.cameras

    def decide(self, observations: Sequence[Observation]) -> list[Decision]:
        self.batches.append(len(observations))
        return super().decide(observations)

    def act(self, observation: Observation) -> KeyframeAction:
        x, y, z = observation.gripper_position
        task = "lift" if z == 0.5 else "open"
        color = "red" if self.mask_text or "red" in observation.instruction else "blue"
        index = round(y / 0.001)
        action = target(task, round((x - 0.3) / 0.01), color, 0 if index < KEYFRAMES[0] else 1)
        return KeyframeAction(
            position=action.position + self.off,
            quaternion=action.quaternion,
            gripper_open=action.gripper_open,
            ignore_collisions=action.ignore_collisions,
        )
