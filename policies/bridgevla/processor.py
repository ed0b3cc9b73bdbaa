"""What BridgeVLA keeps of an observation: one cropped cloud, a few numbers about the gripper, the sentences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from vla3d.data.samples import KeyframeSample
from vla3d.errors import ObservationError
from vla3d.pointcloud.clouds import fuse_frames
from vla3d.policies.grounding.scenes import SeenScene, SeenScenes
from vla3d.types import KeyframeAction, Observation, Workspace

FULL_GRIPPER_WIDTH = 0.08


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSample:
    """A training sample reduced to its cloud, cropped to the workspace, and its scene graph where the policy reads one."""

    points: Float32[Tensor, "N 3"]
    colors: UInt8[Tensor, "N 3"]
    proprioception: tuple[float, ...]
    sentences: tuple[str, ...]
    action: KeyframeAction
    scene: SeenScene | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BridgeVLABatch:
    """Prepared samples, padded and stacked. World metres; colours in [0, 1]; quaternions wxyz.

    Where the right response is that what is asked for is absent, position, quaternion and the flags teach nothing.
    """

    points: Float[Tensor, "B N 3"]
    colors: Float[Tensor, "B N 3"]
    lengths: Int[Tensor, " B"]
    proprioception: Float[Tensor, "B P"]
    sentences: tuple[tuple[str, ...], ...]
    position: Float[Tensor, "B 3"]
    quaternion: Float[Tensor, "B 4"]
    gripper_open: Bool[Tensor, " B"]
    ignore_collisions: Bool[Tensor, " B"]
    absent: Bool[Tensor, " B"]
    scenes: SeenScenes | None = None

    def to(self, device: torch.device | str) -> Self:
        """The batch on another device."""
        moved: dict[str, Any] = {
            key: value.to(device, non_blocking=True) for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved, scenes=None if self.scenes is None else self.scenes.to(device))


def observed_cloud(
    observation: Observation, cameras: Sequence[str], workspace: Workspace
) -> tuple[Float32[Tensor, "N 3"], UInt8[Tensor, "N 3"]]:
    """Fused cloud of the named cameras inside the workspace.

    Raises:
        ObservationError: when a camera is missing, the images differ in size, or nothing was measured in the workspace.
    """
    missing = [name for name in cameras if name not in observation.frames]
    if missing:
        raise ObservationError(
            f"The observation has no camera {missing[0]!r}; got {sorted(observation.frames)}, the policy was trained with "
            f"{list(cameras)}. Add the camera, or train a policy on the cameras you have."
        )
    frames = [observation.frames[name] for name in cameras]
    sizes = {name: observation.frames[name].depth.shape for name in cameras}
    if len(set(sizes.values())) > 1:
        raise ObservationError(f"The cameras' images differ in size: got {sizes}, expected one size.")
    cloud = fuse_frames(
        torch.from_numpy(np.stack([frame.rgb for frame in frames]))[None],
        torch.from_numpy(np.stack([frame.depth for frame in frames]))[None],
        torch.from_numpy(np.stack([frame.intrinsics for frame in frames])).float()[None],
        torch.from_numpy(np.stack([frame.T_world_camera for frame in frames])).float()[None],
        torch.from_numpy(workspace.low).float(),
        torch.from_numpy(workspace.high).float(),
    )
    if int(cloud.lengths[0]) == 0:
        raise ObservationError(
            f"No depth was measured inside the workspace {workspace.low.tolist()} .. {workspace.high.tolist()} by the cameras "
            f"{list(cameras)}: check that depth is in metres and not all zero or NaN, and that the calibration is right."
        )
    return cloud.points[0], (cloud.colors[0] * 255).round().to(torch.uint8)


def proprioception(observation: Observation) -> tuple[float, ...]:
    """Finger width as a share of fully open, the commanded state, and the share of decisions used."""
    return observation.gripper_width / FULL_GRIPPER_WIDTH, float(observation.gripper_open), observation.step_fraction


def prepare_sample(sample: KeyframeSample, cameras: Sequence[str], workspace: Workspace) -> PreparedSample:
    """Reduce a sample to its cloud."""
    points, colors = observed_cloud(sample.observation, cameras, workspace)
    return PreparedSample(
        points=points,
        colors=colors,
        proprioception=proprioception(sample.observation),
        sentences=sample.paraphrases,
        action=sample.action,
    )


def unlabelled_sample(
    points: Float32[Tensor, "N 3"], colors: UInt8[Tensor, "N 3"], proprioception: tuple[float, ...]
) -> PreparedSample:
    """What is seen at run time, with a target that means nothing."""
    nowhere = KeyframeAction(position=np.zeros(3), quaternion=np.array([1.0, 0.0, 0.0, 0.0]), gripper_open=True)
    return PreparedSample(points=points, colors=colors, proprioception=proprioception, sentences=(), action=nowhere)


def unit_colors(colors: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Colours in [0, 1]."""
    return colors.float() / 255


def collate_samples(samples: Sequence[PreparedSample], unit_colors: Callable[[Tensor], Tensor] = unit_colors) -> BridgeVLABatch:
    """Pad the clouds to the longest and stack everything.

    Args:
        samples: at least one.
        unit_colors: turns bytes into colours in [0, 1].
    """
    lengths = torch.tensor([len(sample.points) for sample in samples])
    pad = torch.nn.utils.rnn.pad_sequence
    return BridgeVLABatch(
        points=pad([sample.points for sample in samples], batch_first=True),
        colors=unit_colors(pad([sample.colors for sample in samples], batch_first=True)),
        lengths=lengths,
        proprioception=torch.tensor([sample.proprioception for sample in samples]),
        sentences=tuple(sample.sentences for sample in samples),
        position=torch.from_numpy(np.stack([sample.action.position for sample in samples])).float(),
        quaternion=torch.from_numpy(np.stack([sample.action.quaternion for sample in samples])).float(),
        gripper_open=torch.tensor([bool(sample.action.gripper_open) for sample in samples]),
        ignore_collisions=torch.tensor([bool(sample.action.ignore_collisions) for sample in samples]),
        absent=torch.tensor([sample.action.answer == "absent" for sample in samples]),
        scenes=_scenes_of(samples),
    )


def _scenes_of(samples: Sequence[PreparedSample]) -> SeenScenes | None:
    scenes = [sample.scene for sample in samples if sample.scene is not None]
    assert len(scenes) in (0, len(samples)), "a policy reads the graphs of all samples or of none"
    return SeenScenes.stack(scenes) if scenes else None
