"""What RLBench observes, asked for and converted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vla3d.data.formats.rlbench_cameras import opencv_camera_from_rlbench
from vla3d.data.formats.rlbench_recording import GRIPPER_OPEN
from vla3d.envs.rlbench.library import Library
from vla3d.geometry import xyzw_to_wxyz
from vla3d.types import Observation, RgbdFrame

CAMERAS: tuple[str, ...] = ("front", "left_shoulder", "right_shoulder", "wrist")
"""The cameras of PerAct, RVT and BridgeVLA; RLBench has a fifth, overhead, that none of them uses."""


def observation_config(library: Library, image_size: int, cameras: Sequence[str], renderer: str) -> Any:
    """RLBench's configuration: colours and depth in metres of some cameras, and the robot's state.

    Args:
        library: the installed RLBench.
        image_size: height and width, pixels.
        cameras: which of RLBench's five.
        renderer: ``"OPENGL"``, without shadows, or ``"OPENGL3"``.
    """
    configs = {}
    for name in (*CAMERAS, "overhead"):
        camera = library.camera_config()
        camera.set_all(False)
        camera.rgb = camera.depth = name in cameras
        camera.image_size = (image_size, image_size)
        camera.depth_in_meters = True
        camera.render_mode = getattr(library.render_mode, renderer)
        configs[f"{name}_camera"] = camera
    config = library.observation_config(**configs)
    for field in ("joint_velocities", "joint_positions", "gripper_open", "gripper_pose", "gripper_joint_positions"):
        setattr(config, field, True)
    return config


def converted_observation(seen: Any, cameras: Sequence[str], *, instruction: str, step: int, step_limit: int) -> Observation:
    """One of RLBench's observations in our conventions."""
    pose = np.asarray(seen.gripper_pose, dtype=np.float64)
    return Observation(
        frames={name: _frame(seen, name) for name in cameras},
        instruction=instruction,
        gripper_position=pose[:3].copy(),
        gripper_quaternion=xyzw_to_wxyz(torch.from_numpy(pose[3:].copy())).numpy(),
        gripper_width=float(np.sum(seen.gripper_joint_positions)),
        gripper_open=bool(seen.gripper_open > GRIPPER_OPEN),
        joint_positions=np.array(seen.joint_positions, dtype=np.float64),
        step=step,
        step_limit=step_limit,
    )


def _frame(seen: Any, name: str) -> RgbdFrame:
    intrinsics, pose = opencv_camera_from_rlbench(
        np.asarray(seen.misc[f"{name}_camera_intrinsics"], dtype=np.float64),
        np.asarray(seen.misc[f"{name}_camera_extrinsics"], dtype=np.float64),
    )
    return RgbdFrame(
        rgb=np.array(getattr(seen, f"{name}_rgb"), dtype=np.uint8),
        depth=np.array(getattr(seen, f"{name}_depth"), dtype=np.float32),
        intrinsics=intrinsics,
        T_world_camera=pose,
    )
