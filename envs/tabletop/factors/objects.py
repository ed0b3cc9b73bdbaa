"""Factors of the things a task is about: colour, texture, size, friction, mass.

They come in two kinds, as in The COLOSSEUM (Pumacay et al. 2024, table I): those of the *manipulated* objects and those of the
*receiving* ones. All things of a kind change together, so nothing but the sentence tells the named one from the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, Rgb
from vla3d.envs.tabletop.factors.base import Change, Factor, outermost, two_sided, whole_body
from vla3d.envs.tabletop.factors.palette import FURNITURE, SHADES
from vla3d.envs.tabletop.factors.textures import PATTERNS, add_material, pattern
from vla3d.envs.tabletop.robot import PANDA
from vla3d.envs.tabletop.tasks.base import TabletopTask

Role = Literal["manipulated", "receiving"]
_SHORT = {"manipulated": "mo", "receiving": "ro"}
_LONG = {"manipulated": "manipulated object", "receiving": "receiving object"}

SMALLER, LARGER = (0.80, 0.90), (1.10, 1.20)
LIGHTER, HEAVIER = (0.3, 0.5), (2.0, 4.0)
SMOOTHER, ROUGHER = (0.5, 0.7), (1.4, 1.8)


class RoleFactor(Factor):
    """A factor of the manipulated or the receiving objects."""

    property_name: str

    def __init__(self, role: Role) -> None:
        self.role = role
        self.name = f"{_SHORT[role]}_{self.property_name}"  # type: ignore[misc]
        self.label = f"{_LONG[role]}: {self.property_name}"  # type: ignore[misc]

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task has such objects."""
        return bool(self.bodies(task))

    def bodies(self, task: TabletopTask) -> Sequence[str]:
        """The objects' bodies."""
        return task.manipulated if self.role == "manipulated" else task.receiving


class Color(RoleFactor):
    """Other shades of the same names; furniture, which has no name, another colour."""

    property_name = "color"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a shade for every name, so that things of one colour stay of one colour."""
        shades = {COLORS[name]: SHADES[name][rng.integers(2)] for name in COLOR_NAMES}
        return _Recolored(tuple(self.bodies(task)), shades, FURNITURE[rng.integers(len(FURNITURE))])


@dataclass(frozen=True)
class _Recolored(Change):
    bodies: tuple[str, ...]
    shades: Mapping[Rgb, Rgb]
    furniture: Rgb

    def edit(self, spec: mujoco.MjSpec) -> None:
        for body in self.bodies:
            for geom in spec.body(body).geoms:
                old = tuple(float(channel) for channel in geom.rgba[:3])
                if old not in self.shades:  # painted ones get their shade from ``repaint``
                    geom.rgba = [*self.furniture, geom.rgba[3]]

    def repaint(self, body: str, rgb: Rgb) -> Rgb:
        return self.shades.get(rgb, rgb) if body in self.bodies else rgb


class Texture(RoleFactor):
    """A pattern over the colour."""

    property_name = "texture"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a pattern."""
        return _Textured(self.name, tuple(self.bodies(task)), pattern(PATTERNS[rng.integers(len(PATTERNS))], rng))


@dataclass(frozen=True, eq=False)
class _Textured(Change):
    name: str
    bodies: tuple[str, ...]
    grey: np.ndarray

    def edit(self, spec: mujoco.MjSpec) -> None:
        material = add_material(spec, self.name, self.grey, repeats=1.0)
        for body in self.bodies:
            for geom in spec.body(body).geoms:
                geom.material = material


class Size(RoleFactor):
    """Larger or smaller in all directions; the mass grows with the volume."""

    property_name = "size"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a scale."""
        return Scaled(tuple(self.bodies(task)), two_sided(rng, SMALLER, LARGER))


@dataclass(frozen=True)
class Scaled(Change):
    """Bodies with all below them, larger by a factor.

    Attributes:
        bodies: those to scale; of one inside another only the outer is.
        factor: of all lengths.
    """

    bodies: tuple[str, ...]
    factor: float

    def edit(self, spec: mujoco.MjSpec) -> None:
        """Scale geometry, joints and masses."""
        for root in outermost(spec, self.bodies):
            for body in whole_body(root):
                if body is not root:
                    body.pos = np.multiply(body.pos, self.factor)
                for geom in body.geoms:
                    self._scale_geom(geom)
                for site in body.sites:
                    site.pos, site.size = np.multiply(site.pos, self.factor), np.multiply(site.size, self.factor)
                for joint in body.joints:
                    if joint.type == mujoco.mjtJoint.mjJNT_SLIDE:
                        joint.range = np.multiply(joint.range, self.factor)

    def scales(self) -> Mapping[str, float]:
        """Every body; those inside another are found through it, and agree."""
        return dict.fromkeys(self.bodies, self.factor)

    def _scale_geom(self, geom: mujoco.MjsGeom) -> None:
        geom.size = np.multiply(geom.size, self.factor)
        geom.pos = np.multiply(geom.pos, self.factor)
        geom.fromto = np.multiply(geom.fromto, self.factor)  # not a number where the geom is given by its place
        geom.mass = geom.mass * self.factor**3


class Friction(Factor):
    """Smoother or rougher fingers, table and things."""

    name = "friction"
    label = "friction"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a multiple of the friction coefficients."""
        return _Rubbed((*task.manipulated, *task.receiving, *PANDA.fingers), two_sided(rng, SMOOTHER, ROUGHER))


@dataclass(frozen=True)
class _Rubbed(Change):
    bodies: tuple[str, ...]
    factor: float

    def edit(self, spec: mujoco.MjSpec) -> None:
        geoms = [spec.geom("table"), *(geom for body in self.bodies for geom in spec.body(body).geoms)]
        for geom in geoms:
            geom.friction = np.multiply(geom.friction, self.factor)


class Mass(Factor):
    """Lighter or heavier things."""

    name = "mass"
    label = "mass"

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the hand moves anything."""
        return bool(task.manipulated)

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a multiple of the mass."""
        return _Weighted((*task.manipulated, *task.receiving), two_sided(rng, LIGHTER, HEAVIER))


@dataclass(frozen=True)
class _Weighted(Change):
    bodies: tuple[str, ...]
    factor: float

    def edit(self, spec: mujoco.MjSpec) -> None:
        for body in self.bodies:
            for geom in spec.body(body).geoms:
                geom.mass = geom.mass * self.factor
