"""GemBench's side of its challenge protocol, written from the published contract: what is sent, how answers are read."""

import http.client
from typing import Any

import msgpack
import numpy as np

CAMERAS = ("left_shoulder", "right_shoulder", "wrist", "front")


def encode(value: Any) -> Any:
    """msgpack-numpy's encoding, for ``msgpack.packb(default=...)``."""
    if isinstance(value, np.ndarray):
        return {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": value.shape, b"data": value.tobytes()}
    if isinstance(value, np.generic):
        return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    raise TypeError(type(value))


def decode(content: bytes) -> Any:
    """The client's reading of an answer."""

    def array(entries: dict[Any, Any]) -> Any:
        if b"nd" not in entries:
            return entries
        return np.ndarray(buffer=entries[b"data"], dtype=np.dtype(entries[b"type"]), shape=entries[b"shape"])

    return msgpack.unpackb(content, object_hook=array)


def cloud(size: int, seed: int, flat: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The world point of every pixel of one of RLBench's cameras above the table, and the camera's pose."""
    rng = np.random.default_rng(seed)
    focal = 175.84 / 128 * size
    columns, rows = np.meshgrid(np.arange(size), np.arange(size))
    rays = np.stack([(columns - size / 2) / focal, (rows - size / 2) / focal, np.ones((size, size))], axis=-1)
    depth = np.full((size, size), 0.7) if flat else rng.uniform(0.5, 1.0, (size, size))
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])  # looks down, x of the image along -y of the world
    pose[:3, 3] = (0.2, 0.0, 1.6)
    return (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3], pose


def state(size: int = 24, **changes: Any) -> dict[str, Any]:
    """``obs_state_dict`` as GemBench's environment fills it."""
    rng = np.random.default_rng(0)
    return {
        "rgb": rng.integers(0, 256, (4, size, size, 3), dtype=np.uint8),
        "depth": [],
        "pc": np.stack([cloud(size, seed)[0] for seed in range(4)]).astype(np.float32),
        "arm_links_info": ({"Panda_link0_bbox": rng.normal(size=6)}, {"Panda_link0_pose": rng.normal(size=7)}),
        "gripper": np.array([0.2, 0.0, 1.2, 0.0, 1.0, 0.0, 0.0, 1.0], dtype=np.float32),
    } | changes


def request(**changes: Any) -> dict[str, Any]:
    """What one decision is asked with."""
    return {
        "taskvar": "push_button+3",
        "episode_id": 2,
        "step_id": 0,
        "instruction": "push the red button",
        "obs_state_dict": state(),
    } | changes


def pack(record: Any) -> bytes:
    """A body as the client packs it."""
    return bytes(msgpack.packb(record, default=encode))


def post(port: int, body: bytes, path: str = "//predict", **headers: str) -> tuple[int, bytes]:
    """Status and body of the answer. The path has two slashes: the client joins ``http://ip:port/`` and ``/predict``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
