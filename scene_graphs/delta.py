"""What changed between two scene graphs of one scene."""

import math
from dataclasses import dataclass, replace

import numpy as np

from vla3d.errors import DataError
from vla3d.scene_graphs.edges import Edge, Edges
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode


@dataclass(frozen=True, kw_only=True)
class Motion:
    """From when on a thing counts as moved.

    Attributes:
        shift: of its middle, metres.
        turn: radians.
        opening: change of how far it is open.
    """

    shift: float = 0.01
    turn: float = math.radians(10.0)
    opening: float = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeChange:
    """One thing before and after, and which of its values differ: names of node attributes, sorted."""

    before: SceneNode
    after: SceneNode
    what: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphDelta:
    """What must be done to one graph to get the other. Nodes are the same when their ids are.

    Attributes:
        added: nodes that are new.
        removed: nodes that are gone.
        changed: nodes of which anything differs; measurement noise does, too: ``moved`` tells what matters.
        added_edges: triplets that hold now.
        removed_edges: triplets that held before.
        updated_edges: triplets of which only evidence or confidence differs, as they are now.
        after: the other graph's viewpoint and vocabulary.
    """

    added: tuple[SceneNode, ...]
    removed: tuple[SceneNode, ...]
    changed: tuple[NodeChange, ...]
    added_edges: tuple[Edge, ...]
    removed_edges: tuple[Edge, ...]
    updated_edges: tuple[Edge, ...]
    after: SceneGraph

    @property
    def empty(self) -> bool:
        """Whether the graphs are equal but for viewpoint and vocabulary."""
        return not (self.added or self.removed or self.changed or self.added_edges or self.removed_edges or self.updated_edges)

    def moved(self, motion: Motion | None = None) -> tuple[NodeChange, ...]:
        """Nodes that were moved, turned, opened or shut by more than noise."""
        least = motion or Motion()
        return tuple(change for change in self.changed if _moved(change, least))

    def state_changes(self) -> tuple[tuple[int, str, bool], ...]:
        """``(node id, state, whether it holds now)`` of every state that began or ended."""
        found = []
        for change in self.changed:
            before, after = set(change.before.states), set(change.after.states)
            found += [(change.after.id, state, state in after) for state in sorted(before ^ after)]
        return tuple(found)

    def apply(self, graph: SceneGraph) -> SceneGraph:
        """The other graph, from the first one.

        Raises:
            DataError: ``graph`` is not the one that the delta was made from.
        """
        nodes = {node.id: node for node in graph.nodes}
        for node in (*self.removed, *(change.before for change in self.changed)):
            if node.id not in nodes or not nodes[node.id].same_as(node):
                raise DataError(f"Delta: node {node.id} is not as it was, expected the graph that the delta was made from.")
        for node in self.removed:
            del nodes[node.id]
        for node in (*self.added, *(change.after for change in self.changed)):
            nodes[node.id] = node
        edges = {edge.triplet: edge for edge in graph.edges}
        for edge in self.removed_edges:
            if edge.triplet not in edges:
                raise DataError(f"Delta: edge {edge.triplet} is not there, expected the graph that the delta was made from.")
            del edges[edge.triplet]
        edges |= {edge.triplet: edge for edge in (*self.added_edges, *self.updated_edges)}
        return SceneGraph(
            nodes=tuple(nodes.values()),
            edges=Edges.of(edges.values(), self.after.edges.vocabulary),
            viewpoint=self.after.viewpoint,
        )

    def lines(self, motion: Motion | None = None) -> list[str]:
        """In words, one line for each change that is more than noise."""
        names = {node.id: node.name for node in (*self.removed, *self.after.nodes)}
        lines = [f"+ {node.name}" for node in self.added] + [f"- {node.name}" for node in self.removed]
        for change in self.moved(motion):
            shift = 1000 * np.linalg.norm(change.after.box.center - change.before.box.center)
            lines.append(f"~ {change.after.name} moved by {shift:.0f} mm")
        for node_id, state, now in self.state_changes():
            lines.append(f"~ {names[node_id]} is {'now' if now else 'no longer'} {state}")
        for sign, edges in (("+", self.added_edges), ("-", self.removed_edges)):
            lines += [f"{sign} {names[edge.subject]} {edge.predicate} {names[edge.object]}" for edge in edges]
        return lines


def graph_delta(before: SceneGraph, after: SceneGraph) -> GraphDelta:
    """What changed from one graph to another. Nodes are the same when their ids are.

    Args:
        before: the earlier graph.
        after: the later one.
    """
    old, new = ({node.id: node for node in graph.nodes} for graph in (before, after))
    changed = []
    for node_id in sorted(old.keys() & new.keys()):
        what = _differences(old[node_id], new[node_id])
        if what:
            changed.append(NodeChange(before=old[node_id], after=new[node_id], what=what))
    held, holds = ({edge.triplet: edge for edge in graph.edges} for graph in (before, after))
    return GraphDelta(
        added=tuple(new[node_id] for node_id in sorted(new.keys() - old.keys())),
        removed=tuple(old[node_id] for node_id in sorted(old.keys() - new.keys())),
        changed=tuple(changed),
        added_edges=tuple(edge for triplet, edge in holds.items() if triplet not in held),
        removed_edges=tuple(edge for triplet, edge in held.items() if triplet not in holds),
        updated_edges=tuple(edge for triplet, edge in holds.items() if triplet in held and held[triplet] != edge),
        after=after,
    )


def _differences(before: SceneNode, after: SceneNode) -> tuple[str, ...]:
    """Names of the attributes that differ: each is put into the other node, which then must be the same."""
    if before.same_as(after):
        return ()
    names = (
        "attributes", "box", "color", "feature", "holding", "incomplete", "kind", "opening", "part_of", "points", "rgb",
        "states", "views",
    )  # fmt: skip
    found = [name for name in names if not replace(before, **{name: getattr(after, name)}).same_as(before)]
    if before.label != after.label or before.label_scores != after.label_scores:
        found.append("label")
    return tuple(sorted(found))


def _moved(change: NodeChange, least: Motion) -> bool:
    before, after = change.before, change.after
    if np.linalg.norm(after.box.center - before.box.center) > least.shift:
        return True
    if (before.opening is None) != (after.opening is None):
        return False
    if before.opening is not None and after.opening is not None and abs(after.opening - before.opening) > least.opening:
        return True
    cosine = abs(float(before.box.quaternion @ after.box.quaternion))
    return 2 * math.acos(min(1.0, cosine)) > least.turn
