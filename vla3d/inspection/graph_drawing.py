"""Pens for pictures of scene graphs: arrows, labels that keep clear of each other, colours that can be seen on dark."""

import math
from collections.abc import Sequence

from PIL import ImageDraw

from vla3d.evaluation.drawing import BACKGROUND, MUTED, TEXT, font
from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.node import SceneNode

Point = tuple[float, float]
Rgb = tuple[int, int, int]

EDGE_COLORS: dict[str, Rgb] = {
    "on": (88, 186, 255),
    "in": (255, 200, 87),
    "held_by": (255, 120, 120),
    "inside_gripper": (200, 150, 255),
}
_PLAIN = (150, 165, 180)
_HEAD = 11
_PAD = 5
_LEAST_BRIGHTNESS = 150


def node_color(node: SceneNode) -> Rgb:
    """A node's colour, light enough for a dark ground."""
    if node.kind == "gripper" or node.rgb is None:
        return MUTED if node.kind == "surface" else TEXT
    red, green, blue = (round(255 * float(value)) for value in node.rgb)
    lift = max(0, _LEAST_BRIGHTNESS - max(red, green, blue))
    return red + lift, green + lift, blue + lift


def edge_color(edge: Edge) -> Rgb:
    """Contacts have colours of their own, directions are plain."""
    return EDGE_COLORS.get(edge.predicate, _PLAIN)


def arrow(draw: ImageDraw.ImageDraw, start: Point, end: Point, color: Rgb, *, width: int = 3, short: float = 0.0) -> None:
    """An arrow that stops ``short`` pixels before both ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if length < 2 * short + _HEAD:
        short = max(0.0, (length - _HEAD) / 2)
    if length < 1:
        return
    ux, uy = dx / length, dy / length
    tail = (start[0] + ux * short, start[1] + uy * short)
    tip = (end[0] - ux * short, end[1] - uy * short)
    neck = (tip[0] - ux * _HEAD, tip[1] - uy * _HEAD)
    for pen, extra in ((BACKGROUND, 3), (color, 0)):
        draw.line((*tail, *neck), fill=pen, width=width + extra)
        wing = _HEAD * 0.5 + extra / 2
        draw.polygon(
            [
                (tip[0] + ux * extra / 2, tip[1] + uy * extra / 2),
                (neck[0] - uy * wing, neck[1] + ux * wing),
                (neck[0] + uy * wing, neck[1] - ux * wing),
            ],
            fill=pen,
        )


class Labels:
    """Short texts on dark plates, each moved until it covers no other and stays in the picture.

    Args:
        draw: where they go.
        size: width and height of the picture, pixels.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
        self._draw, self._size = draw, size
        self._taken: list[tuple[float, float, float, float]] = []

    def put(self, text: str, at: Point, color: Rgb, *, size: int = 15, bold: bool = False, border: bool = True) -> None:
        """Write a label with its middle near a point."""
        chosen = font(size, bold)
        left, top, right, bottom = self._draw.textbbox((0, 0), text, font=chosen)
        width, height = right - left + 2 * _PAD, bottom - top + 2 * _PAD
        box = self._free_place(at, width, height)
        self._taken.append(box)
        self._draw.rounded_rectangle(box, radius=5, fill=BACKGROUND, outline=color if border else None, width=2)
        self._draw.text((box[0] + _PAD - left, box[1] + _PAD - top), text, font=chosen, fill=color if not border else TEXT)

    def _free_place(self, at: Point, width: float, height: float) -> tuple[float, float, float, float]:
        best, least = (0.0, 0.0, width, height), math.inf
        for ring in range(9):
            for turn in range(1 if ring == 0 else 12):
                angle = 2 * math.pi * turn / 12 - math.pi / 2
                x = at[0] + 0.7 * ring * height * math.cos(angle) * 1.6
                y = at[1] + 0.7 * ring * height * math.sin(angle)
                left = min(max(x - width / 2, 2), max(2, self._size[0] - width - 2))
                top = min(max(y - height / 2, 2), max(2, self._size[1] - height - 2))
                box = (left, top, left + width, top + height)
                covered = sum(_common(box, other) for other in self._taken)
                if covered < least:
                    best, least = box, covered
            if least == 0:
                break
        return best


def _common(first: Sequence[float], second: Sequence[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)
