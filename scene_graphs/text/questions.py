"""Questions about a graph, with answers: how many, which, what; yes and no as often as each other."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE
from vla3d.scene_graphs.text.checker import Facts, check
from vla3d.scene_graphs.text.claims import All, Description
from vla3d.scene_graphs.text.negatives import ContrastPair, Scene
from vla3d.scene_graphs.text.render import Rendered, ask, ask_how_many, ask_what, ask_which
from vla3d.scene_graphs.text.sentence import Span, ground
from vla3d.scene_graphs.text.sentences import Speaker
from vla3d.scene_graphs.text.words import number_word

QuestionKind = Literal["yes_no", "count", "attribute", "relation"]
_STYLES = 2**31


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a graph.

    Attributes:
        text: as it is read.
        answer: one word or number in words.
        kind: what is asked for.
        spans: which words of the question stand for which nodes.
        ids: of the nodes that the answer is about.
    """

    text: str
    answer: str
    kind: QuestionKind
    spans: tuple[Span, ...]
    ids: tuple[int, ...] = ()


class Interviewer:
    """Asks about a graph what has one answer. Everything has been checked.

    Args:
        graph: what to ask about.
        seed: the same one gives the same questions.
        facts: of the graph, where they are there already.
    """

    def __init__(self, graph: SceneGraph, seed: int = 0, facts: Facts | None = None) -> None:
        self._speaker = Speaker(graph, seed, facts)
        self._graph, self._facts, self._rng = graph, self._speaker.facts, random.Random(f"questions {seed}")

    def counts(self, most: int = 6) -> Iterator[Question]:
        """How many there are of a sort, or of a colour."""
        for claim in self._speaker.counted(most):
            rendered = ask_how_many(claim.description, self._graph.viewpoint, self._style())
            yield self._question(rendered, number_word(claim.number), "count", self._facts.ids_of(claim.description))

    def attributes(self, most: int = 6) -> Iterator[Question]:
        """Which colour, size or state a thing has."""
        for claim in self._speaker.having(most):
            target = self._facts.referent(claim.subject)
            assert target is not None
            rendered = ask_which(claim.subject, claim.attribute, self._graph.viewpoint, self._style())
            yield self._question(rendered, claim.value, "attribute", (target,))

    def relations(self, most: int = 6) -> Iterator[Question]:
        """What stands so to a thing, where that is one thing alone: nothing else does, and nothing else may."""
        asked: set[tuple[str, Description]] = set()
        for claim in self._speaker.related(8 * most):
            if len(asked) == most or (claim.predicate, claim.object) in asked:
                continue
            target = self._facts.referent(Description(label=None, predicate=claim.predicate, anchor=claim.object))
            if target is None:
                continue
            asked.add((claim.predicate, claim.object))
            rendered = ask_what(claim.predicate, claim.object, self._graph.viewpoint, self._style())
            yield self._question(rendered, self._graph.node(target).label, "relation", (target,))

    def _question(self, rendered: Rendered, answer: str, kind: QuestionKind, ids: tuple[int, ...]) -> Question:
        spans = ground(rendered.marks, self._facts)
        return Question(text=rendered.text, answer=answer, kind=kind, spans=spans, ids=ids)

    def _style(self) -> int:
        return int(self._rng.random() * _STYLES)


def yes_no(pair: ContrastPair[Scene], graphs: tuple[SceneGraph, SceneGraph], style: int = 0) -> list[tuple[Scene, Question]]:
    """Four questions of a pair of scenes. Each text is answered by yes once and by no once.

    Args:
        pair: from `vla3d.scene_graphs.text.negatives`.
        graphs: of its first and second scene.
        style: chooses among paraphrases.

    Returns:
        Nothing for claims about two things at once, which make no good question.
    """
    claims = pair.first.positive.claim, pair.first.negative.claim
    if any(isinstance(claim, All) for claim in claims):
        return []
    found = []
    for contrast, graph in ((pair.first, graphs[0]), (pair.second, graphs[1])):
        facts = Facts(graph)
        for claim in claims:
            truth = check(claim, facts)
            assert truth in (TRUE, FALSE), "a pair is proved when it is made"
            rendered = ask(claim, graph.viewpoint, style)
            answer = "yes" if truth == TRUE else "no"
            question = Question(text=rendered.text, answer=answer, kind="yes_no", spans=ground(rendered.marks, facts))
            found.append((contrast.scene, question))
    return found
