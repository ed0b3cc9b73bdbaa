"""Compositions that training never shows, so that a test can ask for them."""

from dataclasses import dataclass
from functools import cached_property

from vla3d.errors import ConfigError, unknown_name
from vla3d.scene_graphs.colors import PALETTE
from vla3d.scene_graphs.generator.catalog import COLORS, SceneKind, labels_of
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates import PREDICATES, RELATIONS

Pair = tuple[str, str]
Triple = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """Pairs of colour and label, and triples of label, predicate and label.

    A triple stands for its converse as well: who holds out ``("cup", "left_of", "bowl")`` holds out ``("bowl", "right_of",
    "cup")``, too.

    Attributes:
        attributes: ``(colour, label)`` pairs.
        relations: ``(label, predicate, label)`` triples.

    Raises:
        ConfigError: a colour or a predicate is unknown, or all colours of a thing are held out.
    """

    attributes: tuple[Pair, ...] = ()
    relations: tuple[Triple, ...] = ()

    def __post_init__(self) -> None:
        for color, _ in self.attributes:
            if color not in PALETTE:
                raise unknown_name("colour", color, PALETTE)
        for _, predicate, _ in self.relations:
            if predicate not in RELATIONS:
                raise unknown_name("predicate", predicate, RELATIONS)
        for label in {label for _, label in self.attributes}:
            if not self.colors_for(label):
                raise ConfigError(f"Holdout: every colour of {label!r} is held out, expected at least one to be left.")

    @cached_property
    def _pairs(self) -> frozenset[Pair]:
        return frozenset(self.attributes)

    @cached_property
    def triples(self) -> frozenset[Triple]:
        """The triples and what follows from them."""
        found = set(self.relations)
        for subject, predicate, target in self.relations:
            converse = PREDICATES[predicate].converse
            if converse is not None:
                found.add((target, converse, subject))
            if PREDICATES[predicate].symmetric:
                found.add((target, predicate, subject))
        return frozenset(found)

    def colors_for(self, *labels: str) -> tuple[str, ...]:
        """Colours that none of the labels is held out with."""
        return tuple(color for color in COLORS if not any((color, label) in self._pairs for label in labels))

    def found_in(self, graph: SceneGraph) -> tuple[tuple[str, ...], ...]:
        """Held-out compositions that a graph shows, sorted."""
        pairs = {(node.color, node.label) for node in graph.nodes} & self._pairs
        return (*sorted((str(color), label) for color, label in pairs), *sorted(self.shown_triples(graph)))

    def shown_triples(self, graph: SceneGraph) -> frozenset[Triple]:
        """Held-out triples that a graph shows."""
        labels = {node.id: node.label for node in graph.nodes}
        edges, names = graph.edges, graph.edges.vocabulary
        wanted = {predicate for _, predicate, _ in self.triples}
        numbers = {number for number, name in enumerate(names) if name in wanted}
        rows = zip(edges.subjects.tolist(), edges.predicates.tolist(), edges.objects.tolist(), strict=True)
        shown = {(labels[s], names[p], labels[o]) for s, p, o in rows if p in numbers}
        return self.triples & shown


_RELATIONS: dict[SceneKind, tuple[Triple, ...]] = {
    "tabletop": (
        ("cup", "on", "book"),
        ("plate", "on", "box"),
        ("can", "on", "plate"),
        ("ball", "in", "bowl"),
        ("block", "in", "crate"),
        ("cup", "left_of", "bowl"),
        ("box", "behind", "can"),
    ),
    "room": (
        ("box", "on", "stool"),
        ("cup", "on", "cabinet"),
        ("bin", "under", "tabletop"),
        ("book", "in", "shelf"),
        ("lamp", "left_of", "sofa"),
        ("chair", "behind", "stool"),
    ),
}


def default_holdout(kind: SceneKind) -> Holdout:
    """One colour of each label, spread over all colours, and a few relations of every sort.

    Raises:
        ConfigError: no such kind of scene.
    """
    labels = [label for label in labels_of(kind) if label != "tabletop"]
    return Holdout(
        attributes=tuple((COLORS[3 * number % len(COLORS)], label) for number, label in enumerate(labels)),
        relations=_RELATIONS[kind],
    )
