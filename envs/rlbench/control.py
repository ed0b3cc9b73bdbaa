"""Keyframes as an action mode of RLBench: plan to a pose, then set the gripper."""

import inspect
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from vla3d.envs.rlbench.library import Library
from vla3d.geometry import wxyz_to_xyzw
from vla3d.types import KeyframeAction

_INSIDE = 1e-7
"""Metres that a target is kept inside RLBench's workspace, whose border itself is refused."""

ACTION_SIZE = 9


def action_vector(action: KeyframeAction) -> Float[np.ndarray, "9"]:
    """Position, quaternion ``xyzw``, open, ignore collisions: what PerAct's fork of RLBench takes as an action."""
    quaternion = wxyz_to_xyzw(torch.from_numpy(np.array(action.quaternion, dtype=np.float64))).numpy()
    return np.concatenate([action.position, quaternion, [float(action.gripper_open), float(action.ignore_collisions)]])


def keyframe_action_mode(library: Library) -> Any:
    """An action mode that takes ``action_vector``.

    The target is clipped to the workspace. Without ``ignore_collisions`` the path is checked for collisions, and where there
    is none that is free, it is planned again without the check, as the planner of PerAct's fork does by itself. Upstream's has
    no such flag, so there are two of them. Everything else (the linear path that is tried first, RRT-Connect and its limits,
    an early end on success) is the planner's own.

    Args:
        library: the installed RLBench, of either kind.
    """

    class KeyframeActionMode(library.action_mode):  # type: ignore[name-defined]
        """See ``keyframe_action_mode``."""

        def __init__(self) -> None:
            self._direct = library.planned_pose(collision_checking=False)
            self._checked = library.planned_pose(collision_checking=True)
            self._takes_flag = "ignore_collisions" in inspect.signature(library.planned_pose.action).parameters
            super().__init__(self._direct, library.discrete())

        def action(self, scene: Any, action: np.ndarray) -> None:
            """Move the arm, then the gripper."""
            pose = np.array(action[:7], dtype=np.float64)
            low = (scene._workspace_minx, scene._workspace_miny, scene._workspace_minz)
            high = (scene._workspace_maxx, scene._workspace_maxy, scene._workspace_maxz)
            pose[:3] = np.clip(pose[:3], np.array(low) + _INSIDE, np.array(high) - _INSIDE)
            self._move(scene, pose, ignore_collisions=bool(action[8] > 0.5))
            self.gripper_action_mode.action(scene, np.array(action[7:8], dtype=np.float64))

        def _move(self, scene: Any, pose: np.ndarray, *, ignore_collisions: bool) -> None:
            if self._takes_flag:
                self._direct.action(scene, pose, ignore_collisions=ignore_collisions)
                return
            if not ignore_collisions:
                try:
                    self._checked.action(scene, pose.copy())
                    return
                except library.unplanned:
                    pass
            self._direct.action(scene, pose)

        def action_shape(self, scene: Any) -> int:
            """Numbers of an action."""
            return ACTION_SIZE

    return KeyframeActionMode()
