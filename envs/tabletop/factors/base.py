"""A factor of variation, and the change that it makes to one episode's scene."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import Rgb
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.world import World


class Change:
    """What a factor does to one episode. Every method may be left as it is."""

    unseen_sentences: bool = False
    """Whether the episode is asked for in sentences that no demonstration uses."""

    unseen_variations: bool = False
    """Whether the episode asks for what no demonstration asks for."""

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Change the scene before it is compiled; the task's bodies are in it."""

    def scales(self) -> Mapping[str, float]:
        """Bodies that ``edit`` made larger or smaller, with all below them, and by how much."""
        return {}

    def repaint(self, body: str, rgb: Rgb) -> Rgb:
        """The colour that a body gets in place of the one the task gives it."""
        return rgb

    def reword(self, sentence: str) -> str:
        """The sentence that is said in place of the task's."""
        return sentence

    def arrange(self, world: World, task: TabletopTask, scenario: Scenario) -> None:
        """Place what ``edit`` added; the task's own things stand where they belong."""


class Factor(ABC):
    """One thing that can be different from what training scenes show.

    Its values are disjoint from training's by construction: training scenes have one value, and ``draw`` keeps away from it.

    Attributes:
        name: what configurations call it.
        label: what reports call it.
    """

    name: ClassVar[str]
    label: ClassVar[str]

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task has what the factor changes."""
        return True

    @abstractmethod
    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw an episode's value."""


def outermost(spec: mujoco.MjSpec, bodies: Sequence[str]) -> list[mujoco.MjsBody]:
    """Those of some bodies that no other of them contains."""
    found = []
    for name in bodies:
        parent = spec.body(name).parent
        while parent is not None and parent.name not in bodies:
            parent = parent.parent
        if parent is None:
            found.append(spec.body(name))
    return found


def whole_body(body: mujoco.MjsBody) -> list[mujoco.MjsBody]:
    """A body and all below it."""
    return [body, *(lower for child in body.bodies for lower in whole_body(child))]


def two_sided(rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float]) -> float:
    """A number below or above the middle: uniform in one of two ranges."""
    return float(rng.uniform(*(low if rng.random() < 0.5 else high)))
