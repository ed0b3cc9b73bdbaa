"""True sentences about a graph: of single things, that refer to one, of relations, attributes and counts, of the whole."""

import random
from collections.abc import Iterator

from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates.truth import TRUE
from vla3d.scene_graphs.text.checker import Facts, check
from vla3d.scene_graphs.text.claims import All, Claim, Count, Description, Exists, Has, Related
from vla3d.scene_graphs.text.describing import Namer, attributes_of, can_be_named, plain_descriptions, shuffled
from vla3d.scene_graphs.text.render import name, say
from vla3d.scene_graphs.text.sentence import Sentence, sentence

_STYLES = 2**31


class Speaker:
    """Says true things about a graph. Everything it says has been checked.

    Args:
        graph: what to speak of.
        seed: the same one gives the same sentences.
        facts: of the graph, where they are there already.
    """

    def __init__(self, graph: SceneGraph, seed: int = 0, facts: Facts | None = None) -> None:
        self.facts = facts or Facts(graph)
        self.namer = Namer(self.facts)
        self._graph, self._rng = graph, random.Random(seed)

    def objects(self) -> Iterator[Sentence]:
        """A noun phrase for each thing: "a small red box". Others may fit it as well."""
        for node in self._graph.nodes:
            if can_be_named(node) and node.kind != "surface":
                choices = list(plain_descriptions(node))
                description = choices[int(self._rng.random() * len(choices))]
                yield self._phrase(description, "object", node.id, definite=False)

    def references(self, per_object: int = 2) -> Iterator[Sentence]:
        """Phrases that fit one thing alone: "the red box", "the cup left of the bowl, seen from the door".

        Args:
            per_object: how many for each thing at most, half of them with an anchor where there are such.
        """
        for node in self._graph.nodes:
            if not can_be_named(node) or node.kind == "surface":
                continue
            plain = list(self.namer.plain(node.id))
            anchored = self.namer.by_anchor(node.id, self._rng, most=per_object)
            wanted = plain[: max(per_object - len(anchored), (per_object + 1) // 2)]
            for description in (*wanted, *anchored)[:per_object]:
                yield self._phrase(description, "reference", node.id, definite=True)

    def relations(self, most: int = 10) -> Iterator[Sentence]:
        """Sentences about how two things stand to each other, each predicate as often as there are edges to choose from."""
        for claim in self.related(most):
            yield self.say(claim, "relation", self.facts.referent(claim.subject))

    def attributes(self, most: int = 10) -> Iterator[Sentence]:
        """Sentences about an attribute of one thing: "The cup on the table is red."."""
        for claim in self.having(most):
            yield self.say(claim, "attribute", self.facts.referent(claim.subject))

    def counts(self, most: int = 10) -> Iterator[Sentence]:
        """Sentences about how many things there are."""
        for claim in self.counted(most):
            yield self.say(claim, "count")

    def summary(self, relations: int = 3) -> Sentence:
        """A few sentences about the whole: how many of each thing, and how some of them stand."""
        labels = sorted({node.label for node in self._graph.nodes if can_be_named(node) and node.kind == "object"})
        counts: list[Claim] = []
        for label in labels:
            description = Description(label=label)
            claim = Count(description=description, number=len(self.facts.ids_of(description)))
            counts += [claim] if check(claim, self.facts) == TRUE else []
        pairs = [All(claims=tuple(counts[first : first + 2])) for first in range(0, len(counts), 2)]
        return self.say(All(claims=(*pairs, *self.related(relations))), "summary")

    def related(self, most: int) -> list[Related]:
        """True claims about two things that each have a name of their own."""
        found: list[Related] = []
        for edge in shuffled(self.namer.edges, self._rng):
            if len(found) == most:
                break
            subject, target = self.namer.shortest(edge.subject), self.namer.shortest(edge.object)
            if subject is None or target is None:
                continue
            claim = Related(subject=subject, predicate=edge.predicate, object=target)
            if check(claim, self.facts) == TRUE:
                found.append(claim)
        return found

    def having(self, most: int) -> list[Has]:
        """True claims about an attribute of a thing that has a name without it."""
        found: list[Has] = []
        for node in sorted(self._graph.nodes, key=lambda _: self._rng.random()):
            if not can_be_named(node):
                continue
            for attribute, value in attributes_of(node).items():
                names = list(self.namer.plain(node.id)) or self.namer.by_anchor(node.id, self._rng)
                # A name that gives the attribute away is none: "the cup of the same colour as the red box is red".
                names = [d for d in names if getattr(d, attribute) is None and d.predicate != "same_colour"]
                if names and len(found) < most:
                    found.append(Has(subject=names[0], attribute=attribute, value=value))
        return [claim for claim in found if check(claim, self.facts) == TRUE]

    def existing(self, most: int) -> list[Exists]:
        """True claims that something with an attribute exists."""
        nodes = [node for node in self._graph.nodes if can_be_named(node) and node.kind != "surface"]
        found = []
        for node in sorted(nodes, key=lambda _: self._rng.random())[:most]:
            choices = [d for d in plain_descriptions(node) if len(d.attributes) == 1]
            if choices:
                found.append(Exists(description=choices[int(self._rng.random() * len(choices))]))
        return list(dict.fromkeys(found))

    def counted(self, most: int) -> list[Count]:
        """True claims about how many things of a sort there are, or of one colour."""
        nodes = [node for node in self._graph.nodes if can_be_named(node) and node.kind != "surface"]
        sorts = dict.fromkeys(
            d for node in nodes for d in (Description(label=node.label), Description(label=node.label, color=node.color))
        )
        claims = [Count(description=sort, number=len(self.facts.ids_of(sort))) for sort in sorts]
        claims = [claim for claim in claims if check(claim, self.facts) == TRUE]
        return sorted(claims, key=lambda _: self._rng.random())[:most]

    def say(self, claim: Claim, kind: str, target: int | None = None, style: int | None = None) -> Sentence:
        """A claim in words.

        Args:
            claim: what to say; it need not be true.
            kind: see `Sentence`.
            target: id of the node that it is about.
            style: chooses among paraphrases; drawn by default.
        """
        style = self._style() if style is None else style
        return sentence(say(claim, self._graph.viewpoint, style), self.facts, kind=kind, claim=claim, target=target)

    def _phrase(self, description: Description, kind: str, target: int, definite: bool) -> Sentence:
        rendered = name(description, self._graph.viewpoint, self._style(), definite=definite)
        return sentence(rendered, self.facts, kind=kind, claim=Exists(description=description), target=target)

    def _style(self) -> int:
        return int(self._rng.random() * _STYLES)
