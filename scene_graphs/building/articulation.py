"""How far a part that slides out of a whole is open, told from the boxes of both."""

import math
from dataclasses import dataclass

import numpy as np

from vla3d.errors import ConfigError
from vla3d.scene_graphs.shapes.boxes import OrientedBox

_LEVEL_AXES = 2


@dataclass(frozen=True, kw_only=True)
class Slide:
    """A kind of part that slides out level, like a drawer.

    Attributes:
        closed: how far it sticks out of the whole when it is shut, handle included, metres.
        travel: how much farther when it is fully open, metres.

    Raises:
        ConfigError: a number that cannot be right.
    """

    closed: float
    travel: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.closed) and math.isfinite(self.travel) and self.travel > 0):
            raise ConfigError(f"Slide: got closed {self.closed} and travel {self.travel}, expected metres, travel above 0.")


def opening_of(part: OrientedBox, whole: OrientedBox, slide: Slide) -> float:
    """Opening of a part, from 0 (shut) to 1 (fully open).

    It slides along the level axis of the whole along which it sticks out farthest.

    Args:
        part: what slides.
        whole: what it slides out of.
        slide: how far it sticks out when shut and when open.
    """
    local = (part.corners - whole.center) @ whole.rotation
    level = np.argsort(np.abs(whole.rotation[2]))[:_LEVEL_AXES]
    sticks_out = max(float((np.abs(side) - whole.size[level] / 2).max()) for side in (local.max(0)[level], local.min(0)[level]))
    return float(np.clip((sticks_out - slide.closed) / slide.travel, 0.0, 1.0))
