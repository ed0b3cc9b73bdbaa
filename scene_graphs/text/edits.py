"""Claims that differ from a true one in one thing, and are proved false."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from vla3d.scene_graphs.generator.catalog import COLORS, SIZES
from vla3d.scene_graphs.predicates.table import STATES
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE
from vla3d.scene_graphs.text.checker import check
from vla3d.scene_graphs.text.claims import ATTRIBUTES, All, Attribute, Claim, Count, Description, Exists, Has, Related
from vla3d.scene_graphs.text.describing import SPOKEN
from vla3d.scene_graphs.text.sentences import Speaker

EditKind = Literal["attribute", "relation", "swap", "object", "binding", "count"]
EDITS: tuple[str, ...] = get_args(EditKind)
"""Another attribute; another predicate; subject and object exchanged; another thing; attributes of two things exchanged;
another number."""

VALUES: dict[Attribute, tuple[str, ...]] = {"color": COLORS, "size": tuple(SIZES), "state": STATES}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A true claim, and one that differs from it in one thing and is false of the same graph."""

    kind: EditKind
    true: Claim
    false: Claim


def edits(speaker: Speaker, rng: random.Random, most: int = 12) -> Iterator[Edit]:
    """Edits of true claims about a graph, every one of them proved false; each claim gives several.

    Used as they are, they give themselves away by their words: sofas are not in bowls, so who reads "the sofa is in the bowl"
    need not look. `vla3d.scene_graphs.text.negatives` balances that.

    Args:
        speaker: of the graph.
        rng: chooses among edits.
        most: claims of a sort that are edited.
    """
    claims: list[Claim] = [*speaker.related(3 * most), *speaker.having(most), *speaker.existing(most), *speaker.counted(most)]
    claims += _pairs(speaker, rng, most)
    for claim in claims:
        if check(claim, speaker.facts) != TRUE:
            continue
        for kind, other in _variants(claim, speaker, rng):
            if other != claim and check(other, speaker.facts) == FALSE:
                yield Edit(kind=kind, true=claim, false=other)


def _pairs(speaker: Speaker, rng: random.Random, most: int) -> list[Claim]:
    """Two things with a colour each, and two numbers."""
    there = [claim for claim in speaker.existing(3 * most) if claim.description.color is not None]
    counted = [claim for claim in speaker.counted(3 * most) if not claim.description.attributes]
    found: list[Claim] = []
    for claims in (there, counted):
        for _ in range(most if len(claims) > 1 else 0):
            first, second = int(rng.random() * len(claims)), int(rng.random() * len(claims))
            if claims[first].description.label != claims[second].description.label:
                # In one order, so that scenes that say the same say it alike.
                pair = sorted((claims[first], claims[second]), key=lambda claim: str(claim.description.label))
                found.append(All(claims=tuple(pair)))
    return list(dict.fromkeys(found))


def _variants(claim: Claim, speaker: Speaker, rng: random.Random) -> Iterator[tuple[EditKind, Claim]]:
    if isinstance(claim, Exists):
        yield from (("attribute", Exists(description=d)) for d in _other_attributes(claim.description))
    elif isinstance(claim, Count):
        yield from (("count", replace(claim, number=n)) for n in (claim.number - 1, claim.number + 1) if n >= 1)
    elif isinstance(claim, Has):
        values = VALUES[claim.attribute]
        yield from (("attribute", replace(claim, value=value)) for value in values if value != claim.value)
    elif isinstance(claim, Related):
        yield "swap", Related(subject=claim.object, predicate=claim.predicate, object=claim.subject)
        yield from (("relation", replace(claim, predicate=other)) for other in SPOKEN if other != claim.predicate)
        yield from _other_things(claim, speaker, rng)
    elif isinstance(claim, All):
        yield from _pair_variants(claim)


def _pair_variants(claim: All) -> Iterator[tuple[EditKind, Claim]]:
    first, second = claim.claims
    if isinstance(first, Exists) and isinstance(second, Exists):
        one, two = first.description, second.description
        swapped = replace(one, color=two.color), replace(two, color=one.color)
        yield "binding", All(claims=tuple(Exists(description=d) for d in swapped))
    elif isinstance(first, Count) and isinstance(second, Count):
        for number in (second.number - 1, second.number + 1):
            if number >= 1:
                yield "count", All(claims=(first, replace(second, number=number)))


def _other_attributes(description: Description) -> Iterator[Description]:
    for name in ATTRIBUTES:
        value = getattr(description, name)
        if value is not None:
            for other in VALUES[name]:
                if other != value:
                    yield with_attribute(description, name, other)


def with_attribute(description: Description, name: Attribute, value: str) -> Description:
    """A description with another value of an attribute."""
    changes: dict[str, Any] = {name: value}
    return replace(description, **changes)


def _other_things(claim: Related, speaker: Speaker, rng: random.Random) -> Iterator[tuple[EditKind, Claim]]:
    """Another thing of the scene that has a name of its own, in the place of either."""
    named = [speaker.namer.shortest(node.id) for node in speaker.facts.graph.nodes if node.kind != "surface"]
    names = [d for d in named if d is not None and d not in (claim.subject, claim.object)]
    for other in sorted(names, key=lambda _: rng.random())[:4]:
        yield "object", replace(claim, subject=other)
        yield "object", replace(claim, object=other)
