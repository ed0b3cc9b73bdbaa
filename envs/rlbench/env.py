"""The environment of an RLBench task: keyframe actions, recorded test episodes, and the ends of an episode."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vla3d.data.formats.rlbench_outline import SECONDS_PER_FRAME, STEP_LIMIT, WORKSPACE
from vla3d.envs.actions import checked_action
from vla3d.envs.base import TICK_SECONDS
from vla3d.envs.rlbench.colosseum import colosseum_scene
from vla3d.envs.rlbench.control import action_vector
from vla3d.envs.rlbench.episodes import DemoExpert, RecordedTests, StoredDemo
from vla3d.envs.rlbench.library import Library, load_library
from vla3d.envs.rlbench.observing import CAMERAS, converted_observation
from vla3d.envs.rlbench.scenes import RLBenchScene, Scene, cameras_for
from vla3d.envs.rlbench.session import SIMULATOR
from vla3d.errors import ConfigError, DataError
from vla3d.types import Alternative, Episode, Expert, KeyframeAction, Observation, StepResult, Workspace

logger = logging.getLogger(__name__)


class RLBenchEnv:
    """One task of RLBench or The COLOSSEUM (a ``KeyframeEnv``, and ``RecordedEpisodes`` where there are demonstrations).

    The simulator is launched by the first reset. An episode is laid out as a recorded test demonstration was, or, without
    demonstrations, from a seed, which is no published protocol. Success is the task's own, seen once. A motion that cannot be
    planned ends the episode, and so does the task's own verdict.

    Args:
        scene: the task and its scene.
        demos: folder of the test demonstrations; None lays scenes out from seeds.

    Raises:
        MissingExtraError: RLBench is not installed.
        DataError: the folder has no demonstrations of the task.
    """

    def __init__(self, scene: Scene, demos: Path | None = None) -> None:
        self.task = scene.name
        self.workspace = Workspace.from_bounds(WORKSPACE["low"], WORKSPACE["high"])
        self.camera_names: Sequence[str] = scene.cameras
        self.step_limit = STEP_LIMIT
        self.instance_names: Mapping[int, str] = {}
        self._library: Library = load_library()
        self._scene = scene
        self._tests = None if demos is None else RecordedTests(demos, scene.demo_folder)
        self._demo: Episode | None = None
        self._descriptions: tuple[str, ...] = ()
        self._variation = 0
        self._paraphrase = 0
        self._decisions = 0
        self._ticks = 0
        self._over = True
        self._seen: Any = None

    # What the running episode is

    @property
    def recorded_episodes(self) -> int:
        """How many test episodes were recorded; 0 without demonstrations."""
        return 0 if self._tests is None else len(self._tests)

    @property
    def num_variations(self) -> int:
        """How many variations the task has; asks the simulator."""
        return int(self._simulated().variation_count())

    @property
    def variation(self) -> int:
        """The running episode's variation."""
        return self._variation

    @property
    def instruction(self) -> str:
        """The first of RLBench's descriptions, unless another was asked for."""
        return self._descriptions[self._paraphrase]

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """All of RLBench's descriptions."""
        return self._descriptions

    @property
    def time(self) -> float:
        """Simulated seconds that motions took since the episode began."""
        return self._ticks * SECONDS_PER_FRAME

    @property
    def joint_velocities(self) -> Float[np.ndarray, "7"]:
        """Arm joint velocities at the last observation, rad/s."""
        return np.array(self._seen.joint_velocities, dtype=np.float64)

    # Beginning

    def reset(self, *, seed: int, variation: int | None = None, paraphrase: int | None = None) -> Observation:
        """Begin an episode that the seed draws: not a recorded one.

        Raises:
            ConfigError: the variation or the paraphrase does not exist.
            DataError: the scene cannot be laid out.
        """
        rng = np.random.default_rng(seed)
        count = self.num_variations
        chosen = int(rng.integers(count)) if variation is None else variation
        if not 0 <= chosen < count:
            raise ConfigError(f"variation: got {variation}, expected 0 to {count - 1} of {self.task}.")
        np.random.set_state(np.random.RandomState(seed % 2**32).get_state())
        self._begin(None, chosen, lambda: self._simulated().reset(), f"from the seed {seed}")
        if paraphrase is not None and not 0 <= paraphrase < len(self._descriptions):
            raise ConfigError(f"paraphrase: got {paraphrase}, expected 0 to {len(self._descriptions) - 1} of {self.task}.")
        self._paraphrase = paraphrase or 0
        return self._converted()

    def reset_to_episode(self, number: int) -> Observation:
        """Begin a recorded test episode: the same scene, not the same motions.

        Raises:
            ConfigError: there are no demonstrations, or not so many.
            DataError: the demonstration is damaged, or its scene cannot be laid out.
        """
        if self._tests is None:
            raise ConfigError(f"{self.task} begins recorded episodes from test demonstrations; give test_demos=DIR.")
        episode = self._tests.episode(number)
        stored = StoredDemo(episode)
        self._begin(
            episode, episode.variation, lambda: self._simulated().reset_to_demo(stored), f"of the test demonstration {number}"
        )
        return self._converted()

    def _begin(self, demo: Episode | None, variation: int, reset: Callable[[], Any], which: str) -> None:
        """Lay the scene out. Where that fails and is known to, it is tried again further along the same random numbers."""
        task = self._simulated()
        reason: Exception | None = None
        for attempt in range(self._scene.reset_attempts):
            try:
                task.set_variation(variation)
                descriptions, seen = reset() if attempt == 0 else task.reset()
                break
            except self._library.unplaced as error:
                logger.warning("The scene %s of %s cannot be laid out (%s).", which, self.task, error)
                reason = error
        else:
            raise DataError(
                f"The scene {which} of {self.task} cannot be laid out in {self._scene.reset_attempts} attempts ({reason})."
            ) from reason
        self._demo, self._variation, self._seen = demo, variation, seen
        self._descriptions, self._paraphrase = tuple(descriptions), 0
        self._decisions = self._ticks = 0
        self._over = False

    # Acting

    def step(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> StepResult:
        """Carry out one action. See ``KeyframeEnv.step``.

        Raises:
            ConfigError: the action is malformed.
            RuntimeError: the episode is over.
        """
        if self._over:
            raise RuntimeError("the episode is over: reset before the next step")
        action = checked_action(action)
        self._decisions += 1
        motion_failure, trouble, success, ended = None, None, False, action.answer != "move"
        if not ended:
            try:
                success, ended = self._move(action, on_tick)
            except self._library.unplanned as error:
                motion_failure, trouble, ended = "unreachable", f"{type(error).__name__}: {error}", True
                self._seen = self._simulated().get_observation()
        terminated = success or ended
        truncated = not terminated and self._decisions >= self.step_limit
        self._over = terminated or truncated
        failure = motion_failure
        if self._over and not success and failure is None:
            failure = "gave_up" if action.answer != "move" else "timeout" if truncated else "ended"
        return StepResult(
            observation=self._converted(),
            success=success,
            terminated=terminated,
            truncated=truncated,
            failure=failure,
            info={"motion_failure": motion_failure, "answer": action.answer, "time": self.time, "error": trouble},
        )

    def _move(self, action: KeyframeAction, on_tick: Callable[[], None] | None) -> tuple[bool, bool]:
        """Whether the task succeeded, and whether it says that the episode is over."""
        task = self._simulated()
        scene = getattr(task, "_scene", None)
        watch = getattr(scene, "register_step_callback", None)
        ticks_per_call = round(TICK_SECONDS / SECONDS_PER_FRAME)

        def stepped() -> None:
            self._ticks += 1
            if on_tick is not None and self._ticks % ticks_per_call == 0:
                on_tick()

        if watch is not None:
            watch(stepped)
        try:
            self._seen, reward, terminate = task.step(action_vector(action))
        finally:
            if watch is not None:
                watch(None)
        return bool(reward >= 1), bool(terminate)

    def observe(self) -> Observation:
        """The present observation."""
        self._seen = self._simulated().get_observation()
        return self._converted()

    def _converted(self) -> Observation:
        return converted_observation(
            self._seen,
            self.camera_names,
            instruction=self.instruction,
            step=self._decisions,
            step_limit=self.step_limit,
        )

    def _simulated(self) -> Any:
        """RLBench's task environment."""
        return SIMULATOR.task(self, self._scene.key, self._scene.launch, self._scene.task_class)

    # What only a simulator of our own can do

    def expert(self) -> Expert:
        """Replays the recorded episode's own keyframes."""
        return DemoExpert(self._demo)

    def alternatives(self) -> tuple[Alternative, ...]:
        """None: RLBench knows one goal."""
        return ()

    def reset_to(self, state: bytes) -> Observation:
        """Refused: see ``save_state``."""
        raise self._cannot_save()

    def save_state(self) -> bytes:
        """Refused: CoppeliaSim's state cannot be taken out."""
        raise self._cannot_save()

    def load_state(self, state: bytes) -> None:
        """Refused: see ``save_state``."""
        raise self._cannot_save()

    def _cannot_save(self) -> ConfigError:
        return ConfigError(
            f"{self.task} cannot save or load states; leave out states and save_states, and give test_demos=DIR."
        )

    def swap_instruction(self) -> str:
        """Refused: RLBench does not tell which other objects are present."""
        raise ConfigError(f"control: {self.task} has no sentences to swap; take control=none or mask_text.")

    def absent_instruction(self) -> str:
        """Refused: RLBench does not tell which objects are absent."""
        raise ConfigError(f"control: {self.task} has no sentences about absent things; take control=none or mask_text.")

    def success_for(self, instruction: str) -> bool:
        """Refused: RLBench judges the episode's own goal alone."""
        raise ConfigError(f"{self.task} judges its own goal alone, got {instruction!r}.")

    def close(self) -> None:
        """Shut the simulator down if this task is in it."""
        SIMULATOR.release(self)


def make_rlbench_env(
    task: str, *, image_size: int = 128, renderer: str | None = "warp", demos: Path | None = None
) -> RLBenchEnv:
    """The environment of one of RLBench's tasks; ``renderer`` only says whether images are wanted."""
    scene = RLBenchScene(task=task, image_size=image_size, cameras=cameras_for(renderer, CAMERAS))
    return RLBenchEnv(scene, demos)


def make_colosseum_env(
    task: str,
    *,
    image_size: int = 128,
    renderer: str | None = "warp",
    factors: Sequence[str] = (),
    demos: Path | None = None,
) -> RLBenchEnv:
    """The environment of one of The COLOSSEUM's tasks under at most one factor (``names.COLOSSEUM_FACTORS``)."""
    scene = colosseum_scene(task, factors, image_size, cameras_for(renderer, CAMERAS))
    return RLBenchEnv(scene, demos)
