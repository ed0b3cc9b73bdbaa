"""What is worth saying of a graph first: a graph of ten things has a hundred edges, and most follow from a few."""

from collections import Counter
from collections.abc import Container, Sequence

import numpy as np

from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates import PREDICATES

TELLING = ("held_by", "in", "on", "inside_gripper")
"""Predicates that are worth an arrow whenever they hold, the most telling first."""

DIRECTIONS = ("left_of", "right_of", "in_front_of", "behind")


def telling_edges(graph: SceneGraph) -> list[Edge]:
    """Edges that tell where each thing is, at most one for a pair: contacts, then the direction of its nearest neighbour.

    What stands on a surface gets no arrow for that, and of a pair that is related both ways round only one way is told.
    """
    surfaces = {node.id for node in graph.nodes if node.kind == "surface"}
    chosen: dict[frozenset[int], Edge] = {}
    for predicate in TELLING:
        for edge in _edges(graph, predicate):
            if edge.object not in surfaces:
                chosen.setdefault(frozenset((edge.subject, edge.object)), edge)
    placed = {edge.subject for edge in chosen.values()}
    for edge in _directions(graph, placed):
        chosen.setdefault(frozenset((edge.subject, edge.object)), edge)
    return list(chosen.values())


def _edges(graph: SceneGraph, predicate: str) -> Sequence[Edge]:
    return graph.edges_of(predicate=predicate) if predicate in graph.edges.vocabulary else ()


def _directions(graph: SceneGraph, placed: Container[int]) -> list[Edge]:
    """For each thing the direction from its nearest neighbour: the one along which they are farther apart.

    Args:
        graph: any.
        placed: ids of things that a contact already places.
    """
    things = [node for node in graph.nodes if node.kind in ("object", "part") and node.id not in placed]
    forward, left = graph.viewpoint.forward, graph.viewpoint.left
    by_name = {(edge.subject, edge.predicate, edge.object): edge for name in DIRECTIONS for edge in _edges(graph, name)}
    related = {(subject, target) for subject, _, target in by_name}
    found = []
    for node in things:
        others = [other for other in things if (node.id, other.id) in related]
        if not others:
            continue
        nearest = min(others, key=lambda other: float(np.linalg.norm(other.box.center - node.box.center)))
        offset = node.box.center[:2] - nearest.box.center[:2]
        sideways, ahead = float(offset @ left), float(offset @ forward)
        names = ("left_of" if sideways > 0 else "right_of", "behind" if ahead > 0 else "in_front_of")
        order = names if abs(sideways) >= abs(ahead) else names[::-1]
        edge = next((by_name[node.id, name, nearest.id] for name in order if (node.id, name, nearest.id) in by_name), None)
        if edge is not None:
            found.append(edge)
    return found


def short_names(graph: SceneGraph) -> dict[int, str]:
    """Names without ids where colour and label already tell a node from all others."""
    plain = {
        node.id: f"{node.color} {node.label}" if node.color and node.kind != "surface" else node.label for node in graph.nodes
    }
    counts = Counter(plain.values())
    return {node_id: name if counts[name] == 1 else f"{name} {node_id}" for node_id, name in plain.items()}


def sentence(edge: Edge, names: dict[int, str]) -> str:
    """An edge in words."""
    words = PREDICATES[edge.predicate].words if edge.predicate in PREDICATES else edge.predicate
    return f"{names[edge.subject]} {words} {names[edge.object]}"


def surface_lines(graph: SceneGraph, names: dict[int, str]) -> list[str]:
    """What stands on each surface, in words."""
    lines = []
    for surface in graph.find(kind="surface"):
        on = [names[edge.subject] for edge in _edges(graph, "on") if edge.object == surface.id]
        lines += [f"on the {names[surface.id]}: {', '.join(on)}"] if on else []
    return lines


def node_line(node: SceneNode, name: str) -> str:
    """A node in words: what it is, where, how large, and its states."""
    x, y, z = node.box.center
    size = " x ".join(f"{1000 * edge:.0f}" for edge in node.box.size)
    notes = [*node.states]
    if node.opening is not None:
        notes.append(f"opened {100 * node.opening:.0f} %")
    if node.incomplete:
        notes.append("partly hidden")
    return f"{name}: at {x:.3f}, {y:.3f}, {z:.3f} m, {size} mm" + (f"; {', '.join(notes)}" if notes else "")


def summary_lines(graph: SceneGraph) -> list[str]:
    """The whole graph in a few lines: things, what is telling, and how many edges of each predicate there are."""
    names = short_names(graph)
    lines = [f"{len(graph.nodes)} nodes, {len(graph.edges)} edges; left and right as seen from the {graph.viewpoint.name}"]
    lines += [f"  {node_line(node, names[node.id])}" for node in graph.nodes]
    told = [sentence(edge, names) for edge in telling_edges(graph)] + surface_lines(graph, names)
    lines += ["Telling relations:"] + [f"  {line}" for line in told] if told else []
    counts = Counter(graph.edges.vocabulary[number] for number in graph.edges.predicates)
    if counts:
        lines.append("Edges: " + ", ".join(f"{counts[name]} {name}" for name in graph.edges.vocabulary if counts[name]))
    groups = graph.components()
    if len(groups) > 1:
        lines.append(f"{len(groups)} groups of nodes that no edge joins.")
    return lines
