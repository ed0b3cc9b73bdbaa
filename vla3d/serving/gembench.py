"""GemBench's challenge protocol: an observation in msgpack comes in, the next keyframe goes out.

A request is the map ``{taskvar, episode_id, step_id, instruction, obs_state_dict}`` in msgpack-numpy's encoding.
``obs_state_dict`` holds ``rgb`` and ``pc`` (four cameras, one world point for each pixel) and ``gripper`` (xyz, quaternion
``xyzw``, open); what else it holds is not used. The answer is an array of 8 numbers of the same meaning as ``gripper``, or
None, which ends the episode.

The clouds come without cameras; they are recovered from them (``vla3d.geometry.resection``), so a policy sees the same points
as in training. Written from the published protocol and tested with a client made for the test; GemBench itself was not run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from vla3d.data.formats.gembench import CAMERAS
from vla3d.data.formats.gembench_records import RecordError, as_array, read_record
from vla3d.data.formats.keysteps import FULL_GRIPPER_WIDTH
from vla3d.errors import RequestError
from vla3d.geometry import wxyz_to_xyzw, xyzw_to_wxyz
from vla3d.geometry.resection import Resection, ResectionError, resect_clouds
from vla3d.optional import require
from vla3d.types import KeyframeAction, Observation, RgbdFrame

_ENTRIES = ("taskvar", "episode_id", "step_id", "instruction", "obs_state_dict")
_TASKVAR = re.compile(r"[\w-]+\+\d+")
_UNIT_TOLERANCE = 1e-3

# RLBench's cameras, by the facts of its scene: focal length as a share of the image's side, the same for all but the wrist's.
_FOCAL_SHARE = 175.84 / 128
_WRIST_FOCAL_SHARE = 110.85 / 128


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictRequest:
    """One decision that is asked for.

    Attributes:
        taskvar: ``<task>+<variation>``.
        episode_id: number of the episode.
        step_id: decisions made so far in it.
        instruction: the sentence to follow.
        rgb: colours of the cameras in the order of ``CAMERAS``.
        clouds: world point of every pixel, metres.
        gripper: position, quaternion ``xyzw``, open.
    """

    taskvar: str
    episode_id: int
    step_id: int
    instruction: str
    rgb: UInt8[np.ndarray, "4 H W 3"]
    clouds: Float[np.ndarray, "4 H W 3"]
    gripper: Float[np.ndarray, "8"]


def read_request(body: bytes) -> PredictRequest:
    """Decode a request; nothing in it is ever run.

    Raises:
        RequestError: it is not msgpack, or an entry is missing or something else.
    """
    try:
        record = read_record(body, _ENTRIES)
        missing = [name for name in _ENTRIES if name not in record]
        if missing:
            raise RecordError(f"it has no {missing[0]}; expected {', '.join(_ENTRIES)}")
        state = record["obs_state_dict"]
        if not isinstance(state, Mapping):
            raise RecordError(f"obs_state_dict is a {type(state).__name__}, expected a map with rgb, pc and gripper")
        rgb, clouds, gripper = (_array(state, name) for name in ("rgb", "pc", "gripper"))
    except RecordError as error:
        raise RequestError(f"The request cannot be used: {error}.") from error
    _check_images(rgb, clouds)
    return PredictRequest(
        taskvar=_taskvar(record["taskvar"]),
        episode_id=_count(record, "episode_id"),
        step_id=_count(record, "step_id"),
        instruction=_instruction(record["instruction"]),
        rgb=rgb,
        clouds=clouds,
        gripper=_gripper(gripper),
    )


def _array(state: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in state:
        raise RecordError(f"obs_state_dict has no {name}; it has {', '.join(sorted(state)) or 'nothing'}")
    return as_array(state[name], f"obs_state_dict.{name}")


def _check_images(rgb: np.ndarray, clouds: np.ndarray) -> None:
    right = rgb.ndim == 4 and rgb.shape[0] == len(CAMERAS) and rgb.shape[3] == 3 and 0 not in rgb.shape
    if not right or rgb.dtype != np.uint8 or clouds.shape != rgb.shape or clouds.dtype.kind != "f":
        raise RequestError(
            f"Got rgb {rgb.dtype} {rgb.shape} and pc {clouds.dtype} {clouds.shape}, expected uint8 and floats of shape "
            f"({len(CAMERAS)}, H, W, 3), the cameras in the order {', '.join(CAMERAS)}."
        )


def _taskvar(value: object) -> str:
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not _TASKVAR.fullmatch(text):
        raise RequestError(f"Got the taskvar {_short(text)}, expected a task and a variation such as push_button+3.")
    return text


def _count(record: Mapping[str, Any], name: str) -> int:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**31:
        raise RequestError(f"Got {name} {_short(value)}, expected a whole number from 0.")
    return int(value)


def _instruction(value: object) -> str:
    text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"Got the instruction {_short(text)}, expected a sentence.")
    return text


def _gripper(gripper: np.ndarray) -> np.ndarray:
    if gripper.shape != (8,) or not np.isfinite(gripper).all():
        raise RequestError(f"Got a gripper of shape {gripper.shape}, expected 8 finite numbers: xyz, quaternion xyzw, open.")
    length = float(np.linalg.norm(gripper[3:7]))
    if abs(length - 1) > _UNIT_TOLERANCE:
        raise RequestError(f"Got a gripper quaternion of length {length:.3g}, expected 1.")
    return gripper.astype(np.float64)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Cameras:
    """Recovers the cameras behind a client's clouds and remembers their intrinsics.

    A cloud that is flat, as the wrist's often is, does not tell the focal length; then what the same camera was seen to have
    before is taken, or what RLBench's cameras have.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}

    def frames(self, request: PredictRequest) -> dict[str, RgbdFrame]:
        """The request's images with depth and calibration, camera by name.

        Raises:
            RequestError: a cloud is no picture of a pinhole camera.
        """
        frames = {}
        for name, rgb, cloud in zip(CAMERAS, request.rgb, request.clouds, strict=True):
            seen = self._resected(name, cloud)
            frames[name] = RgbdFrame(rgb=rgb, depth=seen.depth, intrinsics=seen.intrinsics, T_world_camera=seen.T_world_camera)
        return frames

    def _resected(self, name: str, cloud: np.ndarray) -> Resection:
        place = (name, cloud.shape)
        try:
            (seen,) = resect_clouds([cloud])
        except ResectionError:
            known = self._known.get(place)
            try:
                (seen,) = resect_clouds([cloud], _rlbench_intrinsics(name, cloud.shape) if known is None else known)
            except ResectionError as error:
                raise RequestError(
                    f"The points of camera {name!r} are no picture of a pinhole camera ({error}); expected the world point of "
                    "each pixel in pc."
                ) from error
        else:
            self._known[place] = seen.intrinsics
        return seen


def _rlbench_intrinsics(name: str, shape: tuple[int, ...]) -> np.ndarray:
    height, width = shape[:2]
    focal = width * (_WRIST_FOCAL_SHARE if name == "wrist" else _FOCAL_SHARE)
    # RLBench's principal point is W / 2 where pixel centres are whole numbers.
    return np.array([[focal, 0, width / 2 + 0.5], [0, focal, height / 2 + 0.5], [0, 0, 1]])


def observation(request: PredictRequest, frames: Mapping[str, RgbdFrame], step_limit: int) -> Observation:
    """The request as policies see it; joints are not told and are NaN, the fingers' distance follows from the state."""
    is_open = bool(request.gripper[7] > 0.5)
    return Observation(
        frames=frames,
        instruction=request.instruction,
        gripper_position=request.gripper[:3],
        gripper_quaternion=xyzw_to_wxyz(torch.from_numpy(request.gripper[3:7])).numpy(),
        gripper_width=FULL_GRIPPER_WIDTH if is_open else 0.0,
        gripper_open=is_open,
        joint_positions=np.full(7, np.nan),
        step=request.step_id,
        step_limit=step_limit,
    )


def pack_action(action: KeyframeAction) -> bytes:
    """The answer's body: xyz, quaternion ``xyzw``, open; None for a terminal answer, which ends the client's episode."""
    msgpack = require("msgpack")
    if action.answer != "move":
        return bytes(msgpack.packb(None))
    quaternion = wxyz_to_xyzw(torch.from_numpy(np.asarray(action.quaternion, dtype=np.float64))).numpy()
    values = np.concatenate([action.position, quaternion / np.linalg.norm(quaternion), [float(action.gripper_open)]])
    encoded = {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": values.shape, b"data": values.astype("<f8").tobytes()}
    return bytes(msgpack.packb(encoded))
