"""3D scene graphs: nodes with oriented boxes, three-valued predicates, builders from a simulator and from RGB-D, files.

Names are imported on first use, so that importing the package costs nothing::

    from vla3d.scene_graphs import OrientedBox, SceneNode, graph_of

    cup = SceneNode(id=0, label="cup", box=OrientedBox.upright([0.5, 0.1, 0.05], [0.08, 0.08, 0.1]))
    tray = SceneNode(id=1, label="tray", box=OrientedBox.upright([0.5, 0.1, -0.01], [0.3, 0.2, 0.02]))
    print(graph_of([cup, tray]).triplets())
"""

if __name__ != "vla3d.scene_graphs":
    raise ImportError("import vla3d.scene_graphs, not scene_graphs: this folder is installed as a part of vla3d")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla3d.scene_graphs.building.builder import SceneGraphBuilder as SceneGraphBuilder
    from vla3d.scene_graphs.building.known_boxes import graph_of as graph_of
    from vla3d.scene_graphs.delta import GraphDelta as GraphDelta
    from vla3d.scene_graphs.delta import graph_delta as graph_delta
    from vla3d.scene_graphs.edges import Edge as Edge
    from vla3d.scene_graphs.edges import Edges as Edges
    from vla3d.scene_graphs.exchange.files import read_graph as read_graph
    from vla3d.scene_graphs.exchange.files import write_graph as write_graph
    from vla3d.scene_graphs.exchange.nx import from_networkx as from_networkx
    from vla3d.scene_graphs.exchange.nx import to_networkx as to_networkx
    from vla3d.scene_graphs.exchange.pyg import from_data as from_data
    from vla3d.scene_graphs.exchange.pyg import from_hetero as from_hetero
    from vla3d.scene_graphs.exchange.pyg import to_data as to_data
    from vla3d.scene_graphs.exchange.pyg import to_hetero as to_hetero
    from vla3d.scene_graphs.goals.goal import Goal as Goal
    from vla3d.scene_graphs.goals.phrasebook import read_goal as read_goal
    from vla3d.scene_graphs.graph import SceneGraph as SceneGraph
    from vla3d.scene_graphs.node import SceneNode as SceneNode
    from vla3d.scene_graphs.predicates.relations import relate as relate
    from vla3d.scene_graphs.predicates.table import PREDICATES as PREDICATES
    from vla3d.scene_graphs.predicates.tolerances import Tolerances as Tolerances
    from vla3d.scene_graphs.predicates.viewpoint import Viewpoint as Viewpoint
    from vla3d.scene_graphs.shapes.boxes import OrientedBox as OrientedBox

_HOMES = {
    "Edge": "edges",
    "Edges": "edges",
    "Goal": "goals.goal",
    "GraphDelta": "delta",
    "OrientedBox": "shapes.boxes",
    "PREDICATES": "predicates.table",
    "SceneGraph": "graph",
    "SceneGraphBuilder": "building.builder",
    "SceneNode": "node",
    "Tolerances": "predicates.tolerances",
    "Viewpoint": "predicates.viewpoint",
    "from_data": "exchange.pyg",
    "from_hetero": "exchange.pyg",
    "from_networkx": "exchange.nx",
    "graph_delta": "delta",
    "graph_of": "building.known_boxes",
    "read_goal": "goals.phrasebook",
    "read_graph": "exchange.files",
    "relate": "predicates.relations",
    "to_data": "exchange.pyg",
    "to_hetero": "exchange.pyg",
    "to_networkx": "exchange.nx",
    "write_graph": "exchange.files",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"vla3d.scene_graphs.{_HOMES[name]}"), name)
