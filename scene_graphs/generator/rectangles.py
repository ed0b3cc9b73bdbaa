"""Rectangles on a level, turned about the vertical: do they keep a distance? Plain floats: scenes are drawn one by one."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle in the plane.

    Attributes:
        x: of its middle, metres.
        y: of its middle, metres.
        half_x: half its length along its own x axis, metres.
        half_y: half its length along its own y axis, metres.
        yaw: radians.
    """

    x: float
    y: float
    half_x: float
    half_y: float
    yaw: float

    def point(self, u: float, v: float) -> tuple[float, float]:
        """World position of a position in its own axes."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + c * u - s * v, self.y + s * u + c * v

    def reach(self, yaw: float) -> tuple[float, float]:
        """Half extents of this rectangle along the axes of a frame turned by ``yaw``."""
        c, s = abs(math.cos(self.yaw - yaw)), abs(math.sin(self.yaw - yaw))
        return c * self.half_x + s * self.half_y, s * self.half_x + c * self.half_y

    def holds(self, other: "Rectangle") -> bool:
        """Whether the other lies within this one."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        dx, dy = other.x - self.x, other.y - self.y
        reach_x, reach_y = other.reach(self.yaw)
        within_x = abs(c * dx + s * dy) + reach_x <= self.half_x + 1e-9
        return within_x and abs(c * dy - s * dx) + reach_y <= self.half_y + 1e-9


def apart(one: Rectangle, two: Rectangle, gap: float) -> bool:
    """Whether some side of one of them has the other one at least ``gap`` beyond it (S. Gottschalk's separating axes)."""
    dx, dy = two.x - one.x, two.y - one.y
    far = math.hypot(one.half_x, one.half_y) + math.hypot(two.half_x, two.half_y) + gap
    if dx * dx + dy * dy > far * far:
        return True
    for this, other in ((one, two), (two, one)):
        c, s = math.cos(this.yaw), math.sin(this.yaw)
        reach_x, reach_y = other.reach(this.yaw)
        if abs(c * dx + s * dy) >= this.half_x + reach_x + gap or abs(c * dy - s * dx) >= this.half_y + reach_y + gap:
            return True
    return False
