"""Controls of what a policy takes from its scene graph, so that a claim about the graph can fail."""

import numpy as np
import torch

from vla3d.errors import ConfigError, unknown_name
from vla3d.policies.base import GRAPH_CONTROLS
from vla3d.policies.grounding.grounder import Grounding
from vla3d.policies.grounding.scenes import SeenScenes
from vla3d.policies.grounding.targets import target_slots
from vla3d.types import Expert


def controlled(
    control: str, grounding: Grounding, scenes: SeenScenes, *, seed: int, expert: Expert | None, reach: float
) -> Grounding:
    """What is taken for grounded under a control.

    Args:
        control: one of ``vla3d.policies.base.GRAPH_CONTROLS``.
        grounding: what was grounded.
        scenes: where.
        seed: of the episode, for ``shuffled``.
        expert: the episode's, for ``oracle``.
        reach: see `GraphRouteConfig.reach`.

    Raises:
        ConfigError: an unknown control, or ``oracle`` without an expert.
    """
    if control not in GRAPH_CONTROLS:
        raise unknown_name("graph control", control, GRAPH_CONTROLS)
    if control == "empty":
        return emptied(grounding)
    if control == "shuffled":
        return shuffled(grounding, scenes, seed)
    return oracle(scenes, expert, reach) if control == "oracle" else grounding


def emptied(grounding: Grounding) -> Grounding:
    """Nothing is grounded, as in training samples without their graph."""
    return grounding.kept(torch.zeros_like(grounding.nothing, dtype=torch.bool))


def shuffled(grounding: Grounding, scenes: SeenScenes, seed: int) -> Grounding:
    """Every probability at another thing of its scene, by a seed; "none of them" keeps its own.

    The same seed and number of things give the same exchange. With two things or more no probability stays where it was.
    """
    things = grounding.things.clone()
    for row, there in enumerate(scenes.things):
        (slots,) = there.nonzero(as_tuple=True)
        ring = slots[torch.from_numpy(np.random.default_rng(seed).permutation(len(slots))).to(slots.device)]
        things[row, ring] = grounding.things[row, ring.roll(1)]
    return Grounding(things=things, nothing=grounding.nothing)


def oracle(scenes: SeenScenes, expert: Expert | None, reach: float) -> Grounding:
    """All on the box nearest to where the privileged expert would go next; on "none of them" where it would say "absent".

    Args:
        scenes: one, of the running episode.
        expert: the episode's.
        reach: metres; see `GraphRouteConfig.reach`. Where no box is within, nothing is grounded.

    Raises:
        ConfigError: without an expert.
    """
    if expert is None:
        raise ConfigError("graph=oracle: got an episode without an expert, expected one whose next action tells what is meant.")
    action = expert.next_action()
    position = torch.as_tensor(action.position, dtype=torch.float32, device=scenes.things.device)[None]
    slots = target_slots(scenes, position, torch.tensor([action.answer == "absent"], device=position.device), reach)
    return Grounding.certain(slots, scenes.things.shape[1])
