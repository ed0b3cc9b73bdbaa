"""The upright box around points: heights from gravity, yaw from the rectangle of least area."""

import numpy as np
from jaxtyping import Float
from scipy.spatial import ConvexHull, QhullError

from vla3d.scene_graphs.boxes import OrientedBox

LEAST_EDGE = 0.001
"""A box is at least this thick, metres: what lies flat, or is one point, still has a box."""


def upright_box(points: Float[np.ndarray, "N 3"]) -> OrientedBox:
    """The upright box of least footprint around points.

    The rectangle of least area has a side along an edge of the convex hull (H. Freeman, R. Shapira, 1975). The longer side is
    the box's x axis; yaw lies in [-90, 90) degrees, in [-45, 45) of a square.

    Args:
        points: at least one, world metres.
    """
    assert len(points), "no point, no box"
    low, high = points[:, 2].min(), points[:, 2].max()
    center, size, yaw = least_rectangle(points[:, :2].astype(np.float64))
    size = np.maximum(size, LEAST_EDGE)
    height = max(high - low, LEAST_EDGE)
    return OrientedBox.upright([*center, (low + high) / 2], [*size, height], yaw)


def least_rectangle(
    points: Float[np.ndarray, "N 2"],
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"], float]:
    """Middle, edge lengths (the longer first) and yaw of the rectangle of least area around points of the plane."""
    outline = _hull(points)
    edges = np.roll(outline, -1, axis=0) - outline
    angles = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (np.pi / 2))
    axes = np.stack([np.stack([np.cos(angles), np.sin(angles)], -1), np.stack([-np.sin(angles), np.cos(angles)], -1)], 1)
    along = np.einsum("aij,nj->ain", axes, outline)
    low, high = along.min(axis=2), along.max(axis=2)
    best = int((high - low).prod(axis=1).argmin())
    center = axes[best].T @ (low[best] + high[best]) / 2
    size, yaw = high[best] - low[best], float(angles[best])
    if size[0] < size[1]:
        size, yaw = size[::-1], yaw + np.pi / 2
    if np.isclose(size[0], size[1], rtol=1e-9):
        yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
    return center, size, (yaw + np.pi / 2) % np.pi - np.pi / 2


def _hull(points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "K 2"]:
    """Corners of the convex hull; the two ends where all points lie on a line."""
    if len(points) >= 3:
        try:
            return points[ConvexHull(points).vertices]
        except QhullError:  # on a line, or all at one place
            pass
    away = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(away, full_matrices=False)
    along = away @ axes[0]
    return points[[along.argmin(), along.argmax()]]
