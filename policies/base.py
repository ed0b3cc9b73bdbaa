"""What every policy is: it sees an observation and answers with the next keyframe action. No torch here."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from vla3d.types import Answer, Expert, KeyframeAction, Observation

GRAPH_CONTROLS: tuple[str, ...] = ("none", "empty", "shuffled", "oracle")
"""What may be done to what a policy takes from its scene graph. ``none``: nothing. ``empty``: nothing is grounded.
``shuffled``: every probability is another thing's. ``oracle``: all is on what the privileged expert would act on next."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PolicyExplanation:
    """What a policy looked at for its last action, for pictures.

    Attributes:
        view_names: names of the V virtual views.
        views: rendered views of each of the L looks, RGB in [0, 1].
        heatmaps: probability over the pixels of each view of each look; every map sums to 1.
        positions: the 3D point each look settled on, world metres.
        pixel_maps: where each view of each look shows a world point: ``map @ [x, y, z, 1]`` is its pixel coordinate (x right,
            y down, pixel centres at half-integers); None when the policy does not tell.
        absence: probability that what the sentence asks for is not there; None when the policy does not tell.
        priors: where in each view of each look things stand that the policy took the sentence to mean, as probabilities; None
            when it grounds nothing.
    """

    view_names: tuple[str, ...]
    views: Float32[np.ndarray, "L V 3 R R"]
    heatmaps: Float32[np.ndarray, "L V R R"]
    positions: Float32[np.ndarray, "L 3"]
    pixel_maps: Float32[np.ndarray, "L V 2 4"] | None = None
    absence: float | None = None
    priors: Float32[np.ndarray, "L V R R"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What a policy answers to one observation.

    Attributes:
        action: the answer.
        explanation: what it looked at.
        verdict: what it concluded about its last keyframe, in words; None where it concludes nothing.
    """

    action: KeyframeAction
    explanation: PolicyExplanation | None
    verdict: str | None = None


class Policy(ABC):
    """A controller that decides one keyframe at a time.

    Attributes:
        mask_text: blind control; a policy that reads instructions must ignore them while this is set.
        graph_control: one of ``GRAPH_CONTROLS``; a policy that reads scene graphs must follow it.
    """

    mask_text: bool = False
    graph_control: str = "none"

    @property
    def reads_graph(self) -> bool:
        """Whether it reads scene graphs, so that ``graph_control`` means something."""
        return False

    @property
    def terminal_answers(self) -> tuple[str, ...]:
        """Answers other than a motion that it can give."""
        return ()

    def reset(self, seed: int, expert: Expert | None = None) -> None:  # noqa: B027 (most policies keep no state)
        """Begin an episode.

        Args:
            seed: source of all randomness in this episode.
            expert: the episode's privileged controller, offered to every policy; only baselines may use it.
        """

    @abstractmethod
    def act(self, observation: Observation) -> KeyframeAction:
        """The next action.

        Raises:
            ObservationError: when the observation lacks what the policy needs.
        """

    def verdict(self) -> str | None:
        """What the last ``act`` concluded about the keyframes before, in words; None from a policy that checks none."""
        return None

    def explain(self) -> PolicyExplanation | None:
        """What the last ``act`` looked at, or None when there is nothing to show."""
        return None


def terminal_answer(observation: Observation, answer: Answer) -> KeyframeAction:
    """An answer that ends the episode, given where the hand is."""
    return KeyframeAction(
        position=observation.gripper_position,
        quaternion=observation.gripper_quaternion,
        gripper_open=observation.gripper_open,
        answer=answer,
    )
