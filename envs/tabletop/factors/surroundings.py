"""Factors of everything around a task: light, table, background, things in the way, cameras."""

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, Rgb
from vla3d.envs.tabletop.factors.base import Change, Factor
from vla3d.envs.tabletop.factors.palette import FLOORS, FURNITURE, TABLES
from vla3d.envs.tabletop.factors.textures import PATTERNS, add_material, pattern
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.scene import FIXED_CAMERAS, look_at
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.world import World

NUM_DISTRACTORS = 3
CLEARANCE = 0.06
"""Least gap between a distractor and anything else, metres."""

_ROOM = ((0.30, 0.74), (-0.31, 0.31))
_MAX_TRIES = 60
_PARKED = (2.0, 2.0)
_CAMERA_SHIFT = (0.03, 0.08)
_CAMERA_AIM = 0.04


class LightColor(Factor):
    """Coloured light from everywhere; training light is white."""

    name = "light_color"
    label = "light colour"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a hue, and how strongly it colours."""
        hue, strength = rng.uniform(0.0, 2 * np.pi), rng.uniform(0.2, 0.45)
        waves = 0.5 + 0.5 * np.cos(hue + np.array([0.0, 2.0, 4.0]) * np.pi / 3)
        red, green, blue = (1.0 - strength * waves).tolist()
        return _Lit((red, green, blue))


@dataclass(frozen=True)
class _Lit(Change):
    tint: Rgb

    def edit(self, spec: mujoco.MjSpec) -> None:
        headlight = spec.visual.headlight
        headlight.ambient = np.multiply(headlight.ambient, self.tint)
        headlight.diffuse = np.multiply(headlight.diffuse, self.tint)
        for light in spec.lights:
            light.diffuse = np.multiply(light.diffuse, self.tint)


class TableColor(Factor):
    """Another colour of the table."""

    name = "table_color"
    label = "table colour"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a colour."""
        return _Surface(self.name, "table", TABLES[rng.integers(len(TABLES))], None)


class TableTexture(Factor):
    """A pattern on the table."""

    name = "table_texture"
    label = "table texture"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a pattern."""
        return _Surface(self.name, "table", None, pattern(PATTERNS[rng.integers(len(PATTERNS))], rng))


class BackgroundTexture(Factor):
    """Another floor, with a pattern: what the cameras see beyond the table."""

    name = "background_texture"
    label = "background texture"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw a colour and a pattern."""
        color = FLOORS[rng.integers(len(FLOORS))]
        return _Surface(self.name, "floor", color, pattern(PATTERNS[rng.integers(len(PATTERNS))], rng))


@dataclass(frozen=True, eq=False)
class _Surface(Change):
    name: str
    geom: str
    color: Rgb | None
    grey: np.ndarray | None

    def edit(self, spec: mujoco.MjSpec) -> None:
        geom = spec.geom(self.geom)
        if self.color is not None:
            geom.rgba = [*self.color, 1.0]
        if self.grey is not None:
            geom.material = add_material(spec, self.name, self.grey, repeats=3.0)


class CameraPose(Factor):
    """Fixed cameras that stand and look elsewhere; they stay calibrated."""

    name = "camera_pose"
    label = "camera pose"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw for each camera a shift of 3 to 8 cm, and a place up to 4 cm away to look at."""
        moved = {}
        for name, camera in FIXED_CAMERAS.items():
            direction = rng.normal(size=3)
            shift = direction / np.linalg.norm(direction) * rng.uniform(*_CAMERA_SHIFT)
            target = np.add(camera.target, rng.uniform(-_CAMERA_AIM, _CAMERA_AIM, size=3))
            moved[name] = (np.add(camera.position, shift), target)
        return _Moved(moved)


@dataclass(frozen=True, eq=False)
class _Moved(Change):
    cameras: dict[str, tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]

    def edit(self, spec: mujoco.MjSpec) -> None:
        for name, (position, target) in self.cameras.items():
            camera = spec.camera(name)
            camera.pos, camera.quat = position, look_at(position.tolist(), target.tolist(), up=(0, 0, 1))


class Distractors(Factor):
    """Three more things on the table, of other shapes and in colours that nothing of the task has."""

    name = "distractors"
    label = "distractors"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw which shapes; where they stand and their colours are drawn when the task's things are in place."""
        shapes = rng.permutation(len(_SHAPES))[:NUM_DISTRACTORS]
        return _Crowded(tuple(int(shape) for shape in shapes), int(rng.integers(2**31)))


@dataclass(frozen=True)
class _Crowded(Change):
    shapes: tuple[int, ...]
    seed: int

    def edit(self, spec: mujoco.MjSpec) -> None:
        for index, shape in enumerate(self.shapes):
            body = spec.worldbody.add_body(name=_distractor(index), pos=[*_PARKED, 0.5 * index])
            body.add_freejoint(name=_distractor(index))
            for part in _SHAPES[shape]:
                body.add_geom(mass=0.05, rgba=[0.5, 0.5, 0.51, 1], **part)

    def arrange(self, world: World, task: TabletopTask, scenario: Scenario) -> None:
        rng = np.random.default_rng(self.seed)
        free = [COLORS[name] for index, name in enumerate(COLOR_NAMES) if index not in scenario.colors] or list(FURNITURE)
        world.sim.refresh()
        kept_free = task.kept_free(world, scenario)
        for index, shape in enumerate(self.shapes):
            body = _distractor(index)
            world.paint(body, free[int(rng.integers(len(free)))])
            self._place(rng, world, body, -_bottom(shape), kept_free)

    @staticmethod
    def _place(rng: np.random.Generator, world: World, body: str, height: float, kept_free: np.ndarray) -> None:
        """Find a place with room around it; where there is none the thing stays out of sight."""
        for _ in range(_MAX_TRIES):
            x, y = (float(rng.uniform(*ends)) for ends in _ROOM)
            if (np.hypot(kept_free[:, 0] - x, kept_free[:, 1] - y) < kept_free[:, 2]).any():
                continue
            world.put(body, TablePose(x, y, float(rng.uniform(-np.pi, np.pi))), height)
            world.sim.refresh()
            if world.gap(body) >= CLEARANCE:
                return
        world.put(body, TablePose(*_PARKED, 0.0), height)
        world.sim.refresh()


def _distractor(index: int) -> str:
    return f"distractor_{index}"


_GEOM = mujoco.mjtGeom
# Each shape is a list of geoms; the origin is the middle of the lowest one. None is higher than 6 cm: the palm passes over it.
_SHAPES: tuple[tuple[dict[str, object], ...], ...] = (
    ({"type": _GEOM.mjGEOM_CYLINDER, "size": [0.030, 0.026, 0]},),  # a can
    (  # a bottle
        {"type": _GEOM.mjGEOM_CYLINDER, "size": [0.025, 0.018, 0]},
        {"type": _GEOM.mjGEOM_CYLINDER, "size": [0.010, 0.012, 0], "pos": [0, 0, 0.030]},
    ),
    ({"type": _GEOM.mjGEOM_BOX, "size": [0.05, 0.018, 0.028]},),  # a carton
    (  # a dumb-bell on its end
        {"type": _GEOM.mjGEOM_CYLINDER, "size": [0.028, 0.008, 0]},
        {"type": _GEOM.mjGEOM_CYLINDER, "size": [0.011, 0.014, 0], "pos": [0, 0, 0.022]},
        {"type": _GEOM.mjGEOM_CYLINDER, "size": [0.028, 0.008, 0], "pos": [0, 0, 0.044]},
    ),
    ({"type": _GEOM.mjGEOM_ELLIPSOID, "size": [0.035, 0.035, 0.02]},),  # a pebble
)


def _bottom(shape: int) -> float:
    """Height of a shape's lowest point in its frame, metres."""
    lowest = _SHAPES[shape][0]
    size = lowest["size"]
    assert isinstance(size, list)
    return -float(size[1] if lowest["type"] == _GEOM.mjGEOM_CYLINDER else size[2])
