"""Demonstrations in GemBench's format, made here: LMDB folders of msgpack records in msgpack-numpy's encoding."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import analytic_scene
import lmdb
import msgpack
import numpy as np

from vla3d.types import RgbdFrame

SIZE = 32
SENTENCES = {"push_button+3": ["push the red button", "press the red one"], "close_jar+15": ["close the azure jar"]}
_EYES = ((0.9, -0.9, 1.9), (1.2, 0.1, 1.6), None, (1.0, -0.2, 2.0))


def encode(value: Any) -> Any:
    """msgpack-numpy's encoding, for ``msgpack.packb(default=...)``."""
    if isinstance(value, np.ndarray):
        return {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": value.shape, b"data": value.tobytes()}
    if isinstance(value, np.generic):
        return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    raise TypeError(type(value))


def pack(record: Mapping[str, Any]) -> bytes:
    """A record as the generator packs it."""
    return bytes(msgpack.packb(record, default=encode))


def camera_poses(keystep: int) -> list[np.ndarray]:
    """Where the cameras stand; the third, on the wrist, moves and looks straight down at the bare floor at keystep 0."""
    wrist = analytic_scene.look_at(
        (-0.6 + 0.3 * keystep, 0.4 - 0.1 * keystep, 1.5), (-0.6 + 0.2 * keystep, 0.4 - 0.1 * keystep, 0.75)
    )
    return [wrist if eye is None else analytic_scene.look_at(eye, (0.0, 0.0, 0.8)) for eye in _EYES]


def intrinsics(size: int = SIZE) -> np.ndarray:
    """RLBench's cameras have their principal point at ``W / 2`` where pixel centres are integers."""
    return np.array([[size, 0, size / 2 + 0.5], [0, size, size / 2 + 0.5], [0, 0, 1]])


def frames(keystep: int, size: int = SIZE) -> list[tuple[RgbdFrame, np.ndarray]]:
    """What the four cameras see, with the point of every pixel."""
    return [analytic_scene.render(intrinsics(size), pose, (size, size)) for pose in camera_poses(keystep)]


def record(seed: int = 0, keysteps: int = 3, size: int = SIZE, **changes: Any) -> dict[str, Any]:
    """An episode's record; ``changes`` replaces entries."""
    rng = np.random.default_rng(seed)
    seen = [frames(t, size) for t in range(keysteps)]
    quaternions = rng.normal(size=(keysteps, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    opened = (np.arange(keysteps) % 2 == 0)[:, None]
    return {
        "key_frameids": [0, *np.cumsum(rng.integers(10, 40, keysteps - 1)).tolist()],
        "rgb": np.stack([[frame.rgb for frame, _ in step] for step in seen]),
        "pc": np.stack([[points for _, points in step] for step in seen]).astype(np.float32),
        "action": np.hstack([rng.uniform(-0.3, 1.2, (keysteps, 3)), quaternions, opened]).astype(np.float32),
        "bbox_info": {"Panda_link0_bbox": rng.normal(size=(keysteps, 6))},
        "gripper_pose": [{"front": (np.int64(3), np.int64(4))}] * keysteps,
    } | changes


def write_records(folder: Path, records: Mapping[str, bytes]) -> None:
    """One LMDB folder; keys to packed records."""
    folder.mkdir(parents=True)
    environment = lmdb.open(str(folder), map_size=1 << 30)
    for key, value in records.items():
        with environment.begin(write=True) as transaction:
            transaction.put(key.encode(), value)
    environment.close()


def write_dataset(root: Path, episodes: int = 2, taskvars: Sequence[str] = tuple(SENTENCES), size: int = SIZE) -> Path:
    """A root folder with every taskvar's episodes 0, 2, 4, ... and the sentences."""
    root.mkdir(parents=True)
    (root / "taskvars_instructions_new.json").write_text(json.dumps(SENTENCES))
    for number, taskvar in enumerate(taskvars):
        packed = {f"episode{2 * k}": pack(record(10 * number + k, size=size)) for k in range(episodes)}
        write_records(root / "keysteps_bbox" / "seed0" / taskvar, packed)
    return root
