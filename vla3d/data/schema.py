"""What an episode looks like at rest: the schema's version, the table of per-step numbers, and lossless depth.

An episode is one zarr v3 group ``<dataset>/<task>/<attempt>`` of these arrays (``T`` steps, ``C`` cameras):

========================== ================== ==========================================================================
``rgb_<H>x<W>``            uint8              ``(T, C, H, W, 3)``; the attribute ``cameras`` names the C axis
``depth_<H>x<W>``          uint16 or float32  ``(T, C, H, W)``; 0.1 mm when every value is exactly one, else metres
``segmentation_<H>x<W>``   int16              ``(T, C, H, W)``; only the cameras that have it
``intrinsics``             float64            ``(T, C, 3, 3)``
``T_world_camera``         float64            ``(T, C, 4, 4)``
``steps``                  float64            ``(T, 38)``; the attribute ``columns`` names them, see ``COLUMNS``
========================== ================== ==========================================================================

The group's attributes hold what belongs to the episode as a whole, and the size and SHA-256 of each of its files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from vla3d.errors import DataError, SchemaVersionError
from vla3d.types import ANSWERS, Alternative, KeyframeAction, Observation, RgbdFrame, Step

SCHEMA_VERSION = 1
"""Raised whenever a dataset written before could be misread after."""

DEPTH_UNIT = np.float32(10_000)
"""Stored depth units per metre."""

_WIDTHS = {
    "time": 1,
    "arm_moving": 1,
    "joint_velocities": 7,
    "joint_positions": 7,
    "gripper_position": 3,
    "gripper_quaternion_wxyz": 4,
    "gripper_width": 1,
    "gripper_open": 1,
    "step": 1,
    "step_limit": 1,
    "instruction": 1,
    "action": 1,
    "action_position": 3,
    "action_quaternion_wxyz": 4,
    "action_gripper_open": 1,
    "action_ignore_collisions": 1,
}


def _spans() -> dict[str, tuple[int, int]]:
    ends = np.cumsum(list(_WIDTHS.values())).tolist()
    return {name: (end - width, end) for (name, width), end in zip(_WIDTHS.items(), ends, strict=True)}


COLUMNS: dict[str, tuple[int, int]] = _spans()
"""Column name to half-open column range of the ``steps`` table.

``instruction`` is an index into the group's ``instructions``; ``action`` is 0 where no action ended, else 1 plus the index of
its answer in ``vla3d.types.ANSWERS``, and the columns after it are NaN where it is 0.
"""
TABLE_WIDTH = sum(_WIDTHS.values())


def check_schema_version(found: object, where: str) -> None:
    """Refuse a dataset of another schema.

    Raises:
        SchemaVersionError: with what to do about it.
    """
    if found == SCHEMA_VERSION:
        return
    newer = isinstance(found, int) and found > SCHEMA_VERSION
    remedy = "update vla3d" if newer else "collect it again, or read it with the vla3d release that wrote it"
    raise SchemaVersionError(f"{where}: got schema version {found!r}, this vla3d reads version {SCHEMA_VERSION}; {remedy}.")


def depth_to_units(depth: Float32[np.ndarray, "*shape"]) -> np.ndarray | None:
    """Depth as uint16 counts of 0.1 mm, or None when that would change a single bit of it.

    Exactly representable are the values ``float32(n) / float32(10000)`` for n in 0..65535, the ones ``units_to_depth`` yields.
    """
    units = np.empty(depth.shape, dtype=np.uint16)
    # One leading slice at a time: depth that is not on the grid is nearly always told by its first image. Values that no
    # integer stands for (negative, NaN, too far) come back as something else, whatever the cast makes of them.
    with np.errstate(invalid="ignore"):
        for source, target in zip(depth, units, strict=True):
            target[...] = np.rint(source * DEPTH_UNIT)
            if not np.array_equal(units_to_depth(target).view(np.uint32), np.ascontiguousarray(source).view(np.uint32)):
                return None
    return units


def units_to_depth(units: np.ndarray) -> Float32[np.ndarray, "*shape"]:
    """Metres from counts of 0.1 mm, each the float32 nearest to it."""
    return units.astype(np.float32) / DEPTH_UNIT


def table_from_steps(steps: Sequence[Step]) -> tuple[Float64[np.ndarray, "T 38"], list[str]]:
    """The ``steps`` table, and the distinct sentences that its ``instruction`` column counts."""
    sentences = list(dict.fromkeys(step.observation.instruction for step in steps))
    return np.array([_row(step, sentences) for step in steps], dtype=np.float64), sentences


def _row(step: Step, sentences: list[str]) -> np.ndarray:
    seen, action = step.observation, step.action
    row = np.full(TABLE_WIDTH, np.nan)
    values: dict[str, object] = {
        "time": step.time,
        "arm_moving": step.arm_moving,
        "joint_velocities": step.joint_velocities,
        "joint_positions": seen.joint_positions,
        "gripper_position": seen.gripper_position,
        "gripper_quaternion_wxyz": seen.gripper_quaternion,
        "gripper_width": seen.gripper_width,
        "gripper_open": seen.gripper_open,
        "step": seen.step,
        "step_limit": seen.step_limit,
        "instruction": sentences.index(seen.instruction),
        "action": 0,
    }
    if action is not None:
        values |= {
            "action": 1 + ANSWERS.index(action.answer),
            "action_position": action.position,
            "action_quaternion_wxyz": action.quaternion,
            "action_gripper_open": action.gripper_open,
            "action_ignore_collisions": action.ignore_collisions,
        }
    for name, value in values.items():
        start, end = COLUMNS[name]
        number = np.asarray(value, dtype=np.float64).reshape(-1)
        if number.size != end - start:
            raise DataError(f"step at {step.time} s: got {number.size} numbers for {name}, expected {end - start}.")
        row[start:end] = number
    return row


def step_from_row(
    row: Float64[np.ndarray, "38"],
    frames: dict[str, RgbdFrame],
    sentences: Sequence[str],
    instance_names: Mapping[int, str],
) -> Step:
    """One step from its row of the table, its images, and the meaning of the ids in their segmentations."""

    def vector(name: str) -> np.ndarray:
        start, end = COLUMNS[name]
        return row[start:end].copy()

    def number(name: str) -> float:
        return float(row[COLUMNS[name][0]])

    action = None
    if number("action"):
        action = KeyframeAction(
            position=vector("action_position"),
            quaternion=vector("action_quaternion_wxyz"),
            gripper_open=bool(number("action_gripper_open")),
            ignore_collisions=bool(number("action_ignore_collisions")),
            answer=ANSWERS[int(number("action")) - 1],  # type: ignore[arg-type]
        )
    observation = Observation(
        frames=frames,
        instruction=sentences[int(number("instruction"))],
        gripper_position=vector("gripper_position"),
        gripper_quaternion=vector("gripper_quaternion_wxyz"),
        gripper_width=number("gripper_width"),
        gripper_open=bool(number("gripper_open")),
        joint_positions=vector("joint_positions"),
        step=int(number("step")),
        step_limit=int(number("step_limit")),
        instance_names=instance_names,
    )
    return Step(
        observation=observation,
        time=number("time"),
        arm_moving=bool(number("arm_moving")),
        joint_velocities=vector("joint_velocities"),
        action=action,
    )


def alternative_to_json(alternative: Alternative) -> dict[str, Any]:
    """An alternative as JSON values; floats keep every bit."""
    action = alternative.action
    return {
        "keyframe": alternative.keyframe,
        "sentences": list(alternative.sentences),
        "position": action.position.tolist(),
        "quaternion_wxyz": action.quaternion.tolist(),
        "gripper_open": bool(action.gripper_open),
        "ignore_collisions": bool(action.ignore_collisions),
        "answer": action.answer,
    }


def alternative_from_json(values: Mapping[str, Any]) -> Alternative:
    """The inverse of ``alternative_to_json``."""
    action = KeyframeAction(
        position=np.array(values["position"]),
        quaternion=np.array(values["quaternion_wxyz"]),
        gripper_open=values["gripper_open"],
        ignore_collisions=values["ignore_collisions"],
        answer=values.get("answer", "move"),
    )
    # Files of vla3d 0.1.0 have neither: all their alternatives are motions to the first keyframe.
    return Alternative(sentences=tuple(values["sentences"]), action=action, keyframe=values.get("keyframe", 0))
