"""A goal: what must hold of a scene graph afterwards, over described things, and whether it does, in three values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vla3d.scene_graphs.building.gripper import GRIPPER_LABEL
from vla3d.scene_graphs.goals.vocabulary import DRAWER, in_plain_words
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates.table import PREDICATES
from vla3d.scene_graphs.predicates.tolerances import Band, Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.text.checker import Facts
from vla3d.scene_graphs.text.claims import Description, Has, Related
from vla3d.scene_graphs.text.render import name

GRIPPER = Description(label=GRIPPER_LABEL)

GOAL_TOLERANCES = Tolerances(opened=Band(0.80, 0.60, "%"))
"""Bands of the predicates as goals mean them: who asks for an open drawer does not mean one that is ajar."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One thing that must be so, or must not be so.

    Attributes:
        claim: about described things.
        holds: whether it must be true; otherwise it must be false.
    """

    claim: Has | Related
    holds: bool = True

    @property
    def things(self) -> tuple[Description, ...]:
        """What it is about, subject first."""
        return (self.claim.subject, self.claim.object) if isinstance(self.claim, Related) else (self.claim.subject,)

    def words(self) -> str:
        """In words: "the red block is in the box"."""
        subject = called(self.claim.subject)
        if isinstance(self.claim, Has):
            return f"{subject} is {'' if self.holds else 'not '}{self.claim.value}"
        said = PREDICATES[self.claim.predicate].words
        return f"{subject} {said if self.holds else said.replace('is ', 'is not ', 1)} {called(self.claim.object)}"


def called(description: Description) -> str:
    """A described thing in words: "the red block"."""
    return "the hand" if description == GRIPPER else name(description, Viewpoint(), definite=True).text.split(", seen")[0]


def facts_of(graph: SceneGraph) -> Facts:
    """What is true of a graph, in the words and with the tolerances of goals."""
    return Facts(in_plain_words(graph), GOAL_TOLERANCES)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a sentence asks for. Its wishes are about things as they were described when it was said."""

    wishes: tuple[Wish, ...]

    @property
    def things(self) -> tuple[Description, ...]:
        """Every described thing but the hand, in the order in which the wishes name them."""
        named = (thing for wish in self.wishes for thing in wish.things if thing != GRIPPER)
        return tuple(dict.fromkeys(named))

    @property
    def handled(self) -> tuple[Description, ...]:
        """What the hand closes on to get there: what is held or set down, and drawers that open; empty for what is pushed."""
        return tuple(dict.fromkeys(thing for wish in self.wishes for thing in _handled(wish)))

    def missing(self, graph: SceneGraph) -> tuple[Description, ...]:
        """Described things of which the graph certainly has none. What could be one, because something of it is unknown or
        within a tolerance, is not missing."""
        facts = facts_of(graph)
        return tuple(thing for thing in self.things if facts.members(thing).max(initial=FALSE) == FALSE)

    def bind(self, graph: SceneGraph) -> "BoundGoal":
        """Which nodes are meant, told now and remembered: a cube that was lifted is not left of the box any more."""
        facts = facts_of(graph)
        ids = np.array(graph.ids, dtype=np.int64)
        meant = {thing: tuple(ids[facts.members(thing) != FALSE].tolist()) for thing in (*self.things, GRIPPER)}
        return BoundGoal(goal=self, meant=meant)


def _handled(wish: Wish) -> tuple[Description, ...]:
    claim = wish.claim
    if isinstance(claim, Has):
        return (claim.subject,) if claim.value == "open" else ()
    if claim.predicate == "held_by":
        return (claim.subject,)
    return (claim.object,) if claim.predicate == "in" and claim.object.label == DRAWER else ()


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundGoal:
    """A goal in one scene.

    Attributes:
        goal: what was asked for.
        meant: for each described thing every node that it may mean; one, unless the sentence or the scene leaves it open.
    """

    goal: Goal
    meant: Mapping[Description, tuple[int, ...]]

    def holds(self, graph: SceneGraph) -> int:
        """Whether all that was asked for is so: true (1), false (-1) or undecided (0)."""
        facts = facts_of(graph)
        return min(self.truth(wish, facts) for wish in self.goal.wishes)

    def expected_delta(self, graph: SceneGraph) -> tuple[Wish, ...]:
        """Wishes that do not certainly hold yet: the change that is still to come."""
        facts = facts_of(graph)
        return tuple(wish for wish in self.goal.wishes if self.truth(wish, facts) != TRUE)

    def ids(self, things: Iterable[Description]) -> frozenset[int]:
        """All nodes that the things may mean."""
        return frozenset().union(*(self.meant[thing] for thing in things))

    def about(self, node_id: int) -> tuple[Wish, ...]:
        """Wishes whose subject is surely this node."""
        return tuple(wish for wish in self.goal.wishes if self.meant[wish.claim.subject] == (node_id,))

    def truth(self, wish: Wish, facts: Facts) -> int:
        """Whether a wish has come true.

        True where it has for every node that may be meant, false where it has for none; undecided between, and where a thing
        is out of sight.

        Args:
            wish: one of the goal's.
            facts: `facts_of` the graph.
        """
        rows = {node_id: row for row, node_id in enumerate(facts.graph.ids)}
        meant = [self.meant[thing] for thing in wish.things]
        if not all(meant):
            return FALSE if wish.holds else TRUE  # there is none
        if any(node_id not in rows for ids in meant for node_id in ids):
            return UNDECIDED
        subjects, *others = ([rows[node_id] for node_id in ids] for ids in meant)
        claim = wish.claim
        if isinstance(claim, Has):
            found = facts.attribute(claim.attribute, claim.value)[subjects]
        else:
            found = facts.relation(claim.predicate)[np.ix_(subjects, others[0])]
        found = found if wish.holds else -found
        return TRUE if found.min() == TRUE else FALSE if found.max() == FALSE else UNDECIDED


def all_goals(*goals: Goal) -> Goal:
    """All of them at once, each wish named once."""
    return Goal(wishes=tuple(dict.fromkeys(wish for goal in goals for wish in goal.wishes)))
