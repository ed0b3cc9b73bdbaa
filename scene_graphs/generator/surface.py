"""Points on the surfaces of a scene, as cameras around it would measure them."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from vla3d.errors import ConfigError
from vla3d.scene_graphs.generator.shapes import Solid, solids_of
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode

_UNKNOWN = np.array([0.6, 0.6, 0.6])
_LIGHT = np.array([-0.36, 0.48, 0.80])
# A ray starts a little off its surface, or rounding would let the surface hide itself.
_OFF = 1e-4


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How points are sampled.

    Attributes:
        per_object: points on each node before any of them are hidden or lost.
        cameras: how many look at the scene from evenly spread directions; a point is kept when one of them sees it past all
            other solids. 0 keeps points on all sides.
        dropout: share of the points that are lost besides.
        noise: standard deviation of positions, metres.
        shading: how much darker a side is that faces away from the light, as a share of its colour.
        color_noise: standard deviation of colours, as a share of white.

    Raises:
        ConfigError: a number is out of range.
    """

    per_object: int = 256
    cameras: int = 3
    dropout: float = 0.1
    noise: float = 0.001
    shading: float = 0.35
    color_noise: float = 0.02

    def __post_init__(self) -> None:
        for name, low, high in (
            ("per_object", 1, 10**6),
            ("cameras", 0, 64),
            ("dropout", 0, 0.99),
            ("noise", 0, 1),
            ("shading", 0, 1),
            ("color_noise", 0, 1),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"sampling.{name}: got {value}, expected a number from {low} to {high}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePoints:
    """The points of a scene, ordered by node.

    Attributes:
        points: world metres.
        colors: RGB.
        ids: id of the node that each point lies on. A part's points are the part's, not the whole's.
    """

    points: Float32[np.ndarray, "P 3"]
    colors: UInt8[np.ndarray, "P 3"]
    ids: Int64[np.ndarray, "P"]


def sample_points(graph: SceneGraph, seed: int, sampling: Sampling | None = None) -> ScenePoints:
    """Points on the surfaces of a scene, spread evenly over each node.

    Args:
        graph: of which labels, boxes and colours count.
        seed: the same one gives the same points.
        sampling: how many, and what becomes of them.
    """
    sampling, rng = sampling or Sampling(), np.random.default_rng(seed)
    placed = [(node, solid) for node in graph.nodes for solid in solids_of(node.label, _is_slab(node))]
    points, normals, ids, colors = [], [], [], []
    for node in graph.nodes:
        local, outward = _on_solids(solids_of(node.label, _is_slab(node)), node.box.size, sampling.per_object, rng)
        points.append(node.box.center + local @ node.box.rotation.T)
        normals.append(outward @ node.box.rotation.T)
        ids.append(np.full(len(local), node.id, dtype=np.int64))
        colors.append(np.repeat((_UNKNOWN if node.rgb is None else node.rgb)[None], len(local), axis=0))
    if not points:
        empty = np.zeros((0, 3))
        return ScenePoints(points=empty.astype(np.float32), colors=empty.astype(np.uint8), ids=np.zeros(0, np.int64))
    position, normal, number = np.concatenate(points), np.concatenate(normals), np.concatenate(ids)
    kept = rng.random(len(position)) >= sampling.dropout
    if sampling.cameras:
        kept &= _seen(position, normal, placed, _camera_positions(position, sampling.cameras))
    position = position + rng.normal(size=position.shape) * sampling.noise
    dark = sampling.shading * (1 - (normal @ _LIGHT).clip(min=0.0))
    shaded = np.concatenate(colors) * (1 - dark)[:, None] + rng.normal(size=(len(position), 1)) * sampling.color_noise
    return ScenePoints(
        points=position[kept].astype(np.float32),
        colors=np.round(255 * shaded[kept].clip(0.0, 1.0)).astype(np.uint8),
        ids=number[kept],
    )


def with_points(graph: SceneGraph, sampled: ScenePoints) -> SceneGraph:
    """The graph with each node's points in it; a node that no camera sees has none."""
    nodes = []
    for node in graph.nodes:
        mine = sampled.points[sampled.ids == node.id]
        nodes.append(replace(node, points=mine if len(mine) else None))
    return replace(graph, nodes=tuple(nodes))


def _is_slab(node: SceneNode) -> bool:
    """Whether a table is a mere slab, without legs."""
    return node.kind == "surface" and bool(node.box.size[2] < 0.1)


def _on_solids(
    solids: tuple[Solid, ...], size: Float[np.ndarray, "3"], count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    """Points on solids in a box of that size, and their outward normals, in the box's axes."""
    parts = []
    corners = [(np.array(solid.low) * size, np.array(solid.high) * size) for solid in solids]
    shares = np.array([_area(high - low) for low, high in corners])
    counts = np.bincount(rng.choice(len(solids), size=count, p=shares / shares.sum()), minlength=len(solids))
    for solid, (low, high), number in zip(solids, corners, counts, strict=True):
        points, normals = _on_unit(solid.form, (high - low) / 2, int(number), rng)
        parts.append(((low + high) / 2 + points, normals))
    return np.concatenate([points for points, _ in parts]), np.concatenate([normals for _, normals in parts])


def _area(edges: Float[np.ndarray, "3"]) -> float:
    return float(edges[0] * edges[1] + edges[1] * edges[2] + edges[2] * edges[0])


def _on_unit(
    form: str, half: Float[np.ndarray, "3"], count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    """Points on one solid about its middle, and outward normals."""
    if form == "ellipsoid":
        unit = rng.normal(size=(count, 3))
        unit /= np.linalg.norm(unit, axis=1, keepdims=True).clip(min=1e-12)
        normals = unit / half
        return unit * half, normals / np.linalg.norm(normals, axis=1, keepdims=True)
    if form == "cylinder":
        angle, height = rng.uniform(0, 2 * np.pi, count), rng.uniform(-1, 1, count)
        side, ends = 4 * np.pi * half[:2].mean() * half[2], 2 * np.pi * half[0] * half[1]
        cap = rng.random(count) < ends / (side + ends)
        radius = np.where(cap, np.sqrt(rng.random(count)), 1.0)
        height = np.where(cap, np.sign(height), height)
        unit = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
        normals = np.where(cap[:, None], [0.0, 0.0, 1.0] * np.sign(height)[:, None], unit * [1.0, 1.0, 0.0] / half)
        return unit * half, normals / np.linalg.norm(normals, axis=1, keepdims=True)
    areas = np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]])
    axis = rng.choice(3, size=count, p=areas / areas.sum())
    sign = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    unit, normals, rows = rng.uniform(-1, 1, (count, 3)), np.zeros((count, 3)), np.arange(count)
    unit[rows, axis] = normals[rows, axis] = sign
    return unit * half, normals


def _camera_positions(points: Float[np.ndarray, "P 3"], count: int) -> Float[np.ndarray, "C 3"]:
    """Around the scene and above it, evenly spread."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) + 0.2
    angles = np.pi + 2 * np.pi * np.arange(count) / count
    level = np.stack([np.cos(angles), np.sin(angles), np.full(count, 1.4)], axis=1)
    return np.asarray(middle + radius * level)


def _seen(
    points: Float[np.ndarray, "P 3"],
    normals: Float[np.ndarray, "P 3"],
    placed: list[tuple[SceneNode, Solid]],
    cameras: Float[np.ndarray, "C 3"],
) -> Bool[np.ndarray, "P"]:
    """Which points some camera sees: the surface faces it, and no solid is in the way."""
    seen = np.zeros(len(points), dtype=bool)
    for camera in cameras:
        rays = camera - points
        asked = np.flatnonzero(~seen & (np.einsum("pi,pi->p", rays, normals) > 0))
        start = points[asked] + _OFF * normals[asked]
        free = np.ones(len(asked), dtype=bool)
        for node, solid in placed:
            free[free] = ~_hit(node, solid, start[free], camera - start[free])
        seen[asked[free]] = True
    return seen


def _hit(
    node: SceneNode, solid: Solid, start: Float[np.ndarray, "P 3"], rays: Float[np.ndarray, "P 3"]
) -> Bool[np.ndarray, "P"]:
    """Which line segments pass through a solid, in the solid's axes scaled to the unit cube or ball."""
    low, high = np.array(solid.low) * node.box.size, np.array(solid.high) * node.box.size
    half, middle = (high - low) / 2, (low + high) / 2
    at = ((start - node.box.center) @ node.box.rotation - middle) / half
    along = (rays @ node.box.rotation) / half
    if solid.form == "ellipsoid":
        enter, leave = _through_ball(at, along)
    else:
        round_axes = 2 if solid.form == "cylinder" else 0
        enter, leave = _through_slabs(at[:, round_axes:], along[:, round_axes:])
        if round_axes:
            wall_enter, wall_leave = _through_ball(at[:, :2], along[:, :2])
            enter, leave = np.maximum(enter, wall_enter), np.minimum(leave, wall_leave)
    return np.asarray((leave > np.maximum(enter, 0.0)) & (leave > 0) & (enter < 1))


def _through_slabs(
    at: Float[np.ndarray, "P K"], along: Float[np.ndarray, "P K"]
) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"]]:
    """Where lines enter and leave the cube from -1 to 1."""
    safe = np.where(np.abs(along) < 1e-12, 1e-12, along)
    first, second = (-1 - at) / safe, (1 - at) / safe
    return np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)


def _through_ball(
    at: Float[np.ndarray, "P K"], along: Float[np.ndarray, "P K"]
) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"]]:
    """Where lines enter and leave the unit ball; lines that miss it leave before they enter."""
    a = np.einsum("pi,pi->p", along, along).clip(min=1e-18)
    b, c = np.einsum("pi,pi->p", at, along), np.einsum("pi,pi->p", at, at) - 1
    root = b * b - a * c
    width = np.sqrt(root.clip(min=0.0))
    missed = root <= 0
    return np.where(missed, np.inf, (-b - width) / a), np.where(missed, -np.inf, (-b + width) / a)
