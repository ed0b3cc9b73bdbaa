"""What an environment is to the rest of the house, and how one is made by name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vla3d.errors import ConfigError
from vla3d.types import Alternative, Expert, KeyframeAction, Observation, StepResult, Workspace

TICK_SECONDS = 0.1
"""Simulated time between two calls of ``on_tick`` while the arm moves: recordings run at 10 Hz."""

FAILURES: tuple[str, ...] = ("unreachable", "collision", "missed_grasp", "wrong_object", "gave_up", "timeout", "ended")
"""Every failure reason an environment may answer.

``unreachable`` and ``collision`` name a motion that was not carried out; the episode goes on (not in RLBench). An episode that
ends without success carries one of them all: why it failed. ``gave_up``: the policy ended it by an answer. ``ended`` is the
verdict of a simulator that gives no reason.
"""


class FactorDoesNotApplyError(ConfigError):
    """None of the factors asked for changes anything of a task."""


class KeyframeEnv(Protocol):
    """One task in one simulated world that acts on keyframe actions.

    An environment is used by one thread. Everything it draws at random comes from the seed given to ``reset``: the same
    seed gives the same bytes.

    Attributes:
        task: registered name.
        workspace: the box that holds everything the task acts on.
        camera_names: cameras of an observation, in the order of ``Observation.frames``.
        step_limit: decisions allowed in an episode.
        num_variations: how many variations ``reset`` can be given. Those that it draws may be fewer: some tasks hold some out.
        instance_names: meaning of the ids in ``RgbdFrame.segmentation``.
    """

    task: str
    workspace: Workspace
    camera_names: Sequence[str]
    step_limit: int
    num_variations: int
    instance_names: Mapping[int, str]

    @property
    def variation(self) -> int:
        """The running episode's variation."""
        ...

    @property
    def instruction(self) -> str:
        """The running episode's sentence: one of ``paraphrases``."""
        ...

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """Every sentence that asks for the running episode's goal."""
        ...

    @property
    def time(self) -> float:
        """Simulated seconds since the episode began."""
        ...

    @property
    def joint_velocities(self) -> Float[np.ndarray, "7"]:
        """Arm joint velocities, rad/s."""
        ...

    def reset(self, *, seed: int, variation: int | None = None, paraphrase: int | None = None) -> Observation:
        """Begin an episode: the scene, and the variation and sentence where they are not given, are drawn from ``seed``.

        Raises:
            ConfigError: when the variation or the paraphrase does not exist.
        """
        ...

    def reset_to(self, state: bytes) -> Observation:
        """Begin an episode from a state that ``save_state`` recorded (of this task, at any time of an episode)."""
        ...

    def step(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> StepResult:
        """Carry out one action.

        Args:
            action: the keyframe to reach, or a terminal answer, which ends the episode.
            on_tick: called every ``TICK_SECONDS`` of simulated time while the world moves; it may call ``observe``.
        """
        ...

    def observe(self) -> Observation:
        """The present observation; it changes nothing."""
        ...

    def expert(self) -> Expert:
        """A scripted controller of the running episode."""
        ...

    def alternatives(self) -> tuple[Alternative, ...]:
        """What the expert would do next for other goals that fit what was done so far; empty where it cannot tell."""
        ...

    def save_state(self) -> bytes:
        """Everything that decides the rest of the episode: physics, goal, sentence, counters."""
        ...

    def load_state(self, state: bytes) -> None:
        """Continue exactly where ``save_state`` was called.

        Raises:
            ConfigError: when the bytes are another task's or damaged.
        """
        ...

    def swap_instruction(self) -> str:
        """A sentence of the same task that names another object, which is present; the same one at each call of an episode."""
        ...

    def absent_instruction(self) -> str:
        """A sentence of the same task that asks for something that is not there; the same one at each call of an episode.

        The right response to it is the terminal answer ``absent``.

        Raises:
            ConfigError: the environment has no such sentence.
        """
        ...

    def success_for(self, instruction: str) -> bool:
        """Whether the goal that a sentence asks for holds now (this episode's, or its swapped one).

        Raises:
            ConfigError: when the sentence is none of the task's.
        """
        ...

    def close(self) -> None:
        """Release the simulator and the renderer."""
        ...


@runtime_checkable
class RecordedEpisodes(Protocol):
    """An environment whose test episodes were recorded beforehand, where others draw theirs from seeds.

    Attributes:
        recorded_episodes: how many there are; with 0, ``reset`` draws them as in any environment.
    """

    recorded_episodes: int

    def reset_to_episode(self, number: int) -> Observation:
        """Begin a recorded episode.

        Raises:
            ConfigError: there are not so many.
        """
        ...


def make_env(
    task: str,
    image_size: int = 128,
    renderer: str | None = "warp",
    factors: Sequence[str] = (),
    demos: Path | None = None,
) -> KeyframeEnv:
    """Build the environment of a task.

    Args:
        task: a built-in task, one that an installed package offers under the entry-point group ``vla3d.tasks``, or one of
            another simulator (``rlbench_...``, ``colosseum_...``).
        image_size: height and width of the camera images, pixels.
        renderer: how images are made: ``"warp"``, ``"raycast"`` or ``"opengl"``; None makes none, observations then have
            no frames (for policies that do not look).
        factors: names of what is to differ from training scenes; the simulator's own, see docs/suites.md for the tabletop's.
        demos: recorded test episodes, for simulators that begin from them.

    Raises:
        ConfigError: unknown task (with the nearest name), renderer, factor, or image size; or the task takes no factors or no
            recorded episodes.
        FactorDoesNotApplyError: there are factors, and none changes anything of the task.
    """
    # Imported here because the built-in tasks load MuJoCo, and naming a type must not.
    from vla3d.envs.registration import find_task

    if image_size < 1:
        raise ConfigError(f"image_size: got {image_size}, expected at least 1 pixel; the default is 128.")
    factory = find_task(task)
    options: dict[str, Any] = {}
    taken = inspect.signature(factory).parameters
    if factors:
        if "factors" not in taken:
            raise ConfigError(f"factors: task {task!r} takes none, got {', '.join(factors)}; leave it out of this suite.")
        options["factors"] = tuple(factors)
    if demos is not None:
        if "demos" not in taken:
            raise ConfigError(f"test_demos: task {task!r} draws its scenes from seeds, got {demos}; leave it away.")
        options["demos"] = demos
    return factory(image_size=image_size, renderer=renderer, **options)
