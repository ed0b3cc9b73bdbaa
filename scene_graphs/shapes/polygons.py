"""Convex polygons in the plane, in batches of pairs: common area, distance, how deep a point lies inside.

Polygons are counter-clockwise. Corners may repeat, so polygons of different numbers of corners fit into one array.
"""

import numpy as np
from jaxtyping import Bool, Float

# Lengths are metres: a picometre decides on which side of an edge a point is that lies on it.
_ON_EDGE = 1e-12


def areas(polygons: Float[np.ndarray, "M K 2"]) -> Float[np.ndarray, "M"]:
    """Areas, square metres."""
    return _cross(polygons, np.roll(polygons, -1, axis=1)).sum(axis=1) / 2


def extents(polygons: Float[np.ndarray, "M K 2"]) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M"]]:
    """Length, the widest extent along an edge, and width, area over length: the edges of a rectangle. Metres."""
    edges = np.roll(polygons, -1, axis=1) - polygons
    along = edges / np.linalg.norm(edges, axis=-1, keepdims=True).clip(min=_ON_EDGE)
    shadows = np.einsum("mec,mkc->mek", along, polygons)
    lengths = (shadows.max(axis=2) - shadows.min(axis=2)).max(axis=1)
    return lengths, areas(polygons) / lengths


def common_areas(first: Float[np.ndarray, "M K 2"], second: Float[np.ndarray, "M L 2"]) -> Float[np.ndarray, "M"]:
    """Area that each pair of polygons has in common, exact up to rounding.

    The corners of the common part are corners of one polygon inside the other and crossings of edges. It is convex, so putting
    them in the order of their angle about their mean gives its outline.
    """
    inside_first = inside(first[:, None], second)
    inside_second = inside(second[:, None], first)
    crossings, crossing = _crossings(first, second)
    points = np.concatenate([first, second, crossings], axis=1)
    real = np.concatenate([inside_first, inside_second, crossing], axis=1)
    count = real.sum(axis=1)
    middle = (points * real[..., None]).sum(axis=1) / np.maximum(count, 1)[:, None]
    offset = np.where(real[..., None], points - middle[:, None], 0.0)
    angle = np.where(real, np.arctan2(offset[..., 1], offset[..., 0]), np.inf)
    order = np.argsort(angle, axis=1)
    outline = np.take_along_axis(offset, order[..., None], axis=1)
    # What is no corner comes last; made equal to the first corner it closes the outline and adds nothing.
    spare = np.arange(outline.shape[1]) >= count[:, None]
    outline = np.where(spare[..., None], outline[:, :1], outline)
    return np.where(count >= 3, areas(outline), 0.0)


def distances(first: Float[np.ndarray, "M K 2"], second: Float[np.ndarray, "M L 2"]) -> Float[np.ndarray, "M"]:
    """Distance of each pair of polygons, 0 where they touch or overlap, metres."""
    apart = np.minimum(_corner_distances(first, second), _corner_distances(second, first))
    return np.where(_separated(first, second) | _separated(second, first), apart, 0.0)


def depths(points: Float[np.ndarray, "M 2"], polygons: Float[np.ndarray, "M K 2"]) -> Float[np.ndarray, "M"]:
    """How far a point lies inside the nearest edge's line of its polygon, metres; negative outside."""
    starts, edges = polygons, np.roll(polygons, -1, axis=1) - polygons
    lengths = np.linalg.norm(edges, axis=-1)
    side = _cross(edges, points[:, None] - starts)
    return np.where(lengths > _ON_EDGE, side / np.maximum(lengths, _ON_EDGE), np.inf).min(axis=1)


def inside(points: Float[np.ndarray, "M 1 P 2"], polygons: Float[np.ndarray, "M K 2"]) -> Bool[np.ndarray, "M P"]:
    """Which points lie in their polygon, border included."""
    edges = (np.roll(polygons, -1, axis=1) - polygons)[:, :, None]
    return np.asarray((_cross(edges, points - polygons[:, :, None]) >= -_ON_EDGE).all(axis=1))


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def _crossings(
    first: Float[np.ndarray, "M K 2"], second: Float[np.ndarray, "M L 2"]
) -> tuple[Float[np.ndarray, "M KL 2"], Bool[np.ndarray, "M KL"]]:
    """Points in which edges cross, and which of them are real. Parallel edges have none."""
    along_first = (np.roll(first, -1, axis=1) - first)[:, :, None]
    along_second = (np.roll(second, -1, axis=1) - second)[:, None]
    between = second[:, None] - first[:, :, None]
    turn = _cross(along_first, along_second)
    crossing = np.abs(turn) > _ON_EDGE * 1e-3
    safe = np.where(crossing, turn, 1.0)
    at_first, at_second = _cross(between, along_second) / safe, _cross(between, along_first) / safe
    crossing &= (at_first >= 0) & (at_first <= 1) & (at_second >= 0) & (at_second <= 1)
    points = first[:, :, None] + np.where(crossing, at_first, 0.0)[..., None] * along_first
    count = first.shape[1] * second.shape[1]
    return points.reshape(-1, count, 2), crossing.reshape(-1, count)


def _corner_distances(first: Float[np.ndarray, "M K 2"], second: Float[np.ndarray, "M L 2"]) -> Float[np.ndarray, "M"]:
    """Least distance from a corner of the first polygon to an edge of the second."""
    edges = (np.roll(second, -1, axis=1) - second)[:, None]
    offset = first[:, :, None] - second[:, None]
    squared = (edges**2).sum(axis=-1)
    along = np.clip((offset * edges).sum(axis=-1) / np.where(squared > 0, squared, 1.0), 0.0, 1.0)
    away = offset - along[..., None] * edges
    return np.sqrt((away**2).sum(axis=-1).min(axis=(1, 2)))


def _separated(first: Float[np.ndarray, "M K 2"], second: Float[np.ndarray, "M L 2"]) -> Bool[np.ndarray, "M"]:
    """Whether an edge of the first polygon has all of the second on its outer side."""
    edges = (np.roll(first, -1, axis=1) - first)[:, :, None]
    real = np.abs(edges).max(axis=(2, 3)) > _ON_EDGE
    outer = (_cross(edges, second[:, None] - first[:, :, None]) < 0).all(axis=2)
    return np.asarray((outer & real).any(axis=1))
