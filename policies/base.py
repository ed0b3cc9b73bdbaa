"""What every policy is: it sees an observation and answers with the next keyframe action. No torch here."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from vla3d.types import Expert, KeyframeAction, Observation


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
    """

    view_names: tuple[str, ...]
    views: Float32[np.ndarray, "L V 3 R R"]
    heatmaps: Float32[np.ndarray, "L V R R"]
    positions: Float32[np.ndarray, "L 3"]
    pixel_maps: Float32[np.ndarray, "L V 2 4"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """What a policy answers to one observation, and what it looked at."""

    action: KeyframeAction
    explanation: PolicyExplanation | None


class Policy(ABC):
    """A controller that decides one keyframe at a time.

    Attributes:
        mask_text: blind control; a policy that reads instructions must ignore them while this is set.
    """

    mask_text: bool = False

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
