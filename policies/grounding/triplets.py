"""True relations in words, for the prompt: those about things that the sentence mentions."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import UNKNOWN, SceneNode
from vla3d.scene_graphs.predicates.table import PREDICATES, RELATIONS
from vla3d.scene_graphs.summary import DIRECTIONS, TELLING, sentence, short_names

_ORDER = (*DIRECTIONS, *TELLING, *(name for name in RELATIONS if name not in (*DIRECTIONS, *TELLING)))


@dataclass(frozen=True, kw_only=True)
class Triplet:
    """A relation in words.

    Attributes:
        text: subject, predicate, object.
        words: of the subject and of the object: label and colour, by which a sentence mentions them.
    """

    text: str
    words: tuple[frozenset[str], frozenset[str]]

    def mentioned(self, said: str) -> int:
        """How many of its two ends a sentence (see `spaced`) mentions."""
        return sum(any(f" {word} " in said for word in words) for words in self.words)


def triplets_of(graph: SceneGraph) -> tuple[Triplet, ...]:
    """Everything a graph says about its things, the most telling predicates first, then by node. Surfaces are left out: what
    stands on the table goes without saying."""
    surfaces = {node.id for node in graph.nodes if node.kind == "surface"}
    words, names = {node.id: _words(node) for node in graph.nodes}, short_names(graph)
    edges = [edge for edge in map(graph.edges.__getitem__, range(len(graph.edges))) if edge.predicate in PREDICATES]
    edges = [edge for edge in edges if not {edge.subject, edge.object} & surfaces]
    return tuple(
        Triplet(text=sentence(edge, names), words=(words[edge.subject], words[edge.object]))
        for edge in sorted(edges, key=_place)
    )


def _place(edge: Edge) -> tuple[int, int, int]:
    return _ORDER.index(edge.predicate), edge.subject, edge.object


def _words(node: SceneNode) -> frozenset[str]:
    said = {node.label if node.label != UNKNOWN else None, node.color}
    return frozenset(spaced(word).strip() for word in said if word is not None)


def spaced(text: str) -> str:
    """A sentence as lower-case words between single spaces, one before the first and one after the last too."""
    return " ".join(["", *re.findall(r"[^\W_]+", text.lower()), ""])


def prompt(said: str, triplets: Sequence[Triplet], most: int, fits: Callable[[str], bool]) -> str:
    """A sentence and after it the relations that matter for it.

    Relations of which it mentions both ends come first, and only those of which it mentions one follow. A relation is in the
    prompt whole or not at all: while the prompt is too long the last one goes.

    Args:
        said: the sentence.
        triplets: see `triplets_of`.
        most: relations at most.
        fits: whether a prompt is within the budget of the model.
    """
    words = spaced(said)
    about = [(triplet.mentioned(words), triplet.text) for triplet in triplets]
    chosen = [text for ends in (2, 1) for count, text in about if count == ends][:most]
    while chosen:
        whole = ". ".join([said.rstrip(" ."), *chosen])
        if fits(whole):
            return whole
        chosen.pop()
    return said


def vocabulary() -> tuple[str, ...]:
    """What the words of every predicate are, for a tokenizer that is to know them."""
    return tuple(PREDICATES[name].words for name in RELATIONS)
