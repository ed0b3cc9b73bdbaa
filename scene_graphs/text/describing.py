"""Names for things: descriptions by attributes and by anchors, shortest first, and which of them fit one thing alone."""

import random
from collections.abc import Iterator
from itertools import combinations

from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import UNKNOWN, SceneNode
from vla3d.scene_graphs.predicates import STATES
from vla3d.scene_graphs.text.checker import Facts
from vla3d.scene_graphs.text.claims import Attribute, Description

SPOKEN = ("on", "in", "under", "left_of", "right_of", "in_front_of", "behind", "near", "touching", "larger", "same_colour")
"""Predicates that sentences use; being supported or held says much the same as being on, in or held."""


def attributes_of(node: SceneNode) -> dict[Attribute, str]:
    """What can be said of a thing by itself."""
    found: dict[Attribute, str] = {}
    size = node.attributes.get("size")
    if isinstance(size, str):
        found["size"] = size
    states = [state for state in node.states if state in STATES]
    if states:
        found["state"] = states[0]
    if node.color is not None:
        found["color"] = node.color
    return found


def can_be_named(node: SceneNode) -> bool:
    """Whether sentences speak of it."""
    return node.kind != "gripper" and node.label != UNKNOWN


def plain_descriptions(node: SceneNode) -> Iterator[Description]:
    """Descriptions of a thing by its own attributes, shortest first."""
    known = attributes_of(node)
    for count in range(len(known) + 1):
        for names in combinations(known, count):
            yield Description(label=node.label, **{name: known[name] for name in names})  # type: ignore[arg-type]


class Namer:
    """Finds descriptions that fit one thing of a graph alone. Each is proved by the checker.

    Args:
        facts: of the graph.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._plain: dict[int, tuple[Description, ...]] = {}

    def plain(self, node_id: int) -> tuple[Description, ...]:
        """All that need no anchor, shortest first."""
        if node_id not in self._plain:
            node = self.facts.graph.node(node_id)
            found = plain_descriptions(node) if can_be_named(node) else ()
            self._plain[node_id] = tuple(d for d in found if self.facts.referent(d) == node_id)
        return self._plain[node_id]

    def shortest(self, node_id: int) -> Description | None:
        """The shortest that needs no anchor; None where the thing has a double."""
        return next(iter(self.plain(node_id)), None)

    def by_anchor(self, node_id: int, rng: random.Random, most: int = 4) -> list[Description]:
        """Some that need an anchor: where the thing is, in few words, to another one that has a name of its own.

        Args:
            node_id: of the thing.
            rng: chooses among anchors.
            most: how many.
        """
        graph = self.facts.graph
        node = graph.node(node_id)
        if not can_be_named(node):
            return []
        edges = [edge for edge in graph.edges_of(subject=node_id) if edge.predicate in SPOKEN]
        found: list[Description] = []
        for edge in shuffled(edges, rng):
            anchor = self.shortest(edge.object)
            if anchor is None or not worth_saying(graph, edge):
                continue
            for base in plain_descriptions(node):
                candidate = Description(
                    label=base.label,
                    color=base.color,
                    size=base.size,
                    state=base.state,
                    predicate=edge.predicate,
                    anchor=anchor,
                )
                if base not in self.plain(node_id) and self.facts.referent(candidate) == node_id:
                    found.append(candidate)
                    break
            if len(found) == most:
                break
        return found


def worth_saying(graph: SceneGraph, edge: Edge) -> bool:
    """Whether an edge is news: not that of a part and its whole, nor that a thing touches the floor, or what is on it."""
    subject, target = graph.node(edge.subject), graph.node(edge.object)
    if (
        edge.predicate not in SPOKEN
        or subject.kind == "surface"
        or subject.id == target.part_of
        or target.id == subject.part_of
    ):
        return False
    return edge.predicate != "touching" or target.kind != "surface"


def shuffled(edges: list[Edge], rng: random.Random) -> list[Edge]:
    """Edges in a random order in which every predicate comes early: most edges of a scene say left, right, behind."""
    kinds: dict[str, list[Edge]] = {}
    for edge in edges:
        kinds.setdefault(edge.predicate, []).append(edge)
    keyed = []
    for members in kinds.values():
        order = sorted(members, key=lambda _: rng.random())
        keyed += [(place + rng.random(), edge) for place, edge in enumerate(order)]
    return [edge for _, edge in sorted(keyed, key=lambda pair: pair[0])]
