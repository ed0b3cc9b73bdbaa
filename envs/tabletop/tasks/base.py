"""What a tabletop task is: objects, variations, sentences, goal, expert. Subclass it to write your own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

if TYPE_CHECKING:
    from vla3d.envs.tabletop.env import TabletopEnv

MAX_STEPS = 25
"""Most decisions of an episode, whatever the task."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What was drawn for one episode.

    Attributes:
        variation: which variation of the task this is.
        goal: which candidate the sentence names.
        swapped: which other candidate the swapped sentence names.
        colors: colour of each thing the task paints, candidates first, as indices into ``COLOR_NAMES``.
        poses: place of each thing the task arranges.
    """

    variation: int
    goal: int
    swapped: int
    colors: tuple[int, ...]
    poses: tuple[TablePose, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; floats keep every bit."""
        return {**vars(self), "colors": list(self.colors), "poses": [astuple(pose) for pose in self.poses]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Scenario":
        """The inverse of ``to_json``."""
        poses = tuple(TablePose(*pose) for pose in values["poses"])
        return cls(**{**values, "colors": tuple(values["colors"]), "poses": poses})


class TabletopTask(ABC):
    """A task in which a scene offers several goals (the candidates) and the sentence names one of them by colours.

    Usually a candidate is one of several like things, and the variation is the colour that names it. Where a goal is named by
    several colours, override ``num_variations``, ``fill``, ``candidate`` and ``variation_of``.

    A task keeps no state of an episode: everything is in the ``Scenario`` and the ``World``.

    Attributes:
        name: registered name.
        instances: bodies with an instance id in the segmentation, candidates first.
        num_candidates: how many goals a sentence could name.
        templates: sentences with a ``{color}``, at least four.
        unseen_templates: sentences of the same meaning that no demonstration uses: for the suites alone.
        expert_keyframes: how many actions the expert needs when nothing goes wrong; the step limit is twice that.
        manipulated: bodies that the hand moves, for the suites that change what such things look like and how large they are.
        receiving: bodies that take them in or mark where they go, likewise.
        grasps: whether the hand has to close on things: only then does a closed, empty hand tell of a missed grasp.
        held_out: a task for suites alone: never in a training set.
    """

    name: ClassVar[str]
    instances: ClassVar[Sequence[str]]
    num_candidates: ClassVar[int]
    templates: ClassVar[Sequence[str]]
    unseen_templates: ClassVar[Sequence[str]] = ()
    expert_keyframes: ClassVar[int]
    manipulated: ClassVar[Sequence[str]] = ()
    receiving: ClassVar[Sequence[str]] = ()
    grasps: ClassVar[bool] = True
    held_out: ClassVar[bool] = False

    @classmethod
    def make_env(cls, image_size: int = 128, renderer: str | None = "warp", factors: Sequence[str] = ()) -> "TabletopEnv":
        """The task's environment: the factory that an entry point of ``vla3d.tasks`` names."""
        from vla3d.envs.tabletop.env import TabletopEnv  # env imports this module

        return TabletopEnv(cls(), image_size=image_size, renderer=renderer, factors=factors)

    @property
    def num_variations(self) -> int:
        """One variation for each colour that can be named."""
        return len(COLOR_NAMES)

    def variations(self, unseen: bool = False) -> Sequence[int]:
        """Those that episodes draw: what demonstrations ask for, or ``unseen`` ones, which are for the suites alone.

        Unless overridden: all of them, and none that is unseen.
        """
        return range(0 if unseen else self.num_variations)

    @property
    def step_limit(self) -> int:
        """Decisions allowed: twice the expert's, at most ``MAX_STEPS``."""
        return min(2 * self.expert_keyframes, MAX_STEPS)

    def sentences(self, variation: int, unseen: bool = False) -> tuple[str, ...]:
        """Every sentence that asks for a variation's goal: those of the demonstrations, or the ``unseen`` ones."""
        return tuple(self.fill(template, variation) for template in (self.unseen_templates if unseen else self.templates))

    def fill(self, template: str, variation: int) -> str:
        """A template with the variation's colours in it."""
        return template.format(color=COLOR_NAMES[variation])

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """The candidate that a variation's sentences name in this scenario; None when no such thing is present."""
        colors = scenario.colors[: self.num_candidates]
        return colors.index(variation) if variation in colors else None

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """The variation whose sentences name a candidate: the inverse of ``candidate``."""
        return scenario.colors[candidate]

    def absent_variations(self, scenario: Scenario, unseen: bool = False) -> Sequence[int]:
        """Variations whose sentences ask for something that is not there; empty where everything that can be said is.

        Unless overridden: those without a candidate that differ from the episode's own sentence in the fewest words, so that
        all but one of the things they name are there.

        Args:
            scenario: the episode's.
            unseen: which variations to choose from.
        """
        words = self.fill(self.templates[0], scenario.variation).split()
        changed: dict[int, list[int]] = {}
        for variation in self.variations(unseen):
            if self.candidate(scenario, variation) is None:
                others = self.fill(self.templates[0], variation).split()
                count = sum(word != other for word, other in zip_longest(words, others))
                changed.setdefault(count, []).append(variation)
        return changed[min(changed)] if changed else []

    def rivals(self, world: World, scenario: Scenario) -> Sequence[int]:
        """Other candidates that what was done so far serves as well as the goal: demos then also hold the way to them.

        Unless overridden: all others before the first motion, none later.
        """
        return [other for other in range(self.num_candidates) if other != scenario.goal] if world.untouched else []

    def kept_free(self, world: World, scenario: Scenario) -> Float[np.ndarray, "n 3"]:
        """Where nothing more may be put, because things move there: circles on the table of x, y and radius, metres."""
        return np.zeros((0, 3))

    @abstractmethod
    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the task's bodies to the scene."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw an episode."""

    @abstractmethod
    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put the scenario into the world: colours, furniture, free bodies."""

    @abstractmethod
    def reached(self, world: World, candidate: int) -> bool:
        """Whether the goal holds for a candidate at this instant (the environment asks for a whole second of it)."""

    @abstractmethod
    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether the robot has hold of, or has changed, a candidate. See ``wrong_object``."""

    def wrong_object(self, world: World, scenario: Scenario) -> bool:
        """Whether a failed episode failed for what was done to other things than the named ones.

        Unless overridden: when any other candidate is disturbed.
        """
        others = (index for index in range(self.num_candidates) if index != scenario.goal)
        return any(self.disturbed(world, other) for other in others)

    @abstractmethod
    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """The expert's next action from the present state."""


def name_one(rng: np.random.Generator, colors: Sequence[int], poses: Sequence[TablePose]) -> Scenario:
    """Shuffle the candidates' colours, so that no body is always the named one, and draw which other the swap names.

    Args:
        rng: source of the choices.
        colors: the candidates' colours; the first is the variation, the colour that the sentence names.
        poses: places, in the order of the bodies.
    """
    shuffled = [int(color) for color in rng.permutation(colors)]
    goal = shuffled.index(colors[0])
    swapped = int(rng.choice([index for index in range(len(shuffled)) if index != goal]))
    return Scenario(variation=colors[0], goal=goal, swapped=swapped, colors=tuple(shuffled), poses=tuple(poses))
