"""How a policy is verified. Importing this loads no torch and no simulator."""

import math
from dataclasses import dataclass

from vla3d.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Whether and how keyframes are checked against the scene graph.

    Attributes:
        enabled: whether they are.
        retries: how often the policy begins anew after a keyframe that failed; then it answers ``cannot``.
        stuck: so many motions in a row that did not get where they were sent mean ``cannot``.
        tolerance: how far from its keyframe the hand may come to rest, metres.
        rise: how far the hand rises before a new beginning, metres.

    Raises:
        ConfigError: a number out of range.
    """

    enabled: bool = False
    retries: int = 2
    stuck: int = 3
    tolerance: float = 0.03
    rise: float = 0.10

    def __post_init__(self) -> None:
        for name, least in (("retries", 0), ("stuck", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"verify.{name}: got {value!r}, expected a whole number of at least {least}.")
        for name in ("tolerance", "rise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value < 1):
                raise ConfigError(f"verify.{name}: got {value!r}, expected metres, above 0 and below 1.")
