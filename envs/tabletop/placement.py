"""Drawing poses on the table that leave room between things."""

from dataclasses import dataclass

import numpy as np

_MAX_LAYOUTS = 200
_MAX_TRIES = 100


@dataclass(frozen=True)
class TablePose:
    """Where something stands: metres in the world, yaw in radians about the vertical.

    Attributes:
        x: metres.
        y: metres.
        yaw: radians.
        z: height of what it stands on, or hangs at, above the table, metres.
    """

    x: float
    y: float
    yaw: float
    z: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SpawnRange:
    """Uniform range of poses.

    Attributes:
        x: lowest and highest x, metres.
        y: lowest and highest y, metres.
        yaw: largest turn to either side, radians.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    yaw: float

    def draw(self, rng: np.random.Generator) -> TablePose:
        """One pose."""
        return TablePose(float(rng.uniform(*self.x)), float(rng.uniform(*self.y)), float(rng.uniform(-self.yaw, self.yaw)))


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """A square that stands on the table.

    Attributes:
        half: half of its edge, metres.
        spawn: where its centre may be.
    """

    half: float
    spawn: SpawnRange


def square_gap(first: TablePose, first_half: float, second: TablePose, second_half: float) -> float:
    """Distance between two turned squares, metres; 0 or less when they overlap.

    For separate squares it is the largest separation along one of their four edge normals: the exact distance when an edge
    faces the other square, and too small by a factor of at most ``sqrt(2)`` when two corners face each other.
    """
    offset = np.array([second.x - first.x, second.y - first.y])
    gaps = []
    for yaw in (first.yaw, first.yaw + np.pi / 2, second.yaw, second.yaw + np.pi / 2):
        normal = np.array([np.cos(yaw), np.sin(yaw)])
        gaps.append(abs(offset @ normal) - _support(normal, first, first_half) - _support(normal, second, second_half))
    return float(max(gaps))


def draw_layout(rng: np.random.Generator, footprints: list[Footprint], clearance: float) -> list[TablePose]:
    """Draw a pose for each footprint so that every two are at least ``clearance`` apart.

    The whole layout is drawn again when one thing finds no place, so early ones do not crowd out late ones.

    Raises:
        RuntimeError: when the ranges cannot hold the things; the task's own numbers are wrong then.
    """
    for _ in range(_MAX_LAYOUTS):
        poses: list[TablePose] = []
        for footprint in footprints:
            pose = _draw_free(rng, footprint, poses, footprints, clearance)
            if pose is None:
                break
            poses.append(pose)
        if len(poses) == len(footprints):
            return poses
    raise RuntimeError(
        f"no layout for {len(footprints)} things with {clearance} m between them: the spawn ranges are too small"
    )


def _draw_free(
    rng: np.random.Generator, footprint: Footprint, poses: list[TablePose], footprints: list[Footprint], clearance: float
) -> TablePose | None:
    for _ in range(_MAX_TRIES):
        pose = footprint.spawn.draw(rng)
        others = zip(poses, footprints, strict=False)
        if all(square_gap(pose, footprint.half, other, placed.half) >= clearance for other, placed in others):
            return pose
    return None


def _support(normal: np.ndarray, pose: TablePose, half: float) -> float:
    """Half the width of a square along ``normal``."""
    cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
    return float(half * (abs(normal @ [cos, sin]) + abs(normal @ [-sin, cos])))
