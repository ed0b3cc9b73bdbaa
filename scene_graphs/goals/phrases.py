"""Noun phrases and patterns: every way in which a pattern fits a sentence, and which things its slots then describe.

A noun phrase is a determiner, adjectives, a noun, and where the thing is: "the small red block left of the drawer". The noun
may be "one", or be left out after a colour; it is then that of the phrase before.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from vla3d.scene_graphs.goals.vocabulary import ADJECTIVES, DETERMINERS, DRAWER, NOUNS, PLACES, PRONOUN, RELATIVES
from vla3d.scene_graphs.text.claims import Description

Words = tuple[str, ...]
Slots = Mapping[str, Description]
_LONGEST_NOUN = 2
_CHOICE = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place in a pattern for a noun phrase.

    Attributes:
        name: of the slot; two of one name must describe the same.
        label: what the thing must be; None for anything.
    """

    name: str
    label: str | None = None


Pattern = tuple[str | Slot, ...]


def words_of(sentence: str) -> Words:
    """Its words in small letters, without punctuation."""
    return tuple(re.findall(r"[a-z0-9]+", sentence.lower()))


def patterns_of(text: str) -> tuple[Pattern, ...]:
    """Patterns written as one: ``(lift|pick up) {x} (|off the table)``; ``{y:drawer}`` takes nothing but drawers."""
    parts = _CHOICE.split(text)
    choices = [part.split("|") if place % 2 else [part] for place, part in enumerate(parts)]
    return tuple(tuple(_item(word) for word in "".join(chosen).split()) for chosen in product(*choices))


def _item(word: str) -> str | Slot:
    if not word.startswith("{"):
        return word
    slot, _, label = word.strip("{}").partition(":")
    return Slot(name=slot, label=label or None)


def fits(pattern: Pattern, words: Words) -> Iterator[Slots]:
    """Every way in which a pattern takes all of the words."""
    return _fits(pattern, words, {}, None)


def _fits(pattern: Pattern, words: Words, found: Slots, before: Description | None) -> Iterator[Slots]:
    if not pattern:
        if not words:
            yield found
        return
    first, rest = pattern[0], pattern[1:]
    if isinstance(first, str):
        if words[:1] == (first,):
            yield from _fits(rest, words[1:], found, before)
        return
    for thing, left in noun_phrases(words, before):
        if first.label in (None, thing.label) and found.get(first.name, thing) == thing:
            yield from _fits(rest, left, {**found, first.name: thing}, thing)


def noun_phrases(words: Words, before: Description | None = None) -> Iterator[tuple[Description, Words]]:
    """Every noun phrase with which the words begin, and the words after it.

    Args:
        words: of a sentence, from somewhere on.
        before: the thing that was described last.
    """
    rest = words[1:] if words[:1] and words[0] in DETERMINERS else words
    values: dict[str, str] = {}
    while rest and rest[0] in ADJECTIVES and ADJECTIVES[rest[0]][0] not in values:
        attribute, value = ADJECTIVES[rest[0]]
        values[attribute], rest = value, rest[1:]
    for label, after in _nouns(rest, before, elided="color" in values):
        yield from _placed(Description(label=label, **values), after)  # type: ignore[arg-type]


def _nouns(words: Words, before: Description | None, elided: bool) -> Iterator[tuple[str | None, Words]]:
    """What the noun means, or the thing before where there is a pronoun or, after a colour, nothing."""
    for length in range(1, _LONGEST_NOUN + 1):
        noun = " ".join(words[:length])
        if len(words) >= length and noun in NOUNS:
            yield NOUNS[noun], words[length:]
    said_before = None if before is None else before.label
    if before is not None and words[:1] == (PRONOUN,):
        yield said_before, words[1:]
    if elided:
        yield said_before, words


def _placed(thing: Description, words: Words) -> Iterator[tuple[Description, Words]]:
    """The thing as it stands, and with what is said behind its noun: a colour, or where it is."""
    yield thing, words
    color, after = _color_behind(thing, words)
    if color is not None:
        yield from _placed(replace(thing, color=color), after)
    for relative, just, (place, predicate) in product(RELATIVES, ((), ("just",)), PLACES.items()):
        said = (*relative, *just, *place)
        if words[: len(said)] != said:
            continue
        for anchor, rest in noun_phrases(words[len(said) :], thing):
            there = replace(thing, predicate=predicate, anchor=anchor, near=bool(just))
            yield there, rest
            if predicate == "near":
                yield from _on_a_side(there, rest)


def _on_a_side(thing: Description, words: Words) -> Iterator[tuple[Description, Words]]:
    """A thing near another one, and on which side of it: "next to the box, left of it"."""
    for place, predicate in PLACES.items():
        said = (*place, "it")
        if words[: len(said)] == said:
            yield replace(thing, predicate=predicate, near=True), words[len(said) :]


def _color_behind(thing: Description, words: Words) -> tuple[str | None, Words]:
    """The colour in "that is red", or of a drawer in "with the red handle", and the words after it."""
    behind = (("that", "is"), ()), *(((("with", "the"), ("handle",)),) if thing.label == DRAWER else ())
    for opening, closing in behind:
        color, after = words[len(opening) : len(opening) + 1], words[len(opening) + 1 :]
        said = words[: len(opening)] == opening and after[: len(closing)] == closing
        if said and thing.color is None and color and ADJECTIVES.get(color[0], ("", ""))[0] == "color":
            return ADJECTIVES[color[0]][1], after[len(closing) :]
    return None, words
