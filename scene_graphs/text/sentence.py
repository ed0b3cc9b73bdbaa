"""A sentence about a graph: its words, what it claims, and which words stand for which nodes."""

from collections.abc import Iterable
from dataclasses import dataclass

from vla3d.scene_graphs.text.checker import Facts
from vla3d.scene_graphs.text.claims import Claim
from vla3d.scene_graphs.text.render import Mark, Rendered, Role


@dataclass(frozen=True, kw_only=True)
class Span:
    """Words and the nodes that they stand for.

    Attributes:
        start: position of their first character.
        end: position after their last one.
        role: ``"object"`` (a noun phrase without what stands it to others), ``"attribute"`` or ``"predicate"``.
        ids: of the nodes; of the subject where it is a predicate. Empty where nothing in the graph is meant, as may happen in a
            false sentence.
        predicate: its name.
        object_ids: of the predicate's object.
    """

    start: int
    end: int
    role: Role
    ids: tuple[int, ...]
    predicate: str | None = None
    object_ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence about a graph.

    Attributes:
        text: as it is read.
        kind: ``"object"``, ``"reference"``, ``"relation"``, ``"attribute"``, ``"count"`` or ``"summary"``.
        claim: what it says.
        spans: in the order of their start.
        target: id of the node that it is about, if it is about one.
    """

    text: str
    kind: str
    claim: Claim
    spans: tuple[Span, ...]
    target: int | None = None

    def words(self, span: Span) -> str:
        """The words of a span."""
        return self.text[span.start : span.end]


def ground(marks: Iterable[Mark], facts: Facts) -> tuple[Span, ...]:
    """Which nodes words stand for: those that surely fit the description.

    Args:
        marks: of a rendered text.
        facts: of the graph.
    """
    return tuple(
        Span(
            start=mark.start,
            end=mark.end,
            role=mark.role,
            ids=facts.ids_of(mark.description),
            predicate=mark.predicate,
            object_ids=() if mark.object is None else facts.ids_of(mark.object),
        )
        for mark in marks
    )


def sentence(rendered: Rendered, facts: Facts, *, kind: str, claim: Claim, target: int | None = None) -> Sentence:
    """A rendered claim as a sentence about a graph."""
    return Sentence(text=rendered.text, kind=kind, claim=claim, spans=ground(rendered.marks, facts), target=target)
