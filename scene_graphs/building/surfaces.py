"""The level surface that things stand on, found in what belongs to no instance."""

import numpy as np
from jaxtyping import Float

from vla3d.scene_graphs.shapes.box_fitting import least_rectangle
from vla3d.scene_graphs.shapes.boxes import OrientedBox

TABLE_LABEL = "table"

_BIN = 0.004
_THICKNESS = 0.02
_LEAST_SHARE = 0.05
_LEAST_POINTS = 50


def table_box(points: Float[np.ndarray, "N 3"], undersides: Float[np.ndarray, "K"]) -> OrientedBox | None:
    """The table's top as a flat box, or None where there is no level surface.

    Heights that at least 5 % of the points share are level surfaces. Of those, the table is the one that most things stand
    on: the nearest to the median of their undersides; without things, the one with most points.

    Args:
        points: of the background, world metres.
        undersides: heights of the lowest points of things, metres.
    """
    if len(points) < _LEAST_POINTS:
        return None
    heights = points[:, 2]
    bins = np.floor(heights / _BIN).astype(np.int64)
    levels, counts = np.unique(bins, return_counts=True)
    # A surface on the border of two bins is in both.
    counts = counts + np.where(np.isin(levels + 1, levels), counts[np.minimum(np.arange(len(levels)) + 1, len(levels) - 1)], 0)
    shared = counts >= max(_LEAST_POINTS, _LEAST_SHARE * len(points))
    if not shared.any():
        return None
    candidates, support = (levels[shared] + 1) * _BIN, counts[shared]
    away = np.abs(candidates - np.median(undersides)) if len(undersides) else -support
    best = int(away.argmin())
    near = np.abs(heights - candidates[best]) <= _BIN
    if not near.any():
        return None
    top = float(np.median(heights[near]))
    center, size, yaw = least_rectangle(points[near][:, :2])
    if size.min() <= 0:
        return None
    return OrientedBox.upright([*center, top - _THICKNESS / 2], [*size, _THICKNESS], yaw)
