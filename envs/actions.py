"""The check of an action that every environment makes before it moves anything."""

from dataclasses import replace

import numpy as np

from vla3d.errors import ConfigError
from vla3d.types import ANSWERS, KeyframeAction


def checked_action(action: KeyframeAction) -> KeyframeAction:
    """The action with a unit quaternion.

    Raises:
        ConfigError: a wrong shape, a number that is not finite, a zero quaternion, or an unknown answer.
    """
    position = np.asarray(action.position, dtype=np.float64)
    quaternion = np.asarray(action.quaternion, dtype=np.float64)
    for name, value, size in (("position", position, 3), ("quaternion", quaternion, 4)):
        if value.shape != (size,) or not np.isfinite(value).all():
            raise ConfigError(
                f"action.{name}: got {value.tolist()}, expected {size} finite numbers; check the policy's output."
            )
    norm = float(np.linalg.norm(quaternion))
    if norm < 1e-6:
        raise ConfigError(f"action.quaternion: got {quaternion.tolist()}, expected a rotation (wxyz, unit length).")
    if action.answer not in ANSWERS:
        raise ConfigError(f"action.answer: got {action.answer!r}, expected one of {', '.join(ANSWERS)}.")
    return replace(action, position=position, quaternion=quaternion / norm)
