"""Drawing poses on the table that leave room between things."""

from collections.abc import Callable, Sequence
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

    def holds(self, pose: TablePose) -> bool:
        """Whether a place is in the range, whichever way it is turned."""
        return self.x[0] <= pose.x <= self.x[1] and self.y[0] <= pose.y <= self.y[1]


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
    """Distance between two turned squares, metres; 0 or less when they overlap. See ``rectangle_gap``."""
    return rectangle_gap(first, (first_half, first_half), second, (second_half, second_half))


def rectangle_gap(
    first: TablePose, first_half: tuple[float, float], second: TablePose, second_half: tuple[float, float]
) -> float:
    """Distance between two turned rectangles, metres; 0 or less when they overlap.

    For separate rectangles it is the largest separation along one of their four edge normals: the exact distance when an edge
    faces the other rectangle, and too small by a factor of at most ``sqrt(2)`` when two corners face each other.

    Args:
        first: pose of the one's centre.
        first_half: half of its edges along its own x and y, metres.
        second: pose of the other's centre.
        second_half: likewise.
    """
    offset = np.array([second.x - first.x, second.y - first.y])
    gaps = []
    for yaw in (first.yaw, first.yaw + np.pi / 2, second.yaw, second.yaw + np.pi / 2):
        normal = np.array([np.cos(yaw), np.sin(yaw)])
        gaps.append(abs(offset @ normal) - _support(normal, first, first_half) - _support(normal, second, second_half))
    return float(max(gaps))


def draw_layout(
    rng: np.random.Generator,
    footprints: list[Footprint],
    clearance: float,
    fits: Callable[[TablePose, Sequence[TablePose]], bool] | None = None,
) -> list[TablePose]:
    """Draw a pose for each footprint so that every two are at least ``clearance`` apart.

    The whole layout is drawn again when one thing finds no place, so early ones do not crowd out late ones.

    Args:
        rng: source of the poses.
        footprints: what is placed, in this order.
        clearance: least distance between any two, metres.
        fits: asked whether a pose will do beside those drawn before it.

    Raises:
        RuntimeError: when the ranges cannot hold the things; the task's own numbers are wrong then.
    """
    for _ in range(_MAX_LAYOUTS):
        poses: list[TablePose] = []
        for footprint in footprints:
            pose = _draw_free(rng, footprint, poses, footprints, clearance, fits)
            if pose is None:
                break
            poses.append(pose)
        if len(poses) == len(footprints):
            return poses
    raise RuntimeError(
        f"no layout for {len(footprints)} things with {clearance} m between them: the spawn ranges are too small"
    )


def _draw_free(
    rng: np.random.Generator,
    footprint: Footprint,
    poses: list[TablePose],
    footprints: list[Footprint],
    clearance: float,
    fits: Callable[[TablePose, Sequence[TablePose]], bool] | None,
) -> TablePose | None:
    for _ in range(_MAX_TRIES):
        pose = footprint.spawn.draw(rng)
        others = zip(poses, footprints, strict=False)
        apart = all(square_gap(pose, footprint.half, other, placed.half) >= clearance for other, placed in others)
        if apart and (fits is None or fits(pose, poses)):
            return pose
    return None


def _support(normal: np.ndarray, pose: TablePose, half: tuple[float, float]) -> float:
    """Half the width of a rectangle along ``normal``."""
    cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
    return float(half[0] * abs(normal @ [cos, sin]) + half[1] * abs(normal @ [-sin, cos]))
