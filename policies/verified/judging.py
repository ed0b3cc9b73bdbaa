"""Did the keyframe do what it was meant to do? What is expected of it, compared with what the scene graph shows afterwards."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vla3d.policies.verified.watching import Sight
from vla3d.scene_graphs.goals.goal import BoundGoal
from vla3d.scene_graphs.predicates.truth import FALSE
from vla3d.types import KeyframeAction, Observation

Outcome = Literal["fine", "stuck", "failed"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a keyframe.

    Attributes:
        outcome: ``"stuck"`` when the hand is not where it was sent; ``"failed"`` when it is, and what the keyframe was for
            certainly did not come about.
        words: what was seen.
    """

    outcome: Outcome
    words: str


def judge(sent: KeyframeAction, seen: Observation, before: Sight, after: Sight, goal: BoundGoal, tolerance: float) -> Verdict:
    """Judge the last keyframe. Only what is certain counts against it.

    Args:
        sent: the keyframe.
        seen: the observation after it.
        before: the scene when it was decided.
        after: the scene now.
        goal: what was asked for.
        tolerance: how far from the keyframe the hand may be, metres.
    """
    away = float(np.linalg.norm(seen.gripper_position - sent.position))
    if away > tolerance:
        return Verdict(outcome="stuck", words=f"the hand is {100 * away:.0f} cm from where it was sent")
    if sent.gripper_open:
        return _released(before, after, goal)
    return _gripped(before, after, goal)


def _gripped(before: Sight, after: Sight, goal: BoundGoal) -> Verdict:
    """A closed hand holds one of the things that the goal makes it hold; where it makes it hold nothing, all is fine."""
    wanted = goal.ids(goal.goal.handled)
    if not wanted:
        return Verdict(outcome="fine", words="the hand is where it was sent")
    if after.held & wanted:
        return Verdict(outcome="fine", words=f"holds {after.called(after.held & wanted)}")
    if after.empty_handed:
        lost = before.held & wanted
        return Verdict(outcome="failed", words=f"lost {after.called(lost)}" if lost else "the hand closed on nothing")
    if after.held and not after.perhaps_held & wanted:
        return Verdict(outcome="failed", words=f"holds {after.called(after.held)}, which was not asked for")
    return Verdict(outcome="fine", words="what the hand holds cannot be told")


def _released(before: Sight, after: Sight, goal: BoundGoal) -> Verdict:
    """What was let go is as the goal wants it."""
    for node_id in sorted(before.held):
        for wish in goal.about(node_id):
            if goal.truth(wish, after.facts) == FALSE:
                thing = after.called(frozenset({node_id}))
                return Verdict(outcome="failed", words=f"let go of {thing}, and it is not so that {wish.words()}")
    if before.held:
        return Verdict(outcome="fine", words=f"let go of {after.called(before.held)}")
    return Verdict(outcome="fine", words="the hand is where it was sent")
