"""Keyframe environments as gymnasium environments: dictionaries instead of our types, one or many worlds."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.frames import MAX_DEPTH
from vla3d.envs.tabletop.rendering.base import make_renderer
from vla3d.envs.tabletop.scene import CAMERA_NAMES
from vla3d.errors import ConfigError
from vla3d.types import ANSWERS, KeyframeAction, Observation, RgbdFrame, StepResult, Workspace

_MAX_SENTENCE = 256
_PRINTABLE = "".join(chr(code) for code in range(32, 127))
# Metres that no tool position exceeds; looser than the arm's reach, because a space is a bound and not a promise.
_REACH = 2.0
_MAX_SEED = 2**31


def observation_space(camera_names: Sequence[str], image_size: int) -> spaces.Dict:
    """The space of ``observation_to_dict``; without cameras it has no ``"frames"``."""
    frame = spaces.Dict(
        {
            "rgb": spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
            "depth": spaces.Box(0.0, np.float32(MAX_DEPTH), (image_size, image_size), np.float32),
            "segmentation": spaces.Box(0, np.iinfo(np.int16).max, (image_size, image_size), np.int16),
            "intrinsics": spaces.Box(0.0, 1e5, (3, 3), np.float64),
            "T_world_camera": spaces.Box(-10.0, 10.0, (4, 4), np.float64),
        }
    )
    frames = {"frames": spaces.Dict({name: frame for name in camera_names})} if camera_names else {}
    return spaces.Dict(
        {
            **frames,
            "instruction": spaces.Text(_MAX_SENTENCE, charset=_PRINTABLE),
            "gripper_position": spaces.Box(-_REACH, _REACH, (3,), np.float64),
            "gripper_quaternion": spaces.Box(-1.0, 1.0, (4,), np.float64),
            "gripper_width": spaces.Box(0.0, 0.1, (1,), np.float64),
            "gripper_open": spaces.Discrete(2),
            "joint_positions": spaces.Box(-2 * np.pi, 2 * np.pi, (7,), np.float64),
            "step": spaces.Box(0, 10_000, (1,), np.int64),
            "step_limit": spaces.Box(1, 10_000, (1,), np.int64),
        }
    )


def action_space(workspace: Workspace) -> spaces.Dict:
    """The space that ``action_from_dict`` reads; the quaternion (``wxyz``) may have any length but zero."""
    return spaces.Dict(
        {
            "position": spaces.Box(workspace.low, workspace.high, dtype=np.float64),
            "quaternion": spaces.Box(-1.0, 1.0, (4,), np.float64),
            "gripper_open": spaces.Discrete(2),
            "ignore_collisions": spaces.Discrete(2),
            "answer": spaces.Discrete(len(ANSWERS)),
        }
    )


def observation_to_dict(observation: Observation) -> dict[str, Any]:
    """An observation as plain arrays."""
    frames = {"frames": {name: _frame_to_dict(frame) for name, frame in observation.frames.items()}}
    return {
        **(frames if observation.frames else {}),
        "instruction": observation.instruction,
        "gripper_position": observation.gripper_position,
        "gripper_quaternion": np.clip(observation.gripper_quaternion, -1.0, 1.0),
        "gripper_width": np.array([observation.gripper_width]),
        "gripper_open": np.int64(observation.gripper_open),
        "joint_positions": observation.joint_positions,
        "step": np.array([observation.step], dtype=np.int64),
        "step_limit": np.array([observation.step_limit], dtype=np.int64),
    }


def _frame_to_dict(frame: RgbdFrame) -> dict[str, np.ndarray]:
    segmentation = np.zeros(frame.depth.shape, np.int16) if frame.segmentation is None else frame.segmentation
    return {
        "rgb": frame.rgb,
        "depth": frame.depth,
        "segmentation": segmentation,
        "intrinsics": frame.intrinsics,
        "T_world_camera": frame.T_world_camera,
    }


def action_to_dict(action: KeyframeAction) -> dict[str, Any]:
    """An action as plain arrays: an element of ``action_space`` when its position is in the workspace."""
    return {
        "position": np.asarray(action.position, dtype=np.float64),
        "quaternion": np.asarray(action.quaternion, dtype=np.float64),
        "gripper_open": np.int64(action.gripper_open),
        "ignore_collisions": np.int64(action.ignore_collisions),
        "answer": np.int64(ANSWERS.index(action.answer)),
    }


def action_from_dict(values: Mapping[str, Any]) -> KeyframeAction:
    """The inverse of ``action_to_dict``.

    Raises:
        ConfigError: when a key is missing.
    """
    missing = {"position", "quaternion", "gripper_open", "ignore_collisions", "answer"} - set(values)
    if missing:
        raise ConfigError(f"action: got the keys {sorted(values)}, expected also {sorted(missing)}; see env.action_space.")
    return KeyframeAction(
        position=np.asarray(values["position"], dtype=np.float64),
        quaternion=np.asarray(values["quaternion"], dtype=np.float64),
        gripper_open=bool(values["gripper_open"]),
        ignore_collisions=bool(values["ignore_collisions"]),
        answer=ANSWERS[int(values["answer"])],  # type: ignore[arg-type]
    )


def _step_info(result: StepResult) -> dict[str, Any]:
    return {
        "success": result.success,
        "failure": result.failure or "",
        "motion_failure": result.info.get("motion_failure") or "",
    }


class GymKeyframeEnv(gym.Env[dict[str, Any], dict[str, Any]]):
    """Any registered task as a gymnasium environment. The reward is 1 on success and 0 otherwise.

    ``reset`` takes ``options`` with ``variation``, ``paraphrase`` (numbers) or ``state`` (bytes of ``save_state``).

    Args:
        task: name of the task.
        image_size: height and width of the images, pixels.
        renderer: name of the renderer.
        render_mode: ``"rgb_array"`` makes ``render`` return the first camera's picture.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (gymnasium's own declaration)

    def __init__(self, task: str, image_size: int = 128, renderer: str | None = "warp", render_mode: str | None = None) -> None:
        if render_mode is not None and renderer is None:
            raise ConfigError(f"render_mode: got {render_mode!r} without a renderer; give renderer='warp', or no render_mode.")
        self.keyframe_env = make_env(task, image_size=image_size, renderer=renderer)
        self.render_mode = render_mode
        self.observation_space = observation_space(self.keyframe_env.camera_names, image_size)
        self.action_space = action_space(self.keyframe_env.workspace)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode. With a seed it is that scene; without one the next of the sequence that the last seed began."""
        super().reset(seed=seed)
        options = dict(options or {})
        if "state" in options:
            observation = self.keyframe_env.reset_to(options.pop("state"))
        else:
            scene = int(self.np_random.integers(_MAX_SEED)) if seed is None else seed
            observation = self.keyframe_env.reset(
                seed=scene, variation=options.pop("variation", None), paraphrase=options.pop("paraphrase", None)
            )
        if options:
            raise ConfigError(f"reset options: got {sorted(options)}, expected variation, paraphrase, or state alone.")
        return observation_to_dict(observation), {"variation": self.keyframe_env.variation}

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out one keyframe action, or end the episode with an answer."""
        result = self.keyframe_env.step(action_from_dict(action))
        info = _step_info(result)
        return observation_to_dict(result.observation), float(result.success), result.terminated, result.truncated, info

    def render(self) -> np.ndarray | None:
        """The first camera's picture, uint8 ``(H, W, 3)``, in the mode ``"rgb_array"``."""
        if self.render_mode is None:
            return None
        return next(iter(self.keyframe_env.observe().frames.values())).rgb

    def close(self) -> None:
        """Release the simulator."""
        self.keyframe_env.close()


class TabletopVectorEnv(VectorEnv):
    """Several worlds of one tabletop task: they move at the same time, one thread each, and are drawn in one call.

    Threads, since MuJoCo lets go of the interpreter while it computes. `mujoco.batch` would step the worlds in lockstep, but
    each has a model, a path and a length of motion of its own.

    A world whose episode ended begins the next one at the following step, as ``AutoresetMode.NEXT_STEP`` says.

    Args:
        num_envs: how many worlds.
        task: name of a tabletop task.
        image_size: height and width of the images, pixels.
        renderer: name of the renderer.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": [], "render_fps": 10}  # noqa: RUF012

    def __init__(self, num_envs: int, task: str, image_size: int = 128, renderer: str = "warp") -> None:
        self.num_envs = num_envs
        self.envs = [_tabletop(task) for _ in range(num_envs)]
        self._renderer = make_renderer(
            renderer, self.envs[0].world.model, CAMERA_NAMES, height=image_size, width=image_size, num_worlds=num_envs
        )
        self.single_observation_space = observation_space(CAMERA_NAMES, image_size)
        self.single_action_space = action_space(self.envs[0].workspace)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._threads = ThreadPoolExecutor(max_workers=min(num_envs, os.cpu_count() or 1))
        self._ended = np.zeros(num_envs, dtype=bool)
        self._streams = [np.random.default_rng(index) for index in range(num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode in every world; one seed stands for that seed and the next ``num_envs - 1``."""
        seeds = [seed + index for index in range(self.num_envs)] if isinstance(seed, int) else seed
        for index in range(self.num_envs):
            self._begin(index, None if seeds is None else seeds[index], options or {})
        self._ended[:] = False
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Carry out one action in every world."""
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        infos: dict[str, Any] = {}
        wanted = [action_from_dict(action) for action in iterate(self.action_space, actions)]
        for index, result in enumerate(self._threads.map(self._advance, range(self.num_envs), wanted)):
            if result is None:
                continue
            rewards[index], terminated[index], truncated[index] = result.success, result.terminated, result.truncated
            infos = self._add_info(infos, _step_info(result), index)
        self._ended = terminated | truncated
        return self._observe(), rewards, terminated, truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        """Release the threads, the renderer and the worlds."""
        self._threads.shutdown()
        self._renderer.close()
        for env in self.envs:
            env.close()

    def _advance(self, index: int, action: KeyframeAction) -> StepResult | None:
        """Carry out an action in one world; None where the last episode had ended and the next one begins instead."""
        if self._ended[index]:
            self._begin(index, None, {})
            return None
        return self.envs[index].advance(action)

    def _begin(self, index: int, seed: int | None, options: dict[str, Any]) -> None:
        if seed is None:
            seed = int(self._streams[index].integers(_MAX_SEED))
        else:
            # Exactly what one world does after a reset with this seed: see gymnasium.utils.seeding.
            self._streams[index] = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        self.envs[index].begin(seed=seed, **options)

    def _observe(self) -> dict[str, Any]:
        images = self._renderer.render([env.world.sim.data for env in self.envs])
        observations = [observation_to_dict(env.observation(image)) for env, image in zip(self.envs, images, strict=True)]
        empty = create_empty_array(self.single_observation_space, self.num_envs)
        # gymnasium's types say that this may be None or an array; for a space of dictionaries it never is.
        return cast("dict[str, Any]", concatenate(self.single_observation_space, observations, cast("dict[str, Any]", empty)))


def _tabletop(task: str) -> TabletopEnv:
    env = make_env(task, renderer=None)
    if not isinstance(env, TabletopEnv):
        raise ConfigError(f"task {task!r} is no tabletop task and cannot share a renderer; use vectorization_mode='sync'.")
    return env
