"""The environment of a tabletop task: episodes, observations, goals that hold for a second, exact save and restore."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vla3d.envs.actions import checked_action
from vla3d.envs.tabletop.colors import Rgb
from vla3d.envs.tabletop.episode import EpisodeState, pack, unpack
from vla3d.envs.tabletop.expert import ScriptedExpert, stay
from vla3d.envs.tabletop.factors.base import Change
from vla3d.envs.tabletop.factors.registry import factors_for
from vla3d.envs.tabletop.frames import make_frames
from vla3d.envs.tabletop.motion import MotionExecutor
from vla3d.envs.tabletop.rendering.base import CameraImage, Renderer, make_renderer
from vla3d.envs.tabletop.scene import CAMERA_NAMES, WORKSPACE, new_scene
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.world import World
from vla3d.errors import ConfigError
from vla3d.types import Alternative, KeyframeAction, Observation, StepResult

HOLD_SECONDS = 1.0
"""How long a goal must hold without a break."""

_SETTLE_SECONDS = 0.1
_CHECK_SECONDS = 0.02


class TabletopEnv:
    """One tabletop task in one world (a ``KeyframeEnv``).

    After each action the goals of all candidates are looked at. Where any holds, the world runs on for a second; one that
    held throughout ends the episode: as a success, or, when it is not the named one, as ``wrong_object``.

    Args:
        task: what to do.
        image_size: height and width of the images, pixels.
        renderer: name of a renderer; None renders nothing (observations then have no frames: physics and experts only).
        factors: names of factors of variation (``vla3d.envs.tabletop.factors``); those that apply to the task change every
            episode's scene. An episode's layout and goal are the same as without them, unless it is the goal that differs.

    Raises:
        ConfigError: an unknown factor, or none of them applies.
    """

    def __init__(
        self, task: TabletopTask, image_size: int = 128, renderer: str | None = "warp", factors: Sequence[str] = ()
    ) -> None:
        self.task = task.name
        self.workspace = WORKSPACE
        self.camera_names: Sequence[str] = CAMERA_NAMES if renderer is not None else ()
        self.step_limit = task.step_limit
        self.num_variations = task.num_variations
        self.image_size = image_size
        self._task = task
        self._factors = factors_for(task, factors)
        self._scene_name = "+".join([task.name, *(factor.name for factor in self._factors)])
        self._renderer_name = renderer
        self._renderer: Renderer | None = None
        self._changes: tuple[Change, ...] = ()
        self._state: EpisodeState | None = None
        self._set_the_stage(())
        self.instance_names: Mapping[int, str] = self.world.instance_names

    @property
    def episode(self) -> EpisodeState:
        """The running episode."""
        if self._state is None:
            raise RuntimeError("no episode is running: call reset(seed=...) first")
        return self._state

    @property
    def variation(self) -> int:
        """The running episode's variation."""
        return self.episode.scenario.variation

    @property
    def instruction(self) -> str:
        """The running episode's sentence."""
        return self.episode.instruction

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """Every sentence that asks for the running episode's goal."""
        return self._sentences(self.variation)

    @property
    def time(self) -> float:
        """Simulated seconds since the episode began."""
        return float(self.world.sim.data.time)

    @property
    def joint_velocities(self) -> Float[np.ndarray, "7"]:
        """Arm joint velocities, rad/s."""
        return np.array(self.world.sim.arm_velocity)

    def reset(self, *, seed: int, variation: int | None = None, paraphrase: int | None = None) -> Observation:
        """Begin an episode, drawn from ``seed``. See ``KeyframeEnv.reset``."""
        self.begin(seed=seed, variation=variation, paraphrase=paraphrase)
        return self.observe()

    def begin(self, *, seed: int, variation: int | None = None, paraphrase: int | None = None) -> None:
        """Begin an episode without looking at it.

        Raises:
            ConfigError: when the seed is negative, or the variation or the paraphrase does not exist.
        """
        if seed < 0:
            raise ConfigError(f"seed: got {seed}, expected 0 or more.")
        # The task's name takes part, so that one seed does not give every task the same draws.
        rng = np.random.default_rng([zlib.crc32(self.task.encode()), seed])
        if self._factors:
            self._set_the_stage(self._draw_changes(seed))
        # Both are drawn even when given, so that giving one leaves the rest of the scene as it was.
        usual = self._task.variations(self._unseen_variations)
        drawn = usual[int(rng.integers(len(usual)))]
        variation = drawn if variation is None else _checked("variation", variation, self.num_variations)
        sentences = self._sentences(variation)
        drawn = int(rng.integers(len(sentences)))
        paraphrase = drawn if paraphrase is None else _checked("paraphrase", paraphrase, len(sentences))
        scenario = self._task.draw(rng, variation)
        self._state = EpisodeState(
            scenario=scenario,
            instruction=sentences[paraphrase],
            seed=seed,
            step=0,
            held=(False,) * self._task.num_candidates,
        )
        self._arrange(scenario)
        self.world.sim.refresh()
        self.world.run(_SETTLE_SECONDS)
        self.world.sim.data.time = 0.0

    def _draw_changes(self, seed: int) -> tuple[Change, ...]:
        """What the factors change about the scene of a seed. Each draws for itself, so that one more leaves the others' be."""
        task, scene = self._task, zlib.crc32(self.task.encode())
        return tuple(f.draw(np.random.default_rng([scene, seed, zlib.crc32(f.name.encode())]), task) for f in self._factors)

    def _set_the_stage(self, changes: tuple[Change, ...]) -> None:
        """Build the scene with some changes, and everything that belongs to it."""
        self._changes = changes
        spec = new_scene()
        self._task.build(spec)
        for change in changes:
            change.edit(spec)
        scales: dict[str, float] = {}
        for body, scale in (entry for change in changes for entry in change.scales().items()):
            scales[body] = scales.get(body, 1.0) * scale
        self.world = World(spec, self._task.instances, scales=scales, repaint=self._repaint)
        self._executor = MotionExecutor(self.world.sim)
        if self._renderer_name is not None:
            self.close()
            size = self.image_size
            self._renderer = make_renderer(self._renderer_name, self.world.model, self.camera_names, height=size, width=size)

    def _arrange(self, scenario: Scenario) -> None:
        """Put a scenario into the world, and what the changes added around it."""
        self.world.reset()
        self._task.arrange(self.world, scenario)
        for change in self._changes:
            change.arrange(self.world, self._task, scenario)

    @property
    def _unseen_variations(self) -> bool:
        """Whether the episode asks for what no demonstration asks for."""
        return any(change.unseen_variations for change in self._changes)

    def _repaint(self, body: str, rgb: Rgb) -> Rgb:
        for change in self._changes:
            rgb = change.repaint(body, rgb)
        return rgb

    def _sentences(self, variation: int) -> tuple[str, ...]:
        """Every sentence that asks for a variation's goal in this episode's words."""
        sentences = self._task.sentences(variation, unseen=any(change.unseen_sentences for change in self._changes))
        for change in self._changes:
            sentences = tuple(change.reword(sentence) for sentence in sentences)
        return sentences

    def step(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> StepResult:
        """Carry out one action. See ``KeyframeEnv.step``."""
        result = self.advance(action, on_tick)
        return replace(result, observation=self.observe())

    def advance(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> StepResult:
        """Carry out one action without rendering afterwards: the result's observation has no frames.

        Raises:
            ConfigError: when the action is malformed.
            RuntimeError: when the episode is over.
        """
        state = self.episode
        if state.over:
            raise RuntimeError("the episode is over: call reset(seed=...) before the next step")
        action = checked_action(action)
        motion_failure = None
        if action.answer == "move":
            motion_failure = self._executor.execute(action, on_tick)
        held = self._held_goals(on_tick)
        goal = state.scenario.goal
        success = held[goal]
        terminated = any(held) or action.answer != "move"
        truncated = not terminated and state.step + 1 >= self.step_limit
        self._state = state = replace(
            state,
            step=state.step + 1,
            held=held,
            motion_failure=motion_failure or state.motion_failure,
            over=terminated or truncated,
        )
        failure = motion_failure
        if state.over:
            failure = None if success else self._why_failed(gave_up=action.answer != "move")
        return StepResult(
            observation=self.observation({}),
            success=success,
            terminated=terminated,
            truncated=truncated,
            failure=failure,
            info={"motion_failure": motion_failure, "answer": action.answer, "time": self.time},
        )

    def observe(self) -> Observation:
        """The present observation."""
        images = {} if self._renderer is None else self._renderer.render([self.world.sim.data])[0]
        return self.observation(images)

    def observation(self, images: Mapping[str, CameraImage]) -> Observation:
        """The present observation with images that were rendered elsewhere (of this world, now)."""
        sim, state = self.world.sim, self.episode
        return Observation(
            frames=make_frames(sim.data, images, self.world.geom_instances),
            instruction=state.instruction,
            gripper_position=sim.tcp_pose()[:3, 3].copy(),
            gripper_quaternion=sim.tcp_quaternion(),
            gripper_width=sim.gripper_width,
            gripper_open=sim.gripper_open,
            joint_positions=np.array(sim.arm_q),
            step=state.step,
            step_limit=self.step_limit,
            instance_names=self.instance_names,
        )

    def expert(self) -> ScriptedExpert:
        """A scripted controller of the running episode."""
        return ScriptedExpert(self._task, self.world, self.episode.scenario, frozenset(self._absent_sentences()))

    def alternatives(self) -> tuple[Alternative, ...]:
        """What the expert would do next for each goal that what was done so far serves as well.

        Before the first motion that is also to answer that something is absent, were it asked for.
        """
        task, scenario = self._task, self.episode.scenario
        motions = tuple(
            Alternative(
                sentences=self._sentences(task.variation_of(scenario, other)),
                action=task.expert_action(self.world, replace(scenario, goal=other)),
            )
            for other in task.rivals(self.world, scenario)
        )
        absent = self._absent_sentences() if self.world.untouched else ()
        if not absent:
            return motions
        present = stay(self.world, gripper_open=self.world.sim.gripper_open)
        return (*motions, Alternative(sentences=absent, action=replace(present, answer="absent")))

    def save_state(self) -> bytes:
        """Everything that decides the rest of the episode."""
        return pack(self._scene_name, self.episode, self.world.sim.save())

    def load_state(self, state: bytes) -> None:
        """Continue exactly where ``save_state`` was called. See ``KeyframeEnv.load_state``."""
        episode, physics = unpack(self._scene_name, state)
        if self._factors:
            self._set_the_stage(self._draw_changes(episode.seed))
        self._arrange(episode.scenario)
        self.world.sim.load(physics)
        self._state = episode

    def reset_to(self, state: bytes) -> Observation:
        """Begin an episode from a recorded state: the world as it was then, no decision made yet."""
        self.load_state(state)
        self.world.sim.data.time = 0.0
        held = (False,) * self._task.num_candidates
        self._state = replace(self.episode, step=0, held=held, motion_failure=None, over=False)
        return self.observe()

    def swap_instruction(self) -> str:
        """A sentence that names another object which is present, in the words of the episode's own."""
        scenario = self.episode.scenario
        wording = self.paraphrases.index(self.instruction)
        return self._sentences(self._task.variation_of(scenario, scenario.swapped))[wording]

    def absent_instruction(self) -> str:
        """A sentence that asks for something that is not there, in the words of the episode's own.

        Raises:
            ConfigError: everything that the task's sentences can ask for is there.
        """
        sentences = self._absent_sentences()
        if not sentences:
            raise ConfigError(f"control: all that {self.task!r} can ask for is there; take control=none, swap or mask_text.")
        return sentences[self.paraphrases.index(self.instruction)]

    def _absent_sentences(self) -> tuple[str, ...]:
        """Ways to ask for one thing that is not there, drawn from the episode's seed; none where everything is."""
        choices = self._task.absent_variations(self.episode.scenario, self._unseen_variations)
        if not choices:
            return ()
        # A generator of its own: what the scene draws stays as it is.
        rng = np.random.default_rng([zlib.crc32(self.task.encode()), self.episode.seed, zlib.crc32(b"absent")])
        return self._sentences(choices[int(rng.integers(len(choices)))])

    def success_for(self, instruction: str) -> bool:
        """Whether the goal that a sentence asks for held for a second after the last decision, and still holds.

        What asks for something absent has no goal that could hold: the right response to it is the answer ``absent``.

        Raises:
            ConfigError: when the sentence is none of the task's.
        """
        for variation in range(self.num_variations):
            if instruction in self._sentences(variation):
                candidate = self._task.candidate(self.episode.scenario, variation)
                return candidate is not None and self.episode.held[candidate]
        raise ConfigError(
            f"instruction: got {instruction!r}, which is no sentence of {self.task!r}; expected one like {self.instruction!r}."
        )

    def close(self) -> None:
        """Release the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _held_goals(self, on_tick: Callable[[], None] | None) -> tuple[bool, ...]:
        """For each candidate, whether its goal holds from now on for ``HOLD_SECONDS``; runs the world only if one does now."""
        held = np.array(self._reached())
        for _ in range(round(HOLD_SECONDS / _CHECK_SECONDS)):
            if not held.any():
                break
            self._executor.wait(_CHECK_SECONDS, on_tick)
            held &= self._reached()
        return tuple(bool(value) for value in held)

    def _reached(self) -> list[bool]:
        return [self._task.reached(self.world, candidate) for candidate in range(self._task.num_candidates)]

    def _why_failed(self, *, gave_up: bool) -> str:
        """The failure reason of an episode that ended without success: the most telling one first."""
        state = self.episode
        if any(state.held) or self._task.wrong_object(self.world, state.scenario):
            return "wrong_object"
        if gave_up:
            return "gave_up"
        if state.motion_failure is not None:
            return state.motion_failure
        if self._task.grasps and not self.world.sim.gripper_open and self.world.held() is None:
            return "missed_grasp"
        return "timeout"


def _checked(name: str, value: int, count: int) -> int:
    if not 0 <= value < count:
        raise ConfigError(f"{name}: got {value}, expected 0 to {count - 1}.")
    return value
