"""The values that cross room borders: frozen, shape-annotated, NumPy only (importing this never imports torch).

Conventions: metres, radians, seconds. Camera frames are OpenCV (x right, y down, z forward).
``T_world_camera`` maps camera coordinates to world coordinates. Quaternions are ``wxyz``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self, get_args

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8

Answer = Literal["move", "absent", "cannot", "done"]
ANSWERS: tuple[str, ...] = get_args(Answer)


@dataclass(frozen=True, kw_only=True, eq=False)
class RgbdFrame:
    """One calibrated RGB-D image.

    Attributes:
        rgb: colours, uint8, ``(H, W, 3)``.
        depth: planar z in metres, float32, ``(H, W)``; 0 or a non-finite value means no measurement.
        intrinsics: pinhole matrix, pixel centres at half-integers (pixel ``(0, 0)`` covers ``[0, 1) x [0, 1)``).
        T_world_camera: camera-to-world transform.
        segmentation: instance ids, int16, ``(H, W)``, 0 for the background; simulators only.
    """

    rgb: UInt8[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]
    intrinsics: Float[np.ndarray, "3 3"]
    T_world_camera: Float[np.ndarray, "4 4"]
    segmentation: Int16[np.ndarray, "H W"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """What a policy sees at one decision.

    Attributes:
        frames: camera name to image, in a fixed order.
        instruction: the sentence to follow.
        gripper_position: tool centre point in the world, metres.
        gripper_quaternion: tool orientation in the world, ``wxyz``.
        gripper_width: distance between the fingers, metres (0 closed, 0.08 fully open).
        gripper_open: the last commanded state.
        joint_positions: arm joints, radians.
        step: decisions made so far in this episode.
        step_limit: decisions allowed.
        instance_names: meaning of the ids in the frames' segmentations, where it is known.
    """

    frames: Mapping[str, RgbdFrame]
    instruction: str
    gripper_position: Float[np.ndarray, "3"]
    gripper_quaternion: Float[np.ndarray, "4"]
    gripper_width: float
    gripper_open: bool
    joint_positions: Float[np.ndarray, "7"]
    step: int = 0
    step_limit: int = 1
    instance_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def step_fraction(self) -> float:
        """Share of the allowed decisions already used, in [0, 1]."""
        return min(1.0, self.step / self.step_limit)

    def with_instruction(self, instruction: str) -> Self:
        """The same observation under another sentence."""
        return replace(self, instruction=instruction)


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeAction:
    """The next pose to reach, or a terminal answer.

    Attributes:
        position: target of the tool centre point in the world, metres.
        quaternion: target orientation, ``wxyz``, unit length. The tool's z axis points out of the fingers, its y axis is
            the axis along which the fingers open.
        gripper_open: state of the gripper once the pose is reached.
        ignore_collisions: ``True`` moves the hand straight in Cartesian space; ``False`` plans a collision-free path.
        answer: ``"move"``, or a terminal answer: the target is ``"absent"``, the policy ``"cannot"`` do it, it is ``"done"``.
    """

    position: Float[np.ndarray, "3"]
    quaternion: Float[np.ndarray, "4"]
    gripper_open: bool
    ignore_collisions: bool = False
    answer: Answer = "move"


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One recorded instant of an episode: what was seen, and whether it is an executed keyframe.

    Attributes:
        observation: the instant's observation.
        time: simulated seconds since the episode began.
        arm_moving: whether any arm joint moved faster than 0.1 rad/s.
        action: the action whose execution ended exactly here; None between keyframes and on the first step.
    """

    observation: Observation
    time: float
    arm_moving: bool
    joint_velocities: Float[np.ndarray, "7"]
    action: KeyframeAction | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Alternative:
    """What a demonstrator would have done at one point of a demo had another sentence been said from the beginning.

    Attributes:
        sentences: ways to ask for it.
        action: the keyframe that would have been next, or the terminal answer.
        keyframe: ordinal of the demo's keyframe in whose place it would have been.
    """

    sentences: tuple[str, ...]
    action: KeyframeAction
    keyframe: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """A recorded attempt at a task.

    Attributes:
        task: name of the task.
        variation: which of the task's goals.
        instruction: the sentence that was said.
        paraphrases: sentences that ask for the same.
        seed: of the scene.
        success: whether the goal was reached.
        steps: what was recorded, in order of time.
        alternatives: keyframes towards the scene's other goals; empty where nobody could be asked.
        metadata: further facts, JSON-able.
    """

    task: str
    variation: int
    instruction: str
    paraphrases: tuple[str, ...]
    seed: int
    success: bool
    steps: Sequence[Step]
    alternatives: tuple[Alternative, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keyframe_indices(self) -> tuple[int, ...]:
        """Indices of the steps at which a keyframe action had just been executed."""
        return tuple(i for i, step in enumerate(self.steps) if step.action is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Workspace:
    """Axis-aligned box in the world in which the robot acts, metres."""

    low: Float[np.ndarray, "3"]
    high: Float[np.ndarray, "3"]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all()):
            raise ValueError(f"workspace: got low={self.low.tolist()} high={self.high.tolist()}, expected finite low < high")

    @classmethod
    def from_bounds(cls, low: Sequence[float], high: Sequence[float]) -> Self:
        """Build from two lists of three numbers."""
        return cls(low=np.asarray(low, dtype=np.float64), high=np.asarray(high, dtype=np.float64))

    @property
    def center(self) -> Float[np.ndarray, "3"]:
        """Middle of the box."""
        return (self.low + self.high) / 2

    @property
    def extent(self) -> Float[np.ndarray, "3"]:
        """Edge lengths."""
        return self.high - self.low

    def contains(self, points: Float[np.ndarray, "*batch 3"]) -> np.ndarray:
        """Which points lie inside, border included."""
        return np.asarray(((points >= self.low) & (points <= self.high)).all(axis=-1))


class Expert(Protocol):
    """A privileged controller of one running episode: it reads the simulator's state, never the images."""

    def next_action(self) -> KeyframeAction:
        """The action to execute from the present state."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class StepResult:
    """What an environment answers to one action.

    Attributes:
        observation: what is seen afterwards.
        success: whether the task's goal holds.
        terminated: whether the episode ended (success, a named failure, or a terminal answer).
        truncated: whether the step limit ended it.
        failure: why the episode failed, or why this motion was not executed; None when all went well.
    """

    observation: Observation
    success: bool
    terminated: bool
    truncated: bool
    failure: str | None
    info: Mapping[str, Any] = field(default_factory=dict)
