"""The classes of an installed RLBench, found when they are needed."""

import importlib
from dataclasses import dataclass
from typing import Any

from vla3d.errors import unknown_name
from vla3d.optional import require


@dataclass(frozen=True, kw_only=True)
class Library:
    """What the adapter uses of RLBench and PyRep.

    Attributes:
        action_mode: the base class of action modes.
        planned_pose: the arm's action mode that plans a path to a pose.
        discrete: the gripper's action mode that opens or closes.
        environment: the simulator with a robot.
        observation_config, camera_config: what is observed.
        render_mode: how images are made.
        unplanned: errors of a motion that cannot be carried out.
        unplaced: errors of a scene that cannot be laid out.
    """

    action_mode: Any
    planned_pose: Any
    discrete: Any
    environment: Any
    observation_config: Any
    camera_config: Any
    render_mode: Any
    unplanned: tuple[type[Exception], ...]
    unplaced: tuple[type[Exception], ...]


def load_library() -> Library:
    """The installed RLBench.

    Raises:
        MissingExtraError: it is not installed, or cannot be loaded, with what to do.
    """
    require("rlbench")
    modes = "rlbench.action_modes"
    exceptions = importlib.import_module("rlbench.backend.exceptions")
    pyrep_errors = importlib.import_module("pyrep.errors")
    observing = importlib.import_module("rlbench.observation_config")
    return Library(
        action_mode=importlib.import_module(f"{modes}.action_mode").ActionMode,
        planned_pose=importlib.import_module(f"{modes}.arm_action_modes").EndEffectorPoseViaPlanning,
        discrete=importlib.import_module(f"{modes}.gripper_action_modes").Discrete,
        environment=importlib.import_module("rlbench.environment").Environment,
        observation_config=observing.ObservationConfig,
        camera_config=observing.CameraConfig,
        render_mode=importlib.import_module("pyrep.const").RenderMode,
        unplanned=(pyrep_errors.IKError, pyrep_errors.ConfigurationPathError, exceptions.InvalidActionError),
        unplaced=(exceptions.TaskEnvironmentError, exceptions.BoundaryError, exceptions.WaypointError),
    )


def task_class(name: str) -> Any:
    """The class of one of RLBench's own tasks.

    Raises:
        ConfigError: there is no such task.
    """
    from vla3d.envs.rlbench.names import RLBENCH_18

    try:
        module = importlib.import_module(f"rlbench.tasks.{name}")
    except ModuleNotFoundError as error:
        raise unknown_name("RLBench task", name, RLBENCH_18) from error
    return getattr(module, "".join(word.capitalize() for word in name.split("_")))
