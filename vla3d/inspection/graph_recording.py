"""A scene graph as a Rerun recording: boxes, arrows and cameras in one scene."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vla3d.inspection.graph_drawing import edge_color, node_color
from vla3d.scene_graphs.boxes import Boxes
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.summary import sentence, short_names, summary_lines, telling_edges
from vla3d.types import RgbdFrame, Workspace

_AROUND = 0.1


def record_graph(path: Path, graph: SceneGraph, frames: Mapping[str, RgbdFrame], title: str) -> None:
    """Write a Rerun recording.

    Args:
        path: where the ``.rrd`` file goes.
        graph: what to show.
        frames: images of the same instant.
        title: what the scene is.

    Raises:
        MissingExtraError: Rerun is not installed.
    """
    from vla3d.viz.rerun import EpisodeLog

    boxes = Boxes.stack([node.box for node in graph.nodes if node.kind != "surface"])
    low, high = (boxes.low.min(0), boxes.high.max(0)) if len(boxes) else (np.full(3, -0.5), np.full(3, 0.5))
    log = EpisodeLog(path, workspace=Workspace(low=low - _AROUND, high=high + _AROUND), name=title)
    log.at(0.0, 0)
    for name, frame in frames.items():
        log.camera(name, frame)
    names = short_names(graph)
    log.boxes(
        "graph/nodes",
        centers=np.array([node.box.center for node in graph.nodes]).reshape(-1, 3),
        sizes=np.array([node.box.size for node in graph.nodes]).reshape(-1, 3),
        quaternions=np.array([node.box.quaternion for node in graph.nodes]).reshape(-1, 4),
        colors=[node_color(node) for node in graph.nodes],
        labels=[names[node.id] for node in graph.nodes],
    )
    told = telling_edges(graph)
    starts = np.array([graph.node(edge.subject).box.center for edge in told]).reshape(-1, 3)
    ends = np.array([graph.node(edge.object).box.center for edge in told]).reshape(-1, 3)
    log.arrows(
        "graph/edges",
        origins=starts,
        vectors=ends - starts,
        colors=[edge_color(edge) for edge in told],
        labels=[sentence(edge, names) for edge in told],
    )
    log.sentence(title)
    for line in summary_lines(graph):
        log.say(line)
    log.close()
