"""What the encoder reads of one scene graph, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vla3d.errors import DataError
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.generator.surface import ScenePoints
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.shapes.boxes import Boxes

POINT_FEATURES = 6
"""Position in the box, from -1 to 1 along its longest edge, and colour, from -1 to 1."""

BOX_FEATURES = 13
"""Middle (3) and logarithm of the edges (3) in units of the scene, two axes (6), and the logarithm of that unit in metres."""

GEOMETRY_FEATURES = 6
"""From the object to the subject (3) and the distance in units of the scene, ratio of volumes and of heights (logarithms)."""

LOOKS = ("same_colour",)
"""Predicates that tell how things look rather than where they are."""

UNLISTED = -1
_SMALLEST = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphTensors:
    """One graph. The order of its nodes is that of ``graph.nodes``.

    Attributes:
        points: surface points in the axes of their box and their colours, see ``POINT_FEATURES``.
        point_mask: which of them are there.
        boxes: see ``BOX_FEATURES``; x is where the viewpoint looks, y is to its left.
        edge_index: rows of subject and object of every ordered pair of which a predicate holds.
        edge_predicates: confidence of each predicate for each pair, 0 where it does not hold.
        edge_geometry: see ``GEOMETRY_FEATURES``.
        labels: number of each node's label, ``UNLISTED`` where it has none.
    """

    points: Float[Tensor, "N P 6"]
    point_mask: Bool[Tensor, "N P"]
    boxes: Float[Tensor, "N 13"]
    edge_index: Int64[Tensor, "2 E"]
    edge_predicates: Float[Tensor, "E K"]
    edge_geometry: Float[Tensor, "E 6"]
    labels: Int64[Tensor, "N"]

    def __len__(self) -> int:
        return len(self.boxes)


def graph_tensors(
    graph: SceneGraph, config: SceneEncoderConfig, *, sampled: ScenePoints | None = None, labels: Sequence[str] = ()
) -> GraphTensors:
    """A graph as the encoder reads it. Labels, colour names and other words of the nodes are not read.

    Args:
        graph: with at least one node.
        config: predicates and number of points.
        sampled: points with colours, by node id; a node without any is known by its box alone. By default the nodes' own
            ``points`` are read, each in the node's ``rgb``.
        labels: the categories that ``labels`` counts.

    Raises:
        DataError: the graph is empty.
    """
    if not graph.nodes:
        raise DataError("encoder: got a graph without nodes, expected at least one.")
    boxes = Boxes.stack([node.box for node in graph.nodes])
    forward, left = graph.viewpoint.forward, graph.viewpoint.left
    T_view_world = np.array([[*forward, 0.0], [*left, 0.0], [0.0, 0.0, 1.0]])
    low, high = boxes.low.min(axis=0), boxes.high.max(axis=0)
    unit = max(float(np.linalg.norm(high - low)) / 2, _SMALLEST)
    centers = (boxes.centers - (low + high) / 2) @ T_view_world.T / unit
    sizes = np.log(np.maximum(boxes.sizes, _SMALLEST) / unit)
    axes = (T_view_world @ boxes.rotations)[:, :, :2].reshape(-1, 6)
    points, point_mask = _points(graph, sampled, config.points)
    edge_index, predicates = _pairs(graph, config)
    subject, target = edge_index
    away = centers[subject] - centers[target]
    volumes = sizes.sum(axis=1)
    geometry = np.concatenate(
        [
            away,
            np.linalg.norm(away, axis=1, keepdims=True),
            (volumes[subject] - volumes[target])[:, None],
            (sizes[subject, 2] - sizes[target, 2])[:, None],
        ],
        axis=1,
    )
    numbers = {label: number for number, label in enumerate(labels)}
    return GraphTensors(
        points=torch.from_numpy(points),
        point_mask=torch.from_numpy(point_mask),
        boxes=_float(np.concatenate([centers, sizes, axes, np.full((len(centers), 1), np.log(unit))], axis=1)),
        edge_index=torch.from_numpy(edge_index),
        edge_predicates=_float(predicates),
        edge_geometry=_float(geometry),
        labels=torch.tensor([numbers.get(node.label, UNLISTED) for node in graph.nodes], dtype=torch.int64),
    )


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _points(graph: SceneGraph, sampled: ScenePoints | None, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of each node, evenly thinned to ``most``, and which of them are there."""
    points = np.zeros((len(graph.nodes), most, POINT_FEATURES), dtype=np.float32)
    mask = np.zeros((len(graph.nodes), most), dtype=bool)
    for row, node in enumerate(graph.nodes):
        if sampled is not None:
            mine = sampled.ids == node.id
            position, color = sampled.points[mine].astype(np.float64), sampled.colors[mine] / 255.0
        elif node.points is not None:
            position = node.points.astype(np.float64)
            color = np.tile(np.full(3, 0.5) if node.rgb is None else node.rgb, (len(position), 1))
        else:
            continue
        kept = np.unique(np.linspace(0, max(len(position) - 1, 0), min(most, len(position))).astype(np.int64))
        local = (position[kept] - node.box.center) @ node.box.rotation / max(node.box.size.max() / 2, _SMALLEST)
        points[row, : len(kept)] = np.concatenate([local, 2 * color[kept] - 1], axis=1)
        mask[row, : len(kept)] = True
    return points, mask


def _pairs(graph: SceneGraph, config: SceneEncoderConfig) -> tuple[np.ndarray, np.ndarray]:
    """Ordered pairs of rows with an edge, and the confidences of their predicates."""
    edges = graph.edges
    columns = {number: config.predicates.index(n) for number, n in enumerate(edges.vocabulary) if n in config.predicates}
    listed = np.isin(edges.predicates, list(columns))
    ids = np.array(graph.ids, dtype=np.int64)
    ends = np.stack([np.searchsorted(ids, edges.subjects[listed]), np.searchsorted(ids, edges.objects[listed])])
    pairs, of_pair = np.unique(ends, axis=1, return_inverse=True)
    table = np.zeros((pairs.shape[1], len(config.predicates)))
    column = np.array([columns[int(number)] for number in edges.predicates[listed]], dtype=np.int64)
    table[of_pair.reshape(-1), column] = edges.confidence[listed]
    return pairs.reshape(2, -1), table
