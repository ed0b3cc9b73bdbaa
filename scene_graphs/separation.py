"""How far pairs of oriented boxes are apart."""

import numpy as np
from jaxtyping import Float, Int

from vla3d.scene_graphs.boxes import Boxes
from vla3d.scene_graphs.polygons import distances

_PARALLEL = 1e-9


def box_gaps(boxes: Boxes, pairs: Int[np.ndarray, "P 2"], reach: float) -> Float[np.ndarray, "P"]:
    """Distance of pairs of boxes, 0 where they touch or overlap, metres.

    Exact for two upright boxes: those are prisms over their footprints. Where one is tilted the result is the larger of two
    lower bounds: the distance of the prisms around them, and the widest gap along one of the fifteen separating axes
    (S. Gottschalk, M. C. Lin, D. Manocha, "OBBTree", 1996). It is 0 exactly where the boxes overlap or touch.

    Args:
        boxes: all of them.
        pairs: rows of two positions.
        reach: distances above it need not be known: there the result may be any lower bound that is above it, too.
    """
    one, two = pairs.T
    above = np.maximum(boxes.low[one, 2] - boxes.high[two, 2], boxes.low[two, 2] - boxes.high[one, 2]).clip(min=0.0)
    gaps = np.hypot(flat_lower_bounds(boxes, one, two), above)
    close = np.flatnonzero(gaps <= reach)
    one, two, above = one[close], two[close], above[close]
    exact = np.hypot(distances(boxes.footprints[one], boxes.footprints[two]), above)
    tilted = np.flatnonzero(~(boxes.upright[one] & boxes.upright[two]))
    if len(tilted):
        exact[tilted] = np.maximum(exact[tilted], _axis_gaps(boxes, one[tilted], two[tilted]))
    gaps[close] = exact
    return gaps


def flat_lower_bounds(boxes: Boxes, one: Int[np.ndarray, "P"], two: Int[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Distance of the axis-aligned rectangles around two footprints."""
    x, y = (_apart(boxes, one, two, axis).clip(min=0.0) for axis in (0, 1))
    return np.sqrt(x * x + y * y)


def _apart(boxes: Boxes, one: Int[np.ndarray, "P"], two: Int[np.ndarray, "P"], axis: int) -> Float[np.ndarray, "P"]:
    """Gap along an axis between the axis-aligned boxes around two boxes, metres; negative where they overlap."""
    middle, half = boxes.centers[:, axis], boxes.half_extents[:, axis]
    return np.abs(middle[one] - middle[two]) - half[one] - half[two]


def _axis_gaps(boxes: Boxes, one: Int[np.ndarray, "P"], two: Int[np.ndarray, "P"]) -> Float[np.ndarray, "P"]:
    """Widest gap between the shadows of two boxes on their face normals and the cross products of their edges."""
    first, second = boxes.rotations[one].swapaxes(1, 2), boxes.rotations[two].swapaxes(1, 2)
    edges = np.cross(first[:, :, None], second[:, None, :]).reshape(-1, 9, 3)
    axes = np.concatenate([first, second, edges], axis=1)
    lengths = np.linalg.norm(axes, axis=2, keepdims=True)
    axes = np.where(lengths > _PARALLEL, axes / np.maximum(lengths, _PARALLEL), 0.0)
    apart = np.abs(np.einsum("paj,pj->pa", axes, boxes.centers[two] - boxes.centers[one]))
    for rows, which in ((first, one), (second, two)):
        apart -= (np.abs(np.einsum("paj,pkj->pak", axes, rows)) * boxes.sizes[which][:, None] / 2).sum(axis=2)
    return np.asarray(apart.max(axis=1).clip(min=0.0))
