"""Scene graphs as networkx multigraphs, and back."""

from typing import TYPE_CHECKING

from vla3d.errors import DataError
from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.exchange.plain import ARRAYS, node_from_plain, node_to_plain, viewpoint_from_plain, viewpoint_to_plain
from vla3d.scene_graphs.graph import SceneGraph

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: SceneGraph) -> "networkx.MultiDiGraph":
    """A graph as ``MultiDiGraph``: a node's key is its id, an edge's key its predicate.

    Node attributes are plain values, so ``networkx.node_link_data`` gives JSON, but for points and features, which stay arrays.
    """
    import networkx

    result = networkx.MultiDiGraph(viewpoint=viewpoint_to_plain(graph.viewpoint), predicates=list(graph.edges.vocabulary))
    for node in graph.nodes:
        arrays = {name: getattr(node, name) for name in ARRAYS if getattr(node, name) is not None}
        result.add_node(node.id, **{name: value for name, value in node_to_plain(node).items() if name != "id"}, **arrays)
    for edge in graph.edges:
        result.add_edge(edge.subject, edge.object, key=edge.predicate, evidence=edge.evidence, confidence=edge.confidence)
    return result


def from_networkx(graph: "networkx.MultiDiGraph") -> SceneGraph:
    """The inverse of `to_networkx`.

    Raises:
        DataError: an attribute is missing, or cannot be right.
    """
    missing = [name for name in ("viewpoint", "predicates") if name not in graph.graph]
    if missing or not graph.is_multigraph() or not graph.is_directed():
        raise DataError(
            "networkx graph: expected a MultiDiGraph with the attributes viewpoint and predicates, as to_networkx makes it."
        )
    nodes = []
    for node_id, attributes in graph.nodes(data=True):
        plain = {name: value for name, value in attributes.items() if name not in ARRAYS}
        arrays = {name: attributes[name] for name in ARRAYS if name in attributes}
        nodes.append(node_from_plain({"id": node_id, **plain}, arrays))
    edges = [
        Edge(subject=subject, predicate=predicate, object=target, **known)
        for subject, target, predicate, known in graph.edges(keys=True, data=True)
    ]
    viewpoint = viewpoint_from_plain(graph.graph["viewpoint"])
    return SceneGraph.of(nodes, edges, vocabulary=graph.graph["predicates"], viewpoint=viewpoint)
