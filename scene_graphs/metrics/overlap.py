"""Intersection over union of boxes, axis-aligned and oriented."""

import numpy as np
from jaxtyping import Float

from vla3d.errors import DataError
from vla3d.scene_graphs.boxes import Boxes, OrientedBox
from vla3d.scene_graphs.polygons import common_areas

_THINNEST = 1e-12


def aligned_iou(first: Float[np.ndarray, "*N 6"], second: Float[np.ndarray, "*N 6"]) -> Float[np.ndarray, "*N"]:
    """Intersection over union of axis-aligned boxes: common volume over the volume of both together.

    Args:
        first: rows of middle and edge lengths, metres.
        second: the same, box by box.

    Raises:
        DataError: an edge is negative, or a number is not finite.
    """
    for boxes in (first, second):
        if not np.isfinite(boxes).all() or (boxes[..., 3:] < 0).any():
            raise DataError("aligned_iou: got a box with a negative edge or a number that is none, expected middle and edges.")
    low = np.maximum(first[..., :3] - first[..., 3:] / 2, second[..., :3] - second[..., 3:] / 2)
    high = np.minimum(first[..., :3] + first[..., 3:] / 2, second[..., :3] + second[..., 3:] / 2)
    common = (high - low).clip(min=0.0).prod(axis=-1)
    together = first[..., 3:].prod(axis=-1) + second[..., 3:].prod(axis=-1) - common
    return np.asarray(common / np.maximum(together, _THINNEST))


def oriented_iou(first: OrientedBox, second: OrientedBox) -> float:
    """Intersection over union of two oriented boxes, exact up to rounding.

    Upright boxes are prisms: their footprints are clipped. For tilted ones the common part is the convex hull of the corners at
    which the twelve half-spaces meet.
    """
    pair = Boxes.stack([first, second])
    if pair.upright.all():
        height = min(pair.high[:, 2]) - max(pair.low[:, 2])
        area = float(common_areas(pair.footprints[:1], pair.footprints[1:])[0])
        common = area * max(float(height), 0.0)
    else:
        common = _common_volume(first, second)
    return common / max(float(pair.volumes.sum()) - common, _THINNEST)


def aligned(box: OrientedBox) -> Float[np.ndarray, "6"]:
    """Middle and edge lengths of the axis-aligned box around an oriented one."""
    pair = Boxes.stack([box])
    return np.concatenate([pair.centers[0], 2 * pair.half_extents[0]])


def _common_volume(first: OrientedBox, second: OrientedBox) -> float:
    from scipy.optimize import linprog
    from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

    rows = np.concatenate([_half_spaces(first), _half_spaces(second)])
    # The middle of the largest ball that fits: minus its radius is least, (x, y, z, radius) are the unknowns.
    bounds = [(None, None)] * 3 + [(0, None)]
    found = linprog([0, 0, 0, -1], A_ub=np.c_[rows[:, :3], np.ones(len(rows))], b_ub=-rows[:, 3], bounds=bounds)
    if not found.success or found.x[3] < 1e-9:
        return 0.0
    try:
        return float(ConvexHull(HalfspaceIntersection(rows, found.x[:3]).intersections).volume)
    except QhullError:  # thinner than rounding
        return 0.0


def _half_spaces(box: OrientedBox) -> Float[np.ndarray, "6 4"]:
    """Rows ``normal, offset``: inside, normal times point plus offset is not positive."""
    normals = np.concatenate([box.rotation.T, -box.rotation.T])
    offsets = -(normals @ box.center) - np.tile(box.size / 2, 2)
    return np.concatenate([normals, offsets[:, None]], axis=1)
