"""Names for things: descriptions by attributes and by anchors, shortest first, and which of them fit one thing alone."""

import random
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import UNKNOWN, SceneNode
from vla3d.scene_graphs.predicates.table import STATES
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

    Attributes:
        edges: those worth a sentence.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.edges = worthy_edges(facts.graph)
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
        node = self.facts.graph.node(node_id)
        if not can_be_named(node):
            return []
        found: list[Description] = []
        for edge in shuffled([edge for edge in self.edges if edge.subject == node_id], rng):
            anchor = self.shortest(edge.object)
            if anchor is None:
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


def worthy_edges(graph: SceneGraph) -> list[Edge]:
    """Edges that are news.

    Left out are those of a part and its whole, those of a surface as the subject, that a thing touches a surface, and that
    things touch or are near of which one is on or in the other.
    """
    stacked = {frozenset((edge.subject, edge.object)) for name in ("on", "in") for edge in graph.edges_of(predicate=name)}
    wholes = {frozenset((node.id, node.part_of)) for node in graph.nodes if node.part_of is not None}
    surfaces = {node.id for node in graph.nodes if node.kind == "surface"}
    spoken = [number for number, name in enumerate(graph.edges.vocabulary) if name in SPOKEN]
    found = []
    for edge in graph.edges.take(np.isin(graph.edges.predicates, spoken)):
        pair = frozenset((edge.subject, edge.object))
        if edge.subject in surfaces or pair in wholes:
            continue
        if edge.predicate in ("touching", "near") and (edge.object in surfaces or pair in stacked):
            continue
        found.append(edge)
    return found


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
