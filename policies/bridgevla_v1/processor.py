"""What training sees of a scene: also points that only the augmentation moves into the workspace."""

import math

import numpy as np

from vla3d.policies.bridgevla.config import AugmentationConfig
from vla3d.types import Workspace


def augmentation_reach(workspace: Workspace, augmentation: AugmentationConfig) -> Workspace:
    """A box around every point that the augmentation of a target inside the workspace may move into it.

    The release crops after it has augmented. With ``p' = R (p - a) + a'``, and ``p'``, target ``a`` and moved target ``a'``
    inside, ``p`` is as far from ``a`` as ``p'`` from ``a'``: at most the diagonal in the horizontal plane, and the shift along
    the vertical.
    """
    shift = np.asarray(augmentation.translation) * workspace.extent
    if augmentation.yaw_degrees:
        shift[:2] = math.hypot(*workspace.extent[:2])
    return Workspace(low=workspace.low - shift, high=workspace.high + shift)
