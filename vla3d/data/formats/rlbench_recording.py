"""``low_dim_obs.pkl`` of RLBench: what is in it, checked and as plain arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from vla3d.data.formats.inert_values import Global, Record
from vla3d.data.formats.rlbench_cameras import opencv_camera_from_rlbench
from vla3d.geometry import xyzw_to_wxyz

DEMO = Global("rlbench.demo", "Demo")
OBSERVATION = Global("rlbench.backend.observation", "Observation")
RECORDS = frozenset({DEMO, OBSERVATION})

GRIPPER_OPEN = 0.5
"""A recorded gripper state above this is open; recorded are 0 and 1."""

_QUATERNION_TOLERANCE = 1e-3

_LARGEST = 1e6
"""No length, angle, velocity or focal length of a recording is larger."""


class RecordingRefusedError(ValueError):
    """A recording is not what RLBench writes; the message is one clause."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraTrack:
    """One camera over the ``T`` frames of a demonstration, in our convention."""

    intrinsics: Float[np.ndarray, "T 3 3"]
    T_world_camera: Float[np.ndarray, "T 4 4"]
    near: Float[np.ndarray, "T"]
    far: Float[np.ndarray, "T"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """The numbers of a demonstration of ``T`` frames.

    Attributes:
        gripper_positions: of the tip, the point between the fingertips, metres in the world.
        gripper_quaternions: of the tip's frame, ``wxyz``.
        gripper_widths: distance between the fingers, metres.
        ignore_collisions: as recorded; all False where it was not.
        variation: None where it was not recorded.
        random_state: NumPy's state before the scene was made, JSON; None where it was not recorded.
        observations: the rest.
    """

    joint_velocities: Float[np.ndarray, "T 7"]
    joint_positions: Float[np.ndarray, "T 7"]
    gripper_positions: Float[np.ndarray, "T 3"]
    gripper_quaternions: Float[np.ndarray, "T 4"]
    gripper_widths: Float[np.ndarray, "T"]
    gripper_open: Bool[np.ndarray, "T"]
    ignore_collisions: Bool[np.ndarray, "T"]
    variation: int | None
    random_state: Mapping[str, Any] | None
    observations: Sequence[Record]

    def camera(self, name: str) -> CameraTrack:
        """One camera.

        Raises:
            RecordingRefusedError: its calibration was not recorded, or is none.
        """
        misc = [_misc(observation, index) for index, observation in enumerate(self.observations)]

        def track(field: str, shape: tuple[int, ...]) -> np.ndarray:
            key = f"{name}_camera_{field}"
            return np.stack([_numbers(values, key, shape, index) for index, values in enumerate(misc)])

        near, far = track("near", ()), track("far", ())
        if not (near >= 0).all() or not (near < far).all():
            raise RecordingRefusedError(f"the planes of the camera {name!r} are not 0 <= near < far")
        try:
            intrinsics, poses = opencv_camera_from_rlbench(track("intrinsics", (3, 3)), track("extrinsics", (4, 4)))
        except RecordingRefusedError:
            raise
        except ValueError as error:
            raise RecordingRefusedError(f"camera {name!r}: {error}") from error
        return CameraTrack(intrinsics=intrinsics, T_world_camera=poses, near=near, far=far)


def recording_from_demo(demo: object) -> Recording:
    """The numbers of an unpickled demonstration.

    Raises:
        RecordingRefusedError: it is none, or a field is missing or something else.
    """
    observations = demo.fields.get("_observations") if isinstance(demo, Record) and demo.cls == DEMO else None
    if not isinstance(demo, Record) or not isinstance(observations, list):
        raise RecordingRefusedError(f"it holds a {_kind(demo)}, expected RLBench's {DEMO} with a list of observations")
    for index, observation in enumerate(observations):
        if not (isinstance(observation, Record) and observation.cls == OBSERVATION):
            raise RecordingRefusedError(f"frame {index} is a {_kind(observation)}, expected RLBench's {OBSERVATION}")
    if len(observations) < 2:
        raise RecordingRefusedError(f"it has {len(observations)} frames, expected at least 2")

    def track(field: str, shape: tuple[int, ...]) -> np.ndarray:
        values = [_numbers(observation.fields, field, shape, index) for index, observation in enumerate(observations)]
        return np.stack(values)

    poses = track("gripper_pose", (7,))
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    if (abs(lengths - 1) > _QUATERNION_TOLERANCE).any():
        raise RecordingRefusedError(f"gripper_pose holds a quaternion of length {lengths[abs(lengths - 1).argmax()]:.3f}")
    is_flagged = observations[0].fields.get("ignore_collisions") is not None
    variation = demo.fields.get("variation_number")
    return Recording(
        joint_velocities=track("joint_velocities", (7,)),
        joint_positions=track("joint_positions", (7,)),
        gripper_positions=poses[:, :3].copy(),
        gripper_quaternions=xyzw_to_wxyz(torch.from_numpy(poses[:, 3:].copy())).numpy(),
        gripper_widths=track("gripper_joint_positions", (2,)).sum(axis=1),
        gripper_open=track("gripper_open", ()) > GRIPPER_OPEN,
        ignore_collisions=track("ignore_collisions", ()) > 0.5 if is_flagged else np.zeros(len(observations), dtype=bool),
        variation=variation if type(variation) is int and variation >= 0 else None,
        random_state=_random_state(demo.fields.get("random_seed")),
        observations=observations,
    )


def _misc(observation: Record, index: int) -> Mapping[str, object]:
    misc = observation.fields.get("misc")
    if not isinstance(misc, dict):
        raise RecordingRefusedError(
            f"frame {index} has no misc with the cameras' calibration; another fork of RLBench wrote it"
        )
    return misc


def _numbers(fields: Mapping[str, object], name: str, shape: tuple[int, ...], index: int) -> np.ndarray:
    """A field as float64 numbers of a sensible size."""
    value = fields.get(name)
    if isinstance(value, bool | int | float | np.ndarray | np.generic):
        number = np.asarray(value)
        # A Python integer beyond int64 has the dtype object and is refused with the rest.
        if number.shape == shape and number.dtype.kind in "biuf" and (np.abs(number.astype(np.float64)) <= _LARGEST).all():
            return number.astype(np.float64)
    expected = f"{' x '.join(map(str, shape))} numbers" if shape else "a number"
    raise RecordingRefusedError(
        f"frame {index}: {name} is {_shown(value)}, expected {expected}, finite and up to {_LARGEST:.0e}"
    )


def _random_state(state: object) -> Mapping[str, Any] | None:
    if not (isinstance(state, tuple) and len(state) == 5):
        return None
    algorithm, key, position, has_gauss, gaussian = state
    counts = all(isinstance(value, int) for value in (position, has_gauss))
    words = isinstance(key, np.ndarray) and key.shape == (624,) and key.dtype.kind in "iu"
    if not (isinstance(algorithm, str) and words and counts and isinstance(gaussian, float) and math.isfinite(gaussian)):
        return None
    return {
        "algorithm": algorithm[:20],
        "key_hex": key.astype("<u4").tobytes().hex(),
        "position": position,
        "has_gauss": has_gauss,
        "cached_gaussian": gaussian,
    }


def _kind(value: object) -> str:
    return str(value.cls) if isinstance(value, Record) else type(value).__name__


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {_kind(value)}"
