"""From a claim to words, and which words stand for what. Nothing here looks at a graph."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from vla3d.errors import DataError
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.text import words
from vla3d.scene_graphs.text.claims import All, Attribute, Claim, Count, Description, Exists, Has, Related, predicates_in

Role = Literal["object", "attribute", "predicate"]
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Words that stand for something.

    Attributes:
        start: position of their first character.
        end: position after their last one.
        role: a thing, one of its attributes, or a predicate.
        description: of the thing, or of the predicate's subject.
        predicate: its name.
        object: description of the predicate's object.
    """

    start: int
    end: int
    role: Role
    description: Description
    predicate: str | None = None
    object: Description | None = None


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Words, and what they stand for, in the order of their start."""

    text: str
    marks: tuple[Mark, ...]


class Writer:
    """Puts a text together and remembers what its words stand for.

    Args:
        viewpoint: whose left and right.
        style: chooses among ways to say the same; the same one gives the same words.
    """

    def __init__(self, viewpoint: Viewpoint, style: int) -> None:
        self._viewpoint, self._rng = viewpoint, random.Random(style)
        self._text, self._marks = "", []  # type: tuple[str, list[Mark]]

    def choose(self, ways: Sequence[str]) -> str:
        """One of several ways to say it."""
        return ways[int(self._rng.random() * len(ways))]

    def fill(self, pattern: str, slots: dict[str, Callable[[], None]], frame: bool) -> None:
        """Write a pattern, each slot by its own writer; the first letter becomes a capital.

        Args:
            pattern: with slots in braces.
            slots: what writes them.
            frame: whether it must be said from where one looks.
        """
        start, end = len(self._text), 0
        if "{Frame}" in pattern and not frame:
            pattern = pattern.replace("{Frame}", "")
        slots = {**slots, "frame": lambda: self._add(f", {self._seen_from()}" if frame else "")}
        slots["Frame"] = lambda: self._add(f"{self._seen_from()}, ")
        for slot in _SLOT.finditer(pattern):
            self._add(pattern[end : slot.start()])
            slots[slot.group(1)]()
            end = slot.end()
        self._add(pattern[end:])
        self._text = self._text[:start] + self._text[start : start + 1].upper() + self._text[start + 1 :]

    def space(self) -> None:
        """Between sentences."""
        self._add(" ")

    def thing(self, description: Description, determiner: str | None = None, many: bool = False) -> None:
        """A noun phrase, with its anchor.

        Args:
            description: of the thing.
            determiner: such as "the"; a fitting "a" or "an" by default; none if empty.
            many: whether the noun is in the plural.
        """
        start = len(self._text)
        values = [value for _, value in description.attributes]
        noun = description.label or "thing"
        noun = words.plural(noun) if many else noun
        if determiner is None:
            determiner = words.article([*values, noun][0])
        self._add(f"{determiner} " if determiner else "")
        marks = []
        for value in values:
            marks.append(
                Mark(start=len(self._text), end=len(self._text) + len(value), role="attribute", description=description)
            )
            self._add(f"{value} ")
        self._add(noun)
        self._marks += [Mark(start=start, end=len(self._text), role="object", description=description), *marks]
        if description.predicate is not None and description.anchor is not None:
            self._add(" that are " if many else self.choose((" ", " that is ")))
            self._add("just " if description.near else "")
            self.predicate(description, description.predicate, description.anchor)
            self._add(" ")
            self.thing(description.anchor, "the")

    def predicate(self, subject: Description, name: str, target: Description) -> None:
        """A predicate in one of its ways."""
        start = len(self._text)
        self._add(self.choose(words.PHRASES[name]))
        self._marks.append(
            Mark(start=start, end=len(self._text), role="predicate", description=subject, predicate=name, object=target)
        )

    def value(self, subject: Description, value: str) -> None:
        """An attribute that is claimed."""
        start = len(self._text)
        self._add(value)
        self._marks.append(Mark(start=start, end=len(self._text), role="attribute", description=subject))

    def number(self, count: Count) -> None:
        """So many of them."""
        self.thing(count.description, words.number_word(count.number), many=count.number != 1)

    def word(self, text: str) -> None:
        """Plain words."""
        self._add(text)

    def done(self) -> Rendered:
        """What was written."""
        return Rendered(text=self._text, marks=tuple(sorted(self._marks, key=lambda mark: (mark.start, -mark.end))))

    def _seen_from(self) -> str:
        return f"seen from the {self._viewpoint.name}"

    def _add(self, text: str) -> None:
        self._text += text


def say(claim: Claim, viewpoint: Viewpoint, style: int = 0) -> Rendered:
    """A claim as a statement.

    Args:
        claim: what to say.
        viewpoint: whose left and right.
        style: chooses among paraphrases.

    Raises:
        DataError: something that is no claim.
    """
    writer = Writer(viewpoint, style)
    _say(writer, claim)
    return writer.done()


def ask(claim: Claim, viewpoint: Viewpoint, style: int = 0) -> Rendered:
    """A claim as a question that is answered by yes or no.

    Args:
        claim: what to ask; not several at once.
        viewpoint: whose left and right.
        style: chooses among paraphrases.

    Raises:
        DataError: something that is no single claim.
    """
    writer, frame = Writer(viewpoint, style), bool(predicates_in(claim) & words.FRAMED)
    if isinstance(claim, Exists):
        patterns: Sequence[str] = words.ASK_EXISTS
    elif isinstance(claim, Count):
        patterns = words.ASK_COUNT
    elif isinstance(claim, Has):
        patterns = words.ASK_HAS
    elif isinstance(claim, Related):
        patterns = words.ASK_RELATED
    else:
        raise DataError(f"ask: got {claim!r}, expected a single claim.")
    writer.fill(writer.choose(patterns), _slots(writer, claim), frame)
    return writer.done()


def name(description: Description, viewpoint: Viewpoint, style: int = 0, *, definite: bool = False) -> Rendered:
    """A description as a noun phrase: "a small red box", "the red box left of the cup, seen from the door".

    Args:
        description: of a thing.
        viewpoint: whose left and right.
        style: chooses among paraphrases.
        definite: whether it is "the".
    """
    writer = Writer(viewpoint, style)
    writer.thing(description, "the" if definite else None)
    if predicates_in(description) & words.FRAMED:
        writer.word(f", seen from the {viewpoint.name}")
    return writer.done()


def ask_how_many(description: Description, viewpoint: Viewpoint, style: int = 0) -> Rendered:
    """ "How many red cups are there?" """
    writer, frame = Writer(viewpoint, style), bool(predicates_in(description) & words.FRAMED)
    writer.fill(writer.choose(words.ASK_HOW_MANY), {"plural": lambda: writer.thing(description, "", many=True)}, frame)
    return writer.done()


def ask_which(description: Description, attribute: Attribute, viewpoint: Viewpoint, style: int = 0) -> Rendered:
    """ "What colour is the cup on the table?" """
    writer, frame = Writer(viewpoint, style), bool(predicates_in(description) & words.FRAMED)
    writer.fill(writer.choose(words.ASK_WHICH[attribute]), {"s": lambda: writer.thing(description, "the")}, frame)
    return writer.done()


def ask_what(predicate: str, anchor: Description, viewpoint: Viewpoint, style: int = 0) -> Rendered:
    """ "What is on the red box?" """
    writer = Writer(viewpoint, style)
    subject = Description(label=None, predicate=predicate, anchor=anchor)
    slots = {"p": lambda: writer.predicate(subject, predicate, anchor), "o": lambda: writer.thing(anchor, "the")}
    writer.fill(writer.choose(words.ASK_WHAT), slots, bool(predicates_in(subject) & words.FRAMED))
    return writer.done()


def _say(writer: Writer, claim: Claim) -> None:
    frame = bool(predicates_in(claim) & words.FRAMED)
    if isinstance(claim, All):
        _say_all(writer, claim, frame)
        return
    if isinstance(claim, Exists):
        patterns: Sequence[str] = words.EXISTS
    elif isinstance(claim, Count):
        patterns = words.COUNT
    elif isinstance(claim, Has):
        patterns = words.HAS[claim.attribute]
    elif isinstance(claim, Related):
        patterns = words.RELATED
    else:
        raise DataError(f"say: got {claim!r}, expected a claim.")
    writer.fill(writer.choose(patterns), _slots(writer, claim), frame)


def _say_all(writer: Writer, claim: All, frame: bool) -> None:
    """Two of a sort share a sentence; else each claim has its own."""
    parts = claim.claims
    if len(parts) == 2 and all(isinstance(part, Exists) for part in parts):
        first, second = (_slots(writer, part) for part in parts)
        writer.fill(writer.choose(words.BOTH_EXIST), {"a": first["a"], "b": second["a"]}, frame)
        return
    if len(parts) == 2 and all(isinstance(part, Count) for part in parts):
        first, second = (_slots(writer, part) for part in parts)
        writer.fill(writer.choose(words.BOTH_COUNT), {**first, "those": second["these"]}, frame)
        return
    for number, part in enumerate(parts):
        if number:
            writer.space()
        _say(writer, part)


def _slots(writer: Writer, claim: Claim) -> dict[str, Callable[[], None]]:
    """What writes the slots of a single claim's patterns."""
    if isinstance(claim, Exists):
        return {"a": lambda: writer.thing(claim.description)}
    if isinstance(claim, Count):
        verb = "is" if claim.number == 1 else "are"
        return {
            "these": lambda: writer.number(claim),
            "are": lambda: writer.word(verb),
            "Are": lambda: writer.word(verb),
        }
    if isinstance(claim, Has):
        return {
            "s": lambda: writer.thing(claim.subject, "the"),
            "value": lambda: writer.value(claim.subject, claim.value),
        }
    assert isinstance(claim, Related)
    return {
        "s": lambda: writer.thing(claim.subject, "the"),
        "p": lambda: writer.predicate(claim.subject, claim.predicate, claim.object),
        "o": lambda: writer.thing(claim.object, "the"),
    }
