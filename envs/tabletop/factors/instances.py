"""Factors of other instances of the same kind: rigid things of unseen shapes, unseen handles and drawers."""

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from vla3d.envs.tabletop.factors.base import Change, Factor, two_sided
from vla3d.envs.tabletop.factors.language import replace_words
from vla3d.envs.tabletop.factors.objects import Scaled
from vla3d.envs.tabletop.factors.palette import FURNITURE
from vla3d.envs.tabletop.objects import HANDLE_CLEARANCE, HANDLE_GRASP_HEIGHT, HANDLE_RADIUS, HANDLE_TOP
from vla3d.envs.tabletop.tasks.base import TabletopTask

_GEOM = mujoco.mjtGeom
_NOUNS = ("cube", "block")
SHAPES: tuple[str, ...] = ("cylinder", "prism")
HANDLES: tuple[str, ...] = ("post", "plate", "knob")
SMALLER_CABINET, LARGER_CABINET = (0.86, 0.93), (1.06, 1.10)


class UnseenShapes(Factor):
    """Cylinders or hexagonal prisms in place of cubes, called so."""

    name = "unseen_shapes"
    label = "unseen rigid shapes"

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task is about cubes, and says so."""
        return bool(cubes_of(task)) and any(noun in template for template in task.templates for noun in _NOUNS)

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw the shape."""
        return _Reshaped(cubes_of(task), SHAPES[rng.integers(len(SHAPES))])


@dataclass(frozen=True)
class _Reshaped(Change):
    bodies: tuple[str, ...]
    shape: str

    def edit(self, spec: mujoco.MjSpec) -> None:
        for body in self.bodies:
            (geom,) = spec.body(body).geoms
            half = np.array(geom.size)
            if self.shape == "cylinder":
                geom.type, geom.size = _GEOM.mjGEOM_CYLINDER, [half[0], half[2], 0.0]
            else:
                spec.add_mesh(name=f"{body}/prism", uservert=_prism(*half).ravel())
                geom.type, geom.meshname = _GEOM.mjGEOM_MESH, f"{body}/prism"

    def reword(self, sentence: str) -> str:
        return replace_words(sentence, dict.fromkeys(_NOUNS, self.shape))


class UnseenHandles(Factor):
    """Handles of other shapes, held at the same place."""

    name = "unseen_handles"
    label = "unseen handles"

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task has drawers."""
        return bool(drawers_of(task))

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw the shape."""
        return _Rehandled(drawers_of(task), HANDLES[rng.integers(len(HANDLES))])


@dataclass(frozen=True)
class _Rehandled(Change):
    drawers: tuple[str, ...]
    shape: str

    def edit(self, spec: mujoco.MjSpec) -> None:
        for drawer in self.drawers:
            handle = spec.geom(f"{drawer}/handle")
            low, high = handle.fromto[2], HANDLE_TOP
            middle, half = (low + high) / 2, (high - low) / 2
            handle.fromto = [np.nan] * 6
            handle.pos = [-HANDLE_CLEARANCE, 0.0, middle]
            if self.shape == "knob":
                handle.type, handle.size = _GEOM.mjGEOM_CYLINDER, [0.016, (HANDLE_TOP - HANDLE_GRASP_HEIGHT) + 0.006, 0.0]
                handle.pos = [-HANDLE_CLEARANCE, 0.0, HANDLE_GRASP_HEIGHT]
                self._add_stem(spec, drawer, handle, low)
                continue
            handle.type = _GEOM.mjGEOM_BOX
            handle.size = [0.010, 0.010, half] if self.shape == "post" else [0.018, 0.006, half]

    @staticmethod
    def _add_stem(spec: mujoco.MjSpec, drawer: str, handle: mujoco.MjsGeom, low: float) -> None:
        half = (HANDLE_GRASP_HEIGHT - low) / 2
        spec.body(drawer).add_geom(
            name=f"{drawer}/stem",
            type=_GEOM.mjGEOM_CYLINDER,
            size=[0.5 * HANDLE_RADIUS, half, 0.0],
            pos=[-HANDLE_CLEARANCE, 0.0, low + half],
            mass=0.1 * handle.mass,
            rgba=handle.rgba,
        )


class UnseenDrawers(Factor):
    """Cabinets of another size and colour, whose drawers have lower fronts."""

    name = "unseen_drawers"
    label = "unseen drawers"

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task has drawers."""
        return bool(drawers_of(task))

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw size, colour, and height of the fronts."""
        drawers = drawers_of(task)
        cabinet = drawers[0].split("/")[0]
        color = FURNITURE[rng.integers(len(FURNITURE))]
        scaled = Scaled((cabinet, *drawers), two_sided(rng, SMALLER_CABINET, LARGER_CABINET))
        return _Rebuilt(scaled, cabinet, drawers, color, float(rng.uniform(0.6, 0.8)))


@dataclass(frozen=True)
class _Rebuilt(Change):
    scaled: Scaled
    cabinet: str
    drawers: tuple[str, ...]
    color: tuple[float, float, float]
    front: float

    def edit(self, spec: mujoco.MjSpec) -> None:
        for geom in spec.body(self.cabinet).geoms:
            geom.rgba = [*self.color, 1.0]
        for drawer in self.drawers:
            front = spec.geom(f"{drawer}/front")
            bottom, half = front.pos[2] - front.size[2], self.front * front.size[2]
            front.size = [front.size[0], front.size[1], half]
            front.pos = [front.pos[0], front.pos[1], bottom + half]
        self.scaled.edit(spec)

    def scales(self) -> Mapping[str, float]:
        return self.scaled.scales()


def cubes_of(task: TabletopTask) -> tuple[str, ...]:
    """A task's cubes among what the hand moves."""
    return tuple(body for body in task.manipulated if body.startswith(("cube", "block")))


def drawers_of(task: TabletopTask) -> tuple[str, ...]:
    """A task's drawers."""
    return tuple(body for body in (*task.manipulated, *task.receiving) if "/drawer_" in body)


def _prism(half_x: float, half_y: float, half_z: float) -> np.ndarray:
    """Corners of an upright hexagonal prism whose flat sides are as far apart as a cube's, ``(12, 3)``."""
    angles = np.pi / 6 + np.arange(6) * np.pi / 3
    across = np.stack([half_x * np.cos(angles), half_y * np.sin(angles)], axis=-1) / np.cos(np.pi / 6)
    return np.concatenate([np.c_[across, np.full(6, z)] for z in (-half_z, half_z)])
