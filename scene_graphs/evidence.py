"""How many views show an edge, and how sure that makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.edges import Edges
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates import RELATIONS
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
    names = sorted({name for boxes in boxes_by_view.values() for name in boxes})
    count = len(nodes)
    position = {node.id: row for row, node in enumerate(nodes)}
    votes = {TRUE: np.zeros((len(RELATIONS), count, count), dtype=np.int64)}
    votes[FALSE] = np.zeros_like(votes[TRUE])
    for name in names:
        seen = [_as_seen(node, boxes_by_view.get(node.id), name) for node in nodes]
        present = [node for node in seen if node is not None]
        found = relate(present, viewpoint=viewpoint, tolerances=tolerances, most_neighbours=max(1, len(present)))
        rows = np.array([position[int(node_id)] for node_id in found.ids], dtype=np.int64)
        for value, table in votes.items():
            predicates, pairs = np.nonzero(found.truth == value)
            table[predicates, rows[found.subjects[pairs]], rows[found.objects[pairs]]] += 1
    ends = [np.array([position[int(node_id)] for node_id in ids], dtype=np.int64) for ids in (edges.subjects, edges.objects)]
    yes, no = (votes[value][edges.predicates, *ends] for value in (TRUE, FALSE))
    return replace(edges, evidence=yes, confidence=(yes + 1) / (yes + no + 2))


def _as_seen(node: SceneNode, boxes: Mapping[str, OrientedBox] | None, view: str) -> SceneNode | None:
    if boxes is None:
        return node
    return replace(node, box=boxes[view], points=None, feature=None) if view in boxes else None
