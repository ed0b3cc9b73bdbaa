"""Where things stand: a tree of levels, free of collisions by construction.

Every thing stands on one level: the floor, the top of another thing, the room inside it or under it. Its outline lies within
the level's, and keeps clear of all other outlines on that level. Levels of one thing lie above each other. So whatever is above
a thing's outline belongs to that thing, and no two things can meet.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from vla3d.scene_graphs.generator.catalog import SIZES, Item, Place
from vla3d.scene_graphs.generator.rectangles import Rectangle, apart

_TRIES = 12
_CLEARANCE = 0.004
_MARGIN = 0.004
# Share of things that are put right beside another one, touching it or a little away, rather than anywhere.
_BESIDE = 0.35
_BESIDE_GAPS = ((0.001, 0.004), (0.015, 0.045))
# How much of a thing may stick out of an open container: in a band of its own predicate it would be neither in nor out.
_STICKS_OUT = 1.35


@dataclass(slots=True)
class Body:
    """A thing in the making: its box, and what decides its looks."""

    label: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    kind: str = "object"
    color: str | None = None
    size_word: str | None = None
    opening: float | None = None
    whole: int | None = None
    place: Place | None = None
    owner: int | None = None


@dataclass(slots=True)
class Level:
    """Somewhere to stand.

    Attributes:
        owner: position of the thing that it belongs to.
        place: how things stand there.
        outline: within which they must lie.
        z: height of their undersides, metres.
        headroom: how tall they may be, metres.
        ceiling: height of what is above all that stands there, also of things on things, metres.
        taken: outlines of what stands there already.
    """

    owner: int
    place: Place
    outline: Rectangle
    z: float
    headroom: float = math.inf
    ceiling: float = math.inf
    taken: list[Rectangle] = field(default_factory=list)

    def suits(self, item: Item, height: float) -> bool:
        """Whether a thing of that height can stand there. What opens stands on floors and tables alone."""
        fits = height <= self.headroom and self.z + height <= self.ceiling
        return fits and self.place in item.places and (item.part is None or self.owner == 0)


def pick(rng: random.Random, choices: Sequence[str]) -> str:
    """One of several, each as likely."""
    return choices[int(rng.random() * len(choices))]


class Layout:
    """Bodies so far, and the levels on which more can be put.

    Args:
        rng: draws everything.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.bodies: list[Body] = []
        self.levels: list[Level] = []

    def add_floor(self, body: Body, place: Place, outline: Rectangle) -> None:
        """Start with a surface."""
        self.bodies.append(body)
        self.levels.append(Level(0, place, outline, body.center[2] + body.size[2] / 2))

    def put(self, item: Item, colors: Sequence[str], levels: Sequence[Level] | None = None, tries: int = _TRIES) -> int | None:
        """Put a thing somewhere, or give up.

        Args:
            item: what.
            colors: those it may have.
            levels: where it may stand; anywhere that suits it by default.
            tries: how often to look for a place.

        Returns:
            Its position among the bodies.
        """
        rng = self.rng
        size_word = pick(rng, tuple(SIZES))
        low, high = SIZES[size_word]
        scale = low + (high - low) * rng.random()
        length, width, height = (edge * scale * (0.97 + 0.06 * rng.random()) for edge in item.size)
        size = (length, width, height)
        wanted = self.levels if levels is None else levels
        usable = [level for level in wanted if level.suits(item, size[2])]
        color = pick(rng, colors)
        opening = None
        if item.part:
            opening = 0.0 if rng.random() < 0.5 else 0.4 + 0.6 * rng.random()
        front = _front(item, size, opening)
        for _ in range(tries if usable else 0):
            level = self._pick_level(usable)
            outline = self._free_outline(level, (size[0] + front) / 2, size[1] / 2, item.wall)
            if outline is not None:
                level.taken.append(outline)
                x, y = outline.point(-front / 2, 0.0)
                body = Body(item.label, (x, y, level.z + size[2] / 2), size, outline.yaw, color=color, size_word=size_word)
                body.opening, body.place, body.owner = opening, level.place, level.owner
                number = len(self.bodies)
                self._settle(item, body, level.ceiling)
                return number
        return None

    def _pick_level(self, usable: Sequence[Level]) -> Level:
        """A level of a way to stand that is as likely as the others: else hardly anything would be in or under another."""
        ways = sorted({(level.place, level.owner > 0) for level in usable})
        ways += [way for way in ways if way[1]]
        way = ways[int(self.rng.random() * len(ways))]
        chosen = [level for level in usable if (level.place, level.owner > 0) == way]
        return chosen[int(self.rng.random() * len(chosen))]

    def _free_outline(self, level: Level, half_x: float, half_y: float, wall: bool) -> Rectangle | None:
        """A free place for a rectangle, or none when the drawn one is taken."""
        rng, area = self.rng, level.outline
        if wall and level.place == "floor":
            candidate = self._at_wall(area, half_x, half_y)
        elif level.taken and rng.random() < _BESIDE:
            candidate = self._beside(level.taken[int(rng.random() * len(level.taken))], half_x, half_y)
        else:
            turn = rng.random() * 2 * math.pi if rng.random() < 0.5 else math.pi / 2 * int(4 * rng.random())
            shape = Rectangle(0.0, 0.0, half_x, half_y, area.yaw + turn)
            room_x, room_y = (
                half - reach for half, reach in zip((area.half_x, area.half_y), shape.reach(area.yaw), strict=True)
            )
            if room_x < 0 or room_y < 0:
                return None
            x, y = area.point(room_x * (2 * rng.random() - 1), room_y * (2 * rng.random() - 1))
            candidate = Rectangle(x, y, half_x, half_y, shape.yaw)
        if not area.holds(candidate) or not all(apart(candidate, other, _gap(candidate, other)) for other in level.taken):
            return None
        return candidate

    def _at_wall(self, area: Rectangle, half_x: float, half_y: float) -> Rectangle:
        """With its back a little away from one of the walls."""
        rng = self.rng
        side, turn = int(4 * rng.random()), 0.06 * (2 * rng.random() - 1)
        across = (area.half_x, area.half_y)[side % 2] - half_x - 0.03 - 0.10 * rng.random()
        along = ((area.half_y, area.half_x)[side % 2] - half_y) * (2 * rng.random() - 1)
        # The back is to the wall on the side that the front looks away from.
        look = side * math.pi / 2
        c, s = math.cos(look), math.sin(look)
        x, y = area.point(-c * across - s * along, -s * across + c * along)
        return Rectangle(x, y, half_x, half_y, area.yaw + look + turn)

    def _beside(self, other: Rectangle, half_x: float, half_y: float) -> Rectangle:
        """Next to something, with parallel sides."""
        rng = self.rng
        low, high = _BESIDE_GAPS[int(2 * rng.random())]
        gap = low + (high - low) * rng.random()
        sign = 1 if rng.random() < 0.5 else -1
        if rng.random() < 0.5:
            u, v = sign * (other.half_x + half_x + gap), other.half_y * (rng.random() - 0.5)
        else:
            u, v = other.half_x * (rng.random() - 0.5), sign * (other.half_y + half_y + gap)
        x, y = other.point(u, v)
        return Rectangle(x, y, half_x, half_y, other.yaw)

    def _settle(self, item: Item, body: Body, ceiling: float) -> None:
        """Add a body with its parts, and the levels that it offers below a ceiling."""
        number = len(self.bodies)
        self.bodies.append(body)
        (x, y, z), (sx, sy, sz) = body.center, body.size
        top, bottom = z + sz / 2, z - sz / 2
        if item.flat:
            inset = _MARGIN
            outline = Rectangle(x, y, sx / 2 - inset, sy / 2 - inset, body.yaw)
            self.levels.append(Level(number, "top", outline, top, ceiling=ceiling))
        if item.interior is not None:
            wall, levels = item.interior.wall, item.interior.levels
            room = (sz - wall) / levels - wall
            outline = Rectangle(x, y, sx / 2 - wall - _MARGIN, sy / 2 - wall - _MARGIN, body.yaw)
            for level in range(levels):
                floor = bottom + wall + level * (room + wall)
                above = floor + room - 0.01 if item.interior.covered else ceiling
                self.levels.append(Level(number, "inside", outline, floor, room * _STICKS_OUT, above))
        if item.leg_room is not None:
            self._settle_table(item.leg_room, body, number)
        if item.part == "drawer":
            self._settle_drawer(body, number)
        if item.part == "door":
            self._settle_door(body, number)

    def _settle_table(self, thickness: float, body: Body, number: int) -> None:
        (x, y, z), (sx, sy, sz) = body.center, body.size
        body.kind, top = "surface", z + sz / 2
        slab = Body("tabletop", (x, y, top - thickness / 2), (sx, sy, thickness), body.yaw, kind="part", whole=number)
        slab.color = body.color
        self.bodies.append(slab)
        self.levels.append(Level(number, "top", Rectangle(x, y, sx / 2 - _MARGIN, sy / 2 - _MARGIN, body.yaw), top))
        legs = Rectangle(x, y, sx / 2 - 0.09, sy / 2 - 0.09, body.yaw)
        self.levels.append(Level(number, "under", legs, z - sz / 2, ceiling=top - thickness - 0.05))

    def _settle_drawer(self, body: Body, number: int) -> None:
        (x, y, z), (sx, sy, sz) = body.center, body.size
        length, width, height = 0.92 * sx, 0.88 * sy, 0.42 * sz
        shift = drawer_travel(sx, body.opening or 0.0)
        frame = Rectangle(x, y, sx / 2, sy / 2, body.yaw)
        middle = frame.point(sx / 2 - length / 2 + shift, 0.0)
        low = z + 0.02 * sz
        part = Body("drawer", (*middle, low + height / 2), (length, width, height), body.yaw, kind="part", whole=number)
        part.color, part.opening = body.color, body.opening
        self.bodies.append(part)
        if shift > 0.10:
            reach = (shift - 0.015) / 2
            middle = frame.point(sx / 2 + 0.003 + reach, 0.0)
            outline = Rectangle(*middle, reach, width / 2 - 0.01 - _MARGIN, body.yaw)
            self.levels.append(Level(number + 1, "inside", outline, low + 0.008, (height - 0.008) * _STICKS_OUT))

    def _settle_door(self, body: Body, number: int) -> None:
        (x, y, z), (sx, sy, sz) = body.center, body.size
        thick, turn = 0.02, -(body.opening or 0.0) * math.pi / 2
        hinge = Rectangle(*Rectangle(x, y, 0.0, 0.0, body.yaw).point(sx / 2, -sy / 2), 0.0, 0.0, body.yaw + turn)
        middle = hinge.point(-thick / 2, sy / 2)
        part = Body("door", (*middle, z), (thick, sy, sz), hinge.yaw, kind="part", whole=number)
        part.color, part.opening = body.color, body.opening
        self.bodies.append(part)


def drawer_travel(depth: float, opening: float) -> float:
    """How far a drawer of a cabinet is pulled out, metres."""
    return 0.80 * depth * opening


def _front(item: Item, size: tuple[float, float, float], opening: float | None) -> float:
    """Room before a thing that its open part takes."""
    if item.part == "drawer":
        return drawer_travel(size[0], opening or 0.0)
    if item.part == "door" and opening:
        return size[1] * math.sin(opening * math.pi / 2) + 0.02
    return 0.0


def _gap(one: Rectangle, two: Rectangle) -> float:
    """What is put beside something may touch it; else there is a clearance that no rounding can close."""
    return 0.001 - 1e-9 if one.yaw == two.yaw else _CLEARANCE
