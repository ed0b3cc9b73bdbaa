"""Showing a stored demonstration as if it happened now; a policy may think along."""

from collections.abc import Sequence

from vla3d.data.keyframes import keyframes
from vla3d.data.samples import target_action
from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.results import EpisodeRecord
from vla3d.inspection.viewers import Audience
from vla3d.policies.base import Decision, Policy
from vla3d.types import Episode, Workspace


def demo_keyframes(episode: Episode) -> Sequence[int]:
    """The recorded keyframes; of an episode that was recorded elsewhere, those that its motion tells."""
    return keyframes(episode, "recorded") or keyframes(episode, "vla3d")


def demo_workspace(episode: Episode, default: Workspace) -> Workspace:
    """The box that the episode was recorded with.

    Args:
        episode: its metadata name the box when vla3d collected it.
        default: for an episode that tells nothing.
    """
    stored = episode.metadata.get("workspace")
    return default if stored is None else Workspace.from_bounds(stored["low"], stored["high"])


def show_demo(episode: Episode, number: int, audience: Audience, policy: Policy | None = None) -> None:
    """Play an episode to viewers.

    Args:
        episode: the demonstration.
        number: what its record is called.
        audience: the viewers.
        policy: thinks at every keyframe; it decides nothing.

    Raises:
        ObservationError: the policy cannot use what was recorded.
    """
    if policy is not None:
        policy.reset(episode.seed)
    first, last = episode.steps[0].observation, episode.steps[-1].observation
    said = Sentences(own=episode.instruction, scored=episode.instruction, shown=episode.instruction)
    audience.began(first, said)
    start = 0
    for keyframe in demo_keyframes(episode):
        seen, action = episode.steps[start].observation, target_action(episode.steps[keyframe], episode.steps[keyframe - 1])
        thought = None if policy is None else policy.act(seen)
        explanation = None if policy is None else policy.explain()
        audience.decided(seen, Decision(action=action, explanation=explanation), thought)
        for step in episode.steps[start + 1 : keyframe + 1]:
            audience.moved(step.observation, step.time)
        audience.carried_out(episode.steps[keyframe].observation, None)
        start = keyframe
    audience.ended(last, _record(episode, number))


def _record(episode: Episode, number: int) -> EpisodeRecord:
    return EpisodeRecord(
        task=episode.task,
        index=number,
        seed=episode.seed,
        variation=episode.variation,
        instruction=episode.instruction,
        shown=episode.instruction,
        success=episode.success,
        old_goal=episode.success,
        failure=None if episode.success else str(episode.metadata.get("failure", "not successful")),
        answer=None,
        actions=(),
        decision_seconds=0.0,
        seconds=0.0,
    )
