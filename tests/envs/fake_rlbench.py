"""A stand-in for RLBench, PyRep and The COLOSSEUM, hand-written from their published interfaces: same names, same signatures.

Its world: what is drawn on NumPy's global state when a scene is laid out can be read in the sentence; closing the gripper at
``GOAL`` is success; opening it at ``VERDICT`` makes the task call the episode over; below ``TABLE`` every checked path
collides; beyond ``FAR`` there is no path at all.
"""

import importlib.machinery
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))
import rlbench_demos

GOAL = rlbench_demos.gripper_pose(rlbench_demos.KEYFRAMES[-1])[:3]
VERDICT = np.array([0.2, 0.2, 1.0])
TABLE, FAR = 0.85, 0.6
LOW, HIGH = np.array([-0.3, -0.5, 0.6]), np.array([0.7, 0.5, 1.6])
STEPS_PER_MOTION = 5
VARIATIONS = 6


@dataclass
class World:
    """What the stand-in remembers for the tests.

    Attributes:
        calls: ``(collision checked, pose)`` of every path that was asked for.
        launches: configurations the simulator was launched with.
        open: how many simulators are open; PyRep allows one.
        tasks: names of the tasks that were loaded.
        unplaced: how many of the next scenes cannot be laid out.
        error: raised by the next path instead of moving.
        hides_steps: whether the scene has no step callback, as some fork's may not.
    """

    calls: list[tuple[bool, np.ndarray]] = field(default_factory=list)
    launches: list[Any] = field(default_factory=list)
    open: int = 0
    tasks: list[str] = field(default_factory=list)
    unplaced: int = 0
    error: type[Exception] | None = None
    callback: Callable[[], None] | None = None
    gripper: list[float] = field(default_factory=list)


def install(monkeypatch: pytest.MonkeyPatch, *, fork: bool) -> World:
    """Put the stand-in where ``import rlbench`` finds it.

    Args:
        monkeypatch: takes it away again.
        fork: PerAct's fork, whose planner takes ``ignore_collisions``, or upstream.
    """
    world = World()
    contents = _exceptions() | {"pyrep.const": {"RenderMode": type("RenderMode", (), {"OPENGL": 0, "OPENGL3": 1})}}
    errors = contents["rlbench.backend.exceptions"] | contents["pyrep.errors"]
    contents |= _action_modes(world, errors, fork=fork) | _observing() | _environment(world, errors, fork=fork)
    for name, members in contents.items():
        for parent in (name.rsplit(".", end)[0] for end in range(name.count("."), -1, -1)):
            if parent not in sys.modules or getattr(sys.modules[parent], "fake", False) is False:
                monkeypatch.setitem(sys.modules, parent, _module(parent))
        for key, value in members.items():
            setattr(sys.modules[name], key, value)
    return world


def _module(name: str) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    made.__path__ = []  # type: ignore[attr-defined]
    made.fake = True  # type: ignore[attr-defined]
    return made


def _exceptions() -> dict[str, dict[str, Any]]:
    def made(*names: str) -> dict[str, Any]:
        return {name: type(name, (Exception,), {}) for name in names}

    backend = made("InvalidActionError", "TaskEnvironmentError", "BoundaryError", "WaypointError")
    return {"rlbench.backend.exceptions": backend, "pyrep.errors": made("IKError", "ConfigurationPathError")}


def _planners(world: World, errors: dict[str, Any]) -> tuple[type, type]:
    """The arm's action mode as upstream and as PerAct's fork have it."""

    class Planning:
        def __init__(self, absolute_mode: bool = True, frame: str = "world", collision_checking: bool = False) -> None:
            assert absolute_mode and frame == "world"
            self._collision_checking = collision_checking

        def _path(self, scene: Any, action: np.ndarray, checked: bool) -> None:
            assert action.shape == (7,) and np.isclose(np.linalg.norm(action[3:]), 1)
            world.calls.append((checked, action.copy()))
            if world.error is not None:
                raise world.error("no way")
            if not ((action[:3] > LOW) & (action[:3] < HIGH)).all():  # the border itself is outside
                raise errors["InvalidActionError"]("the target is outside of the workspace")
            if action[0] > FAR or (checked and action[2] < TABLE):
                raise errors["InvalidActionError"]("a path could not be found")
            start = scene.pose.copy()
            for share in np.linspace(0, 1, STEPS_PER_MOTION + 1)[1:]:
                scene.pose[:3] = start[:3] + share * (action[:3] - start[:3])
                scene.step()
            scene.pose = action.copy()

    class Upstream(Planning):
        def action(self, scene: Any, action: np.ndarray) -> None:
            self._path(scene, action, self._collision_checking)

    class Fork(Planning):
        def action(self, scene: Any, action: np.ndarray, ignore_collisions: bool = True) -> None:
            try:
                self._path(scene, action, not ignore_collisions)
            except errors["InvalidActionError"]:
                if ignore_collisions:
                    raise
                self._path(scene, action, False)

    return Upstream, Fork


def _action_modes(world: World, errors: dict[str, Any], *, fork: bool) -> dict[str, dict[str, Any]]:
    class ActionMode:
        def __init__(self, arm_action_mode: Any, gripper_action_mode: Any) -> None:
            self.arm_action_mode = arm_action_mode
            self.gripper_action_mode = gripper_action_mode

    class Discrete:
        def action(self, scene: Any, action: np.ndarray) -> None:
            assert action.shape == (1,) and action[0] in (0.0, 1.0)
            world.gripper.append(float(action[0]))
            scene.open = float(action[0])

    return {
        "rlbench.action_modes.action_mode": {"ActionMode": ActionMode},
        "rlbench.action_modes.arm_action_modes": {"EndEffectorPoseViaPlanning": _planners(world, errors)[fork]},
        "rlbench.action_modes.gripper_action_modes": {"Discrete": Discrete},
    }


CAMERA_FIELDS = {"rgb", "depth", "point_cloud", "mask", "image_size", "render_mode", "masks_as_one_channel", "depth_in_meters"}


def _observing() -> dict[str, dict[str, Any]]:
    class CameraConfig:
        def __init__(self) -> None:
            self.__dict__.update(
                dict.fromkeys(CAMERA_FIELDS, True), image_size=(128, 128), depth_in_meters=False, render_mode=1
            )

        def set_all(self, value: bool) -> None:
            self.rgb = self.depth = self.point_cloud = self.mask = value

        def __setattr__(self, name: str, value: Any) -> None:
            assert name in CAMERA_FIELDS, name
            self.__dict__[name] = value

    class ObservationConfig:
        def __init__(
            self,
            left_shoulder_camera: Any = None,
            right_shoulder_camera: Any = None,
            overhead_camera: Any = None,
            wrist_camera: Any = None,
            front_camera: Any = None,
            joint_velocities: bool = True,
            joint_positions: bool = True,
            gripper_open: bool = True,
            gripper_pose: bool = True,
            gripper_joint_positions: bool = False,
        ) -> None:
            self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    return {"rlbench.observation_config": {"CameraConfig": CameraConfig, "ObservationConfig": ObservationConfig}}


class Scene:
    """The layout, the arm and the step callback."""

    def __init__(self, world: World, config: Any) -> None:
        self.world, self.config = world, config
        for axis, low, high in zip("xyz", LOW, HIGH, strict=True):
            setattr(self, f"_workspace_min{axis}", low)
            setattr(self, f"_workspace_max{axis}", high)
        self.pose, self.open = rlbench_demos.gripper_pose(0), 1.0

    def register_step_callback(self, func: Callable[[], None] | None) -> None:
        self.world.callback = func

    def step(self) -> None:
        if self.world.callback is not None:
            self.world.callback()

    def observe(self) -> Any:
        """An observation with the published fields; cameras that are off are None."""
        values = {"joint_velocities": np.zeros((1, 7)), "gripper_open": np.array([self.open]), "ignore_collisions": [0.0]}
        seen = rlbench_demos.observation(0, values, (1, 1))
        seen.gripper_pose = self.pose.copy()
        for camera in rlbench_demos.CAMERAS:
            wanted = getattr(self.config, f"{camera}_camera")
            size = tuple(wanted.image_size)
            if wanted.rgb:
                colours, depth, _ = rlbench_demos.render(size, camera, 0)
                assert wanted.depth_in_meters
                setattr(seen, f"{camera}_rgb", colours)
                setattr(seen, f"{camera}_depth", depth.astype(np.float32))
            seen.misc[f"{camera}_camera_intrinsics"] = rlbench_demos.intrinsics(size, camera)
        if not self.config.gripper_joint_positions:
            seen.gripper_joint_positions = None
        return seen


class TaskEnvironment:
    """RLBench's interface to one task."""

    def __init__(self, world: World, scene: Scene, mode: Any, errors: dict[str, Any], name: str, *, fork: bool) -> None:
        self._world, self._scene, self._mode, self._errors, self._fork = world, scene, mode, errors, fork
        self._name, self._variation = name, 0

    def variation_count(self) -> int:
        return VARIATIONS

    def set_variation(self, v: int) -> None:
        if v >= VARIATIONS:
            raise self._errors["TaskEnvironmentError"](f"Requested variation {v}")
        self._variation = v

    def reset(self, demo: Any = None) -> tuple[list[str], Any]:
        layout = np.random.uniform()
        if self._world.unplaced:
            self._world.unplaced -= 1
            raise self._errors["TaskEnvironmentError"]("Could not place the task in the scene.")
        self._scene.pose, self._scene.open = rlbench_demos.gripper_pose(0), 1.0
        sentence = f"{self._name} {self._variation} {layout:.6f}"
        return [sentence, f"please {sentence}"], self._scene.observe()

    def reset_to_demo(self, demo: Any) -> tuple[list[str], Any]:
        demo.restore_state()
        if self._fork:
            self.set_variation(demo.variation_number)
            return self.reset()
        self.set_variation(demo._observations[0].misc["variation_index"])
        return self.reset(demo)

    def get_observation(self) -> Any:
        return self._scene.observe()

    def step(self, action: np.ndarray) -> tuple[Any, float, bool]:
        before = self._scene.open
        self._mode.action(self._scene, action)
        at = self._scene.pose[:3]
        success = np.linalg.norm(at - GOAL) < 0.02 and not self._scene.open
        over = bool(np.linalg.norm(at - VERDICT) < 0.02 and before == 0 and self._scene.open)
        return self._scene.observe(), float(success), over


def _environment(world: World, errors: dict[str, Any], *, fork: bool) -> dict[str, dict[str, Any]]:
    class Environment:
        def __init__(
            self,
            action_mode: Any,
            dataset_root: str = "",
            obs_config: Any = None,
            headless: bool = False,
            static_positions: bool = False,
            robot_setup: str = "panda",
        ) -> None:
            assert headless and robot_setup == "panda" and not static_positions
            self._mode, self._config, self._launched = action_mode, obs_config, False

        def launch(self) -> None:
            assert world.open == 0, "PyRep holds one simulator per process"
            world.open += 1
            world.launches.append(self)
            self._launched = True
            self._scene = Scene(world, self._config)

        def shutdown(self) -> None:
            assert self._launched
            self._launched = False
            world.open -= 1

        def get_task(self, task_class: Any) -> TaskEnvironment:
            assert self._launched
            world.tasks.append(task_class.__name__)
            return TaskEnvironment(world, self._scene, self._mode, errors, task_class.__name__, fork=fork)

    names = ("close_jar", "open_drawer", "put_money_in_safe")
    tasks = {f"rlbench.tasks.{name}": {_class(name): type(_class(name), (), {})} for name in names}
    return {"rlbench.environment": {"Environment": Environment}, **tasks}


def _class(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def install_colosseum(monkeypatch: pytest.MonkeyPatch, world: World, assets: Path) -> None:
    """The COLOSSEUM's package over RLBench's stand-in; ``assets`` gets ``configs`` and ``json`` from the test."""
    environment = sys.modules["rlbench.environment"].Environment

    class EnvironmentExt(environment):  # type: ignore[misc, valid-type]
        def __init__(
            self,
            action_mode: Any,
            dataset_root: str = "",
            obs_config: Any = None,
            headless: bool = False,
            path_task_ttms: str = "",
            env_config: Any = None,
        ) -> None:
            super().__init__(action_mode, dataset_root, obs_config, headless)
            assert path_task_ttms == "the ttms"
            self.env_config = env_config

    def name_to_class(task_name: str, tasks_py_folder: str) -> type:
        assert tasks_py_folder == "the tasks"
        return type(_class(task_name), (), {})

    contents: dict[str, dict[str, Any]] = {
        "colosseum": {
            "ASSETS_CONFIGS_FOLDER": str(assets / "configs"),
            "ASSETS_JSON_FOLDER": str(assets / "json"),
            "TASKS_PY_FOLDER": "the tasks",
            "TASKS_TTM_FOLDER": "the ttms",
        },
        "colosseum.rlbench": {},
        "colosseum.rlbench.extensions": {},
        "colosseum.rlbench.extensions.environment": {"EnvironmentExt": EnvironmentExt},
        "colosseum.rlbench.utils": {"name_to_class": name_to_class},
    }
    for name, members in contents.items():
        monkeypatch.setitem(sys.modules, name, _module(name))
        for key, value in members.items():
            setattr(sys.modules[name], key, value)


def write_tests(root: Path, folder: str, episodes: int, *, upstream: bool = False) -> Path:
    """Test demonstrations of a task, each made from its own random state; variation 4, or 0 upstream."""
    for number in range(episodes):
        if upstream:
            path = rlbench_demos.write_upstream(root / folder, 0, number, ["close it"], cameras=())
        else:
            path = rlbench_demos.write_episode(root / folder / "all_variations" / "episodes" / f"episode{number}", cameras=())
        demo = rlbench_demos.demo(flagged=not upstream, variation=None if upstream else 4)
        demo.__dict__["random_seed"] = np.random.RandomState(100 + number).get_state()
        (path / "low_dim_obs.pkl").write_bytes(rlbench_demos.dumps(demo))
    return root


def layout_of(number: int) -> str:
    """What the stand-in draws for a test demonstration, as its sentence shows it."""
    return f"{np.random.RandomState(100 + number).uniform():.6f}"
