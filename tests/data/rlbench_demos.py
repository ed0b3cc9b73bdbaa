"""RLBench demonstrations in their true formats, made without RLBench: a table and a box, seen by analytic ray casting.

All geometry is written in RLBench's own convention (negative focal lengths, whole-numbered pixels, ``p = T K^-1 (u, v, 1) z``),
so that it can contradict the reader.
"""

import io
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

TABLE_Z = 0.75
TABLE, BOX = 10, 4_464  # the box's handle needs two bytes
PEAK = 2**24 - 1
CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")
KEYFRAMES = (3, 6, 11)
"""Of ``motion()`` by PerAct's rule, found by hand: a stop at 3, the gripper closes at 6, the end."""

_EYES = {
    "left_shoulder": (-0.2, 0.6, 1.7),
    "right_shoulder": (-0.2, -0.6, 1.7),
    "overhead": (0.1, 0.0, 2.1),
    "wrist": (0.2, 0.05, 1.3),
    "front": (1.3, 0.0, 1.5),
}
_FAR = {"left_shoulder": 3.2, "right_shoulder": 3.2, "overhead": 3.3, "wrist": 3.5, "front": 4.5}


def stand_in(module: str, name: str) -> type:
    """A class that calls itself by the name of one that is not installed."""
    return type(name, (), {"__module__": module, "__qualname__": name})


Demo = stand_in("rlbench.demo", "Demo")
Observation = stand_in("rlbench.backend.observation", "Observation")


@contextmanager
def importable(*classes: type) -> Iterator[None]:
    """Lets ``pickle`` find classes by names of modules that are not installed."""
    names = {".".join(cls.__module__.split(".")[:end]) for cls in classes for end in range(1, cls.__module__.count(".") + 2)}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: ModuleType(name) for name in names})
    for cls in classes:
        setattr(sys.modules[cls.__module__], cls.__name__, cls)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def dumps(value: object) -> bytes:
    """Protocol 3 with the names that NumPy 1 wrote, as the published demonstrations have them."""
    with importable(Demo, Observation):
        return pickle.dumps(value, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def intrinsics(size: tuple[int, int], camera: str) -> np.ndarray:
    focal = (-110.85 if camera == "wrist" else -175.84) * size[1] / 128
    return np.array([[focal, 0.0, size[1] / 2], [0.0, focal, size[0] / 2], [0.0, 0.0, 1.0]])


def extrinsics(camera: str) -> np.ndarray:
    """Camera to world: z forward to the table's middle, x to the left, y up."""
    eye = np.array(_EYES[camera])
    forward = np.array([0.2, 0.0, TABLE_Z]) - eye
    forward /= np.linalg.norm(forward)
    left = np.cross([0.0, 0.0, 1.0] if abs(forward[2]) < 0.99 else [1.0, 0.0, 0.0], forward)
    left /= np.linalg.norm(left)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([left, np.cross(forward, left), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def box_at(index: int) -> tuple[np.ndarray, np.ndarray]:
    """The box's corners at a frame; it slides along y."""
    low = np.array([0.15, -0.08 + 0.01 * index, TABLE_Z])
    return low, low + np.array([0.1, 0.08, 0.06])


def pixel_rays(size: tuple[int, int], camera: str) -> tuple[np.ndarray, np.ndarray]:
    """Origin, and directions ``(H, W, 3)`` that are 1 long along the camera's z axis."""
    v, u = np.mgrid[: size[0], : size[1]].astype(np.float64)
    pose = extrinsics(camera)
    local = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(intrinsics(size, camera)).T
    return pose[:3, 3], local @ pose[:3, :3].T


def render(size: tuple[int, int], camera: str, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours, depth in metres and handles."""
    eye, rays = pixel_rays(size, camera)
    with np.errstate(divide="ignore", invalid="ignore"):
        table = (TABLE_Z - eye[2]) / rays[..., 2]
        low, high = ((corner - eye) / rays for corner in box_at(index))
    enter, leave = np.minimum(low, high).max(axis=-1), np.maximum(low, high).min(axis=-1)
    depth = np.where(table > 0, table, _FAR[camera])
    handles = np.where(table > 0, TABLE, PEAK)
    hit = (enter > 0) & (enter <= leave) & (enter <= depth)
    depth, handles = np.where(hit, enter, depth), np.where(hit, BOX, handles)
    colours = np.where(hit[..., None], np.uint8([200, 30, index]), np.uint8([90, 120, index]))
    return colours.astype(np.uint8), np.minimum(depth, _FAR[camera]), handles


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
    return content.getvalue()


def split_bytes(codes: np.ndarray, shifts: Sequence[int]) -> np.ndarray:
    return np.stack([(codes >> shift) & 255 for shift in shifts], axis=-1).astype(np.uint8)


def motion(frames: int = 12) -> dict[str, np.ndarray]:
    """An arm that stops at frame 3, closes its gripper at 6 and moves on; collisions are ignored in frames 2, 6 and 10."""
    velocities = np.full((frames, 7), 0.3)
    velocities[3:4] = 0.05
    velocities[-1] = 0.0
    is_open = (np.arange(frames) < 6).astype(np.float64)
    ignored = np.isin(np.arange(frames), (2, 6, 10)).astype(np.float64)
    return {"joint_velocities": velocities, "gripper_open": is_open, "ignore_collisions": ignored}


def gripper_pose(index: int) -> np.ndarray:
    """Position and xyzw; the tool points down and turns a little about the vertical."""
    half = 0.05 * index
    return np.array([0.2 + 0.01 * index, 0.01, 1.2 - 0.03 * index, np.cos(half), np.sin(half), 0.0, 0.0])


def observation(index: int, values: Mapping[str, np.ndarray], size: tuple[int, int], *, flagged: bool = True) -> Any:
    """One frame, as PerAct's fork pickles it; ``flagged=False`` as upstream does."""
    seen = Observation()
    fields: dict[str, Any] = {
        f"{camera}_{kind}": None for camera in CAMERAS for kind in ("rgb", "depth", "mask", "point_cloud")
    }
    fields |= {
        "joint_velocities": values["joint_velocities"][index].copy(),
        "joint_positions": np.linspace(-1, 1, 7) + 0.01 * index,
        "joint_forces": np.ones(7),
        "gripper_open": float(values["gripper_open"][index]),
        "gripper_pose": gripper_pose(index),
        "gripper_matrix": np.eye(4),
        "gripper_joint_positions": np.array([0.04, 0.04]) * (0.25 + 0.75 * values["gripper_open"][index]),
        "gripper_touch_forces": np.zeros(6),
        "task_low_dim_state": np.zeros(21),
    }
    if flagged:
        fields["ignore_collisions"] = np.array(values["ignore_collisions"][index])
    fields["misc"] = {
        key: value
        for camera in CAMERAS
        for key, value in {
            f"{camera}_camera_extrinsics": extrinsics(camera),
            f"{camera}_camera_intrinsics": intrinsics(size, camera),
            f"{camera}_camera_near": 0.01,
            f"{camera}_camera_far": np.float64(_FAR[camera]),
        }.items()
    }
    seen.__dict__.update(fields)
    return seen


def demo(
    frames: int = 12,
    size: tuple[int, int] = (12, 16),
    *,
    flagged: bool = True,
    variation: int | None = 4,
    values: Mapping[str, np.ndarray] | None = None,
) -> Any:
    """A whole demonstration; ``variation=None`` leaves the fork's attribute out."""
    made = Demo()
    made.__dict__["_observations"] = [observation(i, values or motion(frames), size, flagged=flagged) for i in range(frames)]
    made.__dict__["random_seed"] = np.random.RandomState(7).get_state()
    if variation is not None:
        made.__dict__["variation_number"] = variation
    return made


def write_images(folder: Path, frames: int, size: tuple[int, int], cameras: Sequence[str]) -> None:
    for camera in cameras:
        for kind in ("rgb", "depth", "mask"):
            (folder / f"{camera}_{kind}").mkdir(parents=True)
        for index in range(frames):
            colours, depth, handles = render(size, camera, index)
            codes = np.rint((depth - 0.01) / (_FAR[camera] - 0.01) * PEAK).astype(np.int64)
            (folder / f"{camera}_rgb" / f"{index}.png").write_bytes(png(colours))
            (folder / f"{camera}_depth" / f"{index}.png").write_bytes(png(split_bytes(codes, (16, 8, 0))))
            (folder / f"{camera}_mask" / f"{index}.png").write_bytes(png(split_bytes(handles, (0, 8, 16))))


def write_episode(
    folder: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (12, 16),
    cameras: Sequence[str] = ("front", "wrist"),
    number: int | None = 4,
    descriptions: object = ("open the top drawer", "pull the upper drawer out"),
    **kwargs: Any,
) -> Path:
    """One episode folder as PerAct's fork writes it; ``None`` leaves a pickle out."""
    folder.mkdir(parents=True)
    (folder / "low_dim_obs.pkl").write_bytes(dumps(demo(frames, size, **kwargs)))
    if number is not None:
        (folder / "variation_number.pkl").write_bytes(dumps(number))
    if descriptions is not None:
        (folder / "variation_descriptions.pkl").write_bytes(
            dumps(list(descriptions) if isinstance(descriptions, tuple) else descriptions)
        )
    write_images(folder, frames, size, cameras)
    return folder


def write_upstream(task: Path, variation: int, episode: int, descriptions: Sequence[str], **kwargs: Any) -> Path:
    """One episode as upstream and COLOSSEUM write it: sentences with the variation, no number, no flag, no attribute."""
    folder = write_episode(
        task / f"variation{variation}" / "episodes" / f"episode{episode}",
        number=None,
        descriptions=None,
        flagged=False,
        variation=None,
        **kwargs,
    )
    (task / f"variation{variation}" / "variation_descriptions.pkl").write_bytes(dumps(list(descriptions)))
    return folder


def write_peract(root: Path, task: str, episodes: int, **kwargs: Any) -> Path:
    """A task of PerAct's layout, and its folder."""
    for number in range(episodes):
        write_episode(root / task / "all_variations" / "episodes" / f"episode{number}", **kwargs)
    return root / task
