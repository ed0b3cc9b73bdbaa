"""Measures of graphs, of grounding, of captions and answers. Each function says what exactly it computes."""

from vla3d.scene_graphs.metrics.agreement import LEAST_IOU, THINGS, Counts, box_ious, match_nodes, object_counts
from vla3d.scene_graphs.metrics.agreement import state_counts as state_counts
from vla3d.scene_graphs.metrics.agreement import triplet_counts as triplet_counts

__all__ = [
    "LEAST_IOU",
    "THINGS",
    "Counts",
    "box_ious",
    "match_nodes",
    "object_counts",
    "state_counts",
    "triplet_counts",
]
