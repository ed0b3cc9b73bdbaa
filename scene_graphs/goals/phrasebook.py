"""The phrasebook: which sentences ask for which goals. The inverse of sentences like our tasks', and no more than that."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from vla3d.scene_graphs.building.surfaces import TABLE_LABEL
from vla3d.scene_graphs.goals.goal import GRIPPER, Goal, Wish, all_goals
from vla3d.scene_graphs.goals.phrases import Pattern, fits, patterns_of, words_of
from vla3d.scene_graphs.goals.vocabulary import TARGET
from vla3d.scene_graphs.text.claims import Description, Has, Related

_SIDES = ("left_of", "right_of", "in_front_of", "behind")


def lifted(x: Description) -> Goal:
    """In the hand, and off the table."""
    off = Wish(claim=Related(subject=x, predicate="on", object=Description(label=TABLE_LABEL)), holds=False)
    return Goal(wishes=(_held(x, True), off))


def put_in(x: Description, y: Description, z: Description | None = None) -> Goal:
    """One thing, or two, in another and let go."""
    things = (x,) if z is None else (x, z)
    return all_goals(*(Goal(wishes=(_related(thing, "in", y), _held(thing, False))) for thing in things))


def put_on(x: Description, y: Description) -> Goal:
    """On another and let go; over its middle where both are of one kind. On a target, which is a place, it is moved there."""
    if y.label == TARGET:
        return moved_to(x, y)
    goal = Goal(wishes=(_related(x, "on", y), _held(x, False)))
    return all_goals(goal, Goal(wishes=_in_line(x, y))) if x.label == y.label else goal


def stacked(a: Description, b: Description, c: Description, d: Description | None = None) -> Goal:
    """A tower, from the bottom up."""
    tower = (a, b, c) if d is None else (a, b, c, d)
    return all_goals(*(put_on(upper, lower) for lower, upper in pairwise(tower)))


def moved_to(x: Description, y: Description) -> Goal:
    """At a place: near it, and to no side of its middle."""
    return Goal(wishes=(_related(x, "near", y), *_in_line(x, y)))


def opened(x: Description) -> Goal:
    """Open."""
    return Goal(wishes=(Wish(claim=Has(subject=x, attribute="state", value="open")),))


def closed(x: Description) -> Goal:
    """Closed."""
    return Goal(wishes=(Wish(claim=Has(subject=x, attribute="state", value="closed")),))


def reached(x: Description) -> Goal:
    """The hand is at it. A "target" for the hand is any thing: a ball, too."""
    return Goal(wishes=(_related(replace(x, label=None) if x.label == TARGET else x, "inside_gripper", GRIPPER),))


def _related(subject: Description, predicate: str, target: Description) -> Wish:
    return Wish(claim=Related(subject=subject, predicate=predicate, object=target))


def _held(x: Description, holds: bool) -> Wish:
    return replace(_related(x, "held_by", GRIPPER), holds=holds)


def _in_line(x: Description, y: Description) -> tuple[Wish, ...]:
    """Middle over middle: to no side by as much as a centimetre."""
    return tuple(replace(_related(x, side, y), holds=False) for side in _SIDES)


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """Sentences that ask for one kind of goal.

    Attributes:
        verb: what it is called in the documentation.
        goal: makes it of the slots' things.
        patterns: see `patterns_of`.
    """

    verb: str
    goal: Callable[..., Goal]
    patterns: tuple[str, ...]


_PUT = "(put|place|drop|move|store|set|lay|hide)"
_IN = "(in|into|inside|inside of)"
_ON = "(on|onto|on top of)"
_UP = "(|up|off the table|from the table|into the air)"
_TAKE = "(pick up|take|grasp|grab)"
_HAND = "(hand|gripper|fingers|fingertips)"

PHRASEBOOK: tuple[Phrase, ...] = (
    Phrase(
        verb="lift",
        goal=lifted,
        patterns=(
            f"(lift|raise|hoist|pick up|lift up) {{x}} {_UP}",
            "pick {x} up",
            f"{_TAKE} {{x}} and (lift|raise|hoist) it {_UP}",
            f"{_TAKE} {{x}} and hold it up",
            "let {x} hover above the table",
        ),
    ),
    Phrase(
        verb="put in",
        goal=put_in,
        patterns=(
            f"{_PUT} {{x}} {_IN} {{y}}",
            f"{{x}} belongs {_IN} {{y}}",
            f"{_TAKE} {{x}} and {_PUT} it {_IN} {{y}}",
            "{y} is where {x} should go",
            f"(open|pull out) {{y:drawer}} and {_PUT} {{x}} {_IN} it",
            "get {y:drawer} open then let {x} fall into it",
            f"{_PUT} (|both) {{x}} and {{z}} {_IN} {{y}}",
            f"{{x}} and {{z}} belong {_IN} {{y}}",
            f"{_TAKE} {{x}} and {{z}} and {_PUT} them {_IN} {{y}}",
            "{y} is where {x} and {z} should go",
            f"(open|pull out) {{y:drawer}} and {_PUT} {{x}} and {{z}} {_IN} it",
            "get {y:drawer} open then let {x} and {z} fall into it",
        ),
    ),
    Phrase(
        verb="put on",
        goal=put_on,
        patterns=(
            f"(put|place|set|lay|stack) {{x}} {_ON} {{y}}",
            f"{{x}} belongs {_ON} {{y}}",
            f"{_TAKE} {{x}} and (put|place|set|lay|stack) it {_ON} {{y}}",
        ),
    ),
    Phrase(
        verb="stack",
        goal=stacked,
        patterns=(
            f"(put|place|set|stack) {{b}} {_ON} {{a}} then (|put|add) {{c}} on top",
            f"(put|place|set|stack) {{b}} {_ON} {{a}} then (|put) {{c}} (on|on top of) {{b}}",
            f"(put|place|set|stack) {{b}} {_ON} {{a}} then add {{c}}",
            f"(put|place|set|stack) {{b}} {_ON} {{a}} and {{c}} (on|on top of) {{b}}",
            "build a tower with {a} at the bottom {b} in the middle and {c} on top",
            "make a stack of three {a} below then {b} then {c}",
            "pile up three blocks from the table upwards first {a} next {b} last {c}",
            "{c} belongs on {b} which belongs on {a}",
            f"(put|place|set|stack) {{b}} {_ON} {{a}} then {{c}} on top then {{d}}",
            f"(put|place|set|stack) {{b}} {_ON} {{a}} {{c}} on that and {{d}} on top",
            f"(put|place|set|stack) {{b}} {_ON} {{a}} then (|add) {{c}} and (|last) {{d}}",
            "build a tower with {a} at the bottom then {b} then {c} and {d} on top",
            "make a stack of four {a} below then {b} then {c} then {d}",
            "pile up four blocks from the table upwards first {a} next {b} then {c} last {d}",
            "{d} belongs on {c} that on {b} that on {a}",
        ),
    ),
    Phrase(
        verb="slide to",
        goal=moved_to,
        patterns=(
            "(slide|push|shove|nudge) {x} (|along the table) (to|onto|over to) {y}",
            "move {x} to {y} (|by pushing it)",
            "{x} belongs on {y} push it there",
            "(slide|push|shove|nudge) {x} until it covers {y}",
            "get {x} to {y}",
        ),
    ),
    Phrase(
        verb="open",
        goal=opened,
        patterns=(
            "(open|unshut|pull open|pull out|pull|slide out) {x:drawer}",
            "(pull|slide) {x:drawer} (open|out)",
            f"{_TAKE} {{x:drawer}} and pull the drawer (open|out)",
            "get {x:drawer} (open|out of the cabinet)",
        ),
    ),
    Phrase(
        verb="close",
        goal=closed,
        patterns=("(close|shut) {x:drawer}", "push {x:drawer} (shut|closed|in)"),
    ),
    Phrase(
        verb="reach",
        goal=reached,
        patterns=(
            "(reach|touch|go to|reach for) {x}",
            f"(move|bring|put) the {_HAND} (to|at) {{x}}",
            f"let the {_HAND} meet {{x}}",
            f"the {_HAND} should end up where {{x}} is",
        ),
    ),
)


@cache
def _patterns() -> tuple[tuple[Pattern, frozenset[str], Callable[..., Goal]], ...]:
    """Every pattern with the words that a sentence must have to fit it, and what it asks for."""
    return tuple(
        (pattern, frozenset(item for item in pattern if isinstance(item, str)), phrase.goal)
        for phrase in PHRASEBOOK
        for text in phrase.patterns
        for pattern in patterns_of(text)
    )


def read_goal(sentence: str) -> Goal | None:
    """The goal that a sentence asks for; None where the phrasebook has no such sentence, or it could be read in two ways."""
    words = words_of(sentence)
    said = frozenset(words)
    goals = {goal(**slots) for pattern, needed, goal in _patterns() if needed <= said for slots in fits(pattern, words)}
    return goals.pop() if len(goals) == 1 else None
