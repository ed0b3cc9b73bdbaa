"""How many views show an edge, and how sure that makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.edges import Edges
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.relations import relate
from vla3d.scene_graphs.tolerances import Tolerances
from vla3d.scene_graphs.truth import FALSE, TRUE
from vla3d.scene_graphs.viewpoint import Viewpoint


def with_evidence(
    edges: Edges,
    nodes: Sequence[SceneNode],
    boxes_by_view: Mapping[int, Mapping[str, OrientedBox]],
    viewpoint: Viewpoint,
    tolerances: Tolerances,
) -> Edges:
    """Edges with the number of views that show them, and a confidence.

    In every view the predicates are asked of the boxes that this view alone gives. With p views that say true and n that say
    false, confidence is (p + 1) / (p + n + 2), the mean of a Beta distribution that began uniform. Nodes without views (the
    gripper) count in every view.

    Args:
        edges: of the merged scene.
        nodes: of the merged scene.
        boxes_by_view: for each node that was seen, its box in each view.
        viewpoint: as of the merged scene.
        tolerances: likewise.
    """
    position = {node.id: row for row, node in enumerate(nodes)}
    ends = [np.array([position[int(node_id)] for node_id in ids], dtype=np.int64) for ids in (edges.subjects, edges.objects)]
    wanted = _keys(edges.predicates, ends[0], ends[1], len(nodes))
    pairs = np.unique(np.sort(np.stack(ends, axis=1), axis=1), axis=0)
    votes = {TRUE: np.zeros(len(edges), dtype=np.int64), FALSE: np.zeros(len(edges), dtype=np.int64)}
    for view in sorted({name for boxes in boxes_by_view.values() for name in boxes}):
        seen = [_as_seen(node, boxes_by_view.get(node.id), view) for node in nodes]
        rows = np.array([row for row, node in enumerate(seen) if node is not None], dtype=np.int64)
        # Only of pairs that have an edge, so that nothing grows with the square of the number of nodes.
        asked = np.searchsorted(rows, pairs[np.isin(pairs, rows).all(axis=1)])
        present = [node for node in seen if node is not None]
        found = relate(present, viewpoint=viewpoint, tolerances=tolerances, pairs=asked)
        for value, counts in votes.items():
            predicates, columns = np.nonzero(found.truth == value)
            said = _keys(predicates, rows[found.subjects[columns]], rows[found.objects[columns]], len(nodes))
            counts += np.isin(wanted, said, assume_unique=True)
    yes, no = votes[TRUE], votes[FALSE]
    return replace(edges, evidence=yes, confidence=(yes + 1) / (yes + no + 2))


def _keys(
    predicates: Int[np.ndarray, "E"], subjects: Int[np.ndarray, "E"], objects: Int[np.ndarray, "E"], count: int
) -> Int[np.ndarray, "E"]:
    """One number for each triplet."""
    return (predicates * count + subjects) * count + objects


def _as_seen(node: SceneNode, boxes: Mapping[str, OrientedBox] | None, view: str) -> SceneNode | None:
    if boxes is None:
        return node
    return replace(node, box=boxes[view], points=None, feature=None) if view in boxes else None
