"""What scenes are furnished with. Lengths are metres; the local x axis of a thing points out of its front."""

from dataclasses import dataclass
from typing import Literal

from vla3d.errors import unknown_name

Place = Literal["floor", "top", "inside", "under"]
"""Where a thing may stand: on the floor of a room; on another thing, a table included; inside a container; under a table."""

SceneKind = Literal["tabletop", "room"]
SIZES: dict[str, tuple[float, float]] = {"small": (0.72, 0.85), "large": (1.15, 1.30)}
"""Words for sizes, and the range of scale that each stands for; the scale is relative to what is usual for the thing."""

COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "black", "white")
"""Colours of things: names of the palette that no two predicates confuse."""


@dataclass(frozen=True, kw_only=True)
class Interior:
    """Room inside a thing.

    Attributes:
        wall: thickness of walls and floor.
        levels: how many compartments there are, one above the other.
        covered: whether something is above; what stands in an open container may stick out at the top.
    """

    wall: float = 0.01
    levels: int = 1
    covered: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """A kind of thing.

    Attributes:
        label: its name.
        size: usual edge lengths.
        places: where it may stand.
        flat: whether things may stand on it.
        interior: room inside.
        leg_room: for a table: thickness of its top, which becomes a part of its own with room under it.
        part: what of it opens: ``"drawer"`` slides out of the front, ``"door"`` turns about an upright edge of the front.
        wall: whether it stands with its back to a wall.
        share: how often it is chosen: tables and containers more often, or hardly anything would be under or in another thing.
    """

    label: str
    size: tuple[float, float, float]
    places: tuple[Place, ...]
    flat: bool = False
    interior: Interior | None = None
    leg_room: float | None = None
    part: Literal["drawer", "door"] | None = None
    wall: bool = False
    share: int = 1


_ON: tuple[Place, ...] = ("top",)
_ANY: tuple[Place, ...] = ("top", "inside")

TABLE = Item(label="table", size=(1.2, 0.8, 0.74), places=("floor",), leg_room=0.04, share=3)
TABLETOP_ITEMS: tuple[Item, ...] = (
    Item(label="block", size=(0.06, 0.06, 0.06), places=_ANY, flat=True),
    Item(label="ball", size=(0.07, 0.07, 0.07), places=_ANY),
    Item(label="cup", size=(0.10, 0.075, 0.10), places=_ANY),
    Item(label="can", size=(0.07, 0.07, 0.11), places=_ANY, flat=True),
    Item(label="bottle", size=(0.07, 0.07, 0.22), places=_ON),
    Item(label="book", size=(0.20, 0.15, 0.03), places=_ON, flat=True),
    Item(label="box", size=(0.18, 0.13, 0.10), places=_ON, flat=True),
    Item(label="plate", size=(0.20, 0.20, 0.02), places=_ON, flat=True),
    Item(label="bowl", size=(0.18, 0.18, 0.07), places=_ON, interior=Interior(wall=0.012), share=2),
    Item(label="crate", size=(0.28, 0.22, 0.12), places=_ON, interior=Interior(), share=2),
    Item(label="cabinet", size=(0.22, 0.26, 0.20), places=_ON, flat=True, part="drawer"),
)
FURNITURE: tuple[Item, ...] = (
    TABLE,
    Item(label="desk", size=(1.2, 0.6, 0.72), places=("floor",), leg_room=0.04, wall=True),
    Item(label="chair", size=(0.45, 0.45, 0.90), places=("floor",), share=2),
    Item(label="stool", size=(0.40, 0.40, 0.45), places=("floor",), flat=True),
    Item(label="sofa", size=(0.85, 1.70, 0.80), places=("floor",), wall=True),
    Item(label="bed", size=(1.95, 1.40, 0.48), places=("floor",), flat=True, wall=True),
    Item(
        label="shelf", size=(0.35, 0.90, 1.40), places=("floor",), wall=True, share=2,
        interior=Interior(wall=0.02, levels=3, covered=True),
    ),
    Item(label="cabinet", size=(0.45, 0.70, 0.85), places=("floor",), flat=True, part="door", wall=True),
    Item(label="lamp", size=(0.35, 0.35, 1.50), places=("floor",)),
    Item(label="bin", size=(0.30, 0.30, 0.26), places=("floor", "under"), interior=Interior()),
    Item(label="crate", size=(0.45, 0.35, 0.28), places=("floor", "under"), interior=Interior(wall=0.012)),
    Item(label="plant", size=(0.35, 0.35, 0.70), places=("floor",)),
)  # fmt: skip
ROOM_ITEMS: tuple[Item, ...] = (
    Item(label="book", size=(0.24, 0.18, 0.04), places=_ANY, flat=True),
    Item(label="box", size=(0.28, 0.20, 0.18), places=("top", "inside", "under"), flat=True),
    Item(label="cup", size=(0.115, 0.085, 0.11), places=_ANY),
    Item(label="vase", size=(0.14, 0.14, 0.28), places=_ON),
    Item(label="ball", size=(0.20, 0.20, 0.20), places=("floor", "inside", "under")),
    Item(label="monitor", size=(0.16, 0.50, 0.36), places=_ON),
    Item(label="cushion", size=(0.36, 0.36, 0.12), places=_ON, flat=True),
    Item(label="bowl", size=(0.24, 0.24, 0.09), places=_ON, interior=Interior(wall=0.012), share=2),
)
PARTS = ("drawer", "door", "tabletop")
SURFACES = ("floor", "table", "desk")


def items_of(kind: SceneKind) -> tuple[Item, ...]:
    """What scenes of a kind are furnished with.

    Raises:
        ConfigError: no such kind.
    """
    if kind == "tabletop":
        return TABLETOP_ITEMS
    if kind == "room":
        return FURNITURE + ROOM_ITEMS
    raise unknown_name("kind of scene", str(kind), ("tabletop", "room"))


def labels_of(kind: SceneKind) -> tuple[str, ...]:
    """Names of the things and parts in scenes of a kind that a colour is drawn for."""
    items = items_of(kind)
    parts = {item.part for item in items if item.part} | {"tabletop"} if kind == "room" else {"drawer"}
    return tuple(sorted({item.label for item in items if item.leg_room is None} | {str(part) for part in parts}))
