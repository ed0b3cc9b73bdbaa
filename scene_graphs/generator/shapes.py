"""What things look like: simple solids in a box whose edges run from -1/2 to 1/2."""

from dataclasses import dataclass
from typing import Literal

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """A block, an upright cylinder or an ellipsoid that fills the box between two corners.

    Attributes:
        form: which of them.
        low: lower corner, in units of the thing's box.
        high: upper corner.
    """

    form: Literal["block", "cylinder", "ellipsoid"]
    low: Corner = (-0.5, -0.5, -0.5)
    high: Corner = (0.5, 0.5, 0.5)


def _block(low: Corner, high: Corner) -> Solid:
    return Solid("block", low, high)


def _legs(top: float, width: float = 0.06) -> tuple[Solid, ...]:
    """Four legs in the corners, up to ``top``."""
    edges = ((-0.5, -0.5 + width), (0.5 - width, 0.5))
    return tuple(_block((x[0], y[0], -0.5), (x[1], y[1], top)) for x in edges for y in edges)


def _open_box(wall: float = 0.05, floor: float = 0.08) -> tuple[Solid, ...]:
    """A floor and four walls."""
    inner = 0.5 - wall
    return (
        _block((-0.5, -0.5, -0.5), (0.5, 0.5, -0.5 + floor)),
        _block((-0.5, -0.5, -0.5), (-inner, 0.5, 0.5)),
        _block((inner, -0.5, -0.5), (0.5, 0.5, 0.5)),
        _block((-inner, -0.5, -0.5), (inner, -inner, 0.5)),
        _block((-inner, inner, -0.5), (inner, 0.5, 0.5)),
    )


_SHELF = (
    _block((-0.5, -0.5, -0.5), (-0.46, 0.5, 0.5)),
    _block((-0.5, -0.5, -0.5), (0.5, -0.48, 0.5)),
    _block((-0.5, 0.48, -0.5), (0.5, 0.5, 0.5)),
    *(_block((-0.5, -0.5, z), (0.5, 0.5, z + 0.014)) for z in (-0.5, -0.172, 0.157, 0.486)),
)

SHAPES: dict[str, tuple[Solid, ...]] = {
    "ball": (Solid("ellipsoid"),),
    "bottle": (Solid("cylinder", high=(0.5, 0.5, 0.2)), Solid("cylinder", (-0.2, -0.2, 0.2), (0.2, 0.2, 0.5))),
    "bed": (_block((-0.5, -0.5, -0.5), (0.5, 0.5, -0.1)), _block((-0.48, -0.47, -0.1), (0.48, 0.47, 0.5))),
    "bin": _open_box(0.04, 0.04),
    "bowl": _open_box(0.07, 0.16),
    "can": (Solid("cylinder"),),
    "chair": (*_legs(0.0), _block((-0.5, -0.5, -0.04), (0.5, 0.5, 0.04)), _block((-0.5, -0.5, 0.04), (-0.4, 0.5, 0.5))),
    "crate": _open_box(0.04, 0.08),
    "cup": (Solid("cylinder", (-0.5, -0.5, -0.5), (0.22, 0.5, 0.5)), _block((0.22, -0.08, -0.25), (0.5, 0.08, 0.25))),
    "cushion": (Solid("ellipsoid"),),
    "desk": _legs(0.44, 0.05),
    "drawer": _open_box(0.05, 0.1),
    "lamp": (
        Solid("cylinder", (-0.4, -0.4, -0.5), (0.4, 0.4, -0.48)),
        Solid("cylinder", (-0.05, -0.05, -0.48), (0.05, 0.05, 0.28)),
        Solid("cylinder", (-0.5, -0.5, 0.28), (0.5, 0.5, 0.5)),
    ),
    "monitor": (
        _block((-0.5, -0.2, -0.5), (0.5, 0.2, -0.46)),
        _block((-0.1, -0.05, -0.46), (0.1, 0.05, -0.2)),
        _block((-0.12, -0.5, -0.2), (0.12, 0.5, 0.5)),
    ),
    "plant": (
        Solid("cylinder", (-0.28, -0.28, -0.5), (0.28, 0.28, -0.15)),
        Solid("ellipsoid", (-0.5, -0.5, -0.2), (0.5, 0.5, 0.5)),
    ),
    "plate": (Solid("cylinder"),),
    "shelf": _SHELF,
    "sofa": (
        _block((-0.5, -0.5, -0.5), (0.5, 0.5, 0.0)),
        _block((-0.5, -0.5, 0.0), (-0.22, 0.5, 0.5)),
        _block((-0.22, -0.5, 0.0), (0.5, -0.38, 0.2)),
        _block((-0.22, 0.38, 0.0), (0.5, 0.5, 0.2)),
    ),
    "stool": (*_legs(0.38, 0.1), _block((-0.5, -0.5, 0.38), (0.5, 0.5, 0.5))),
    "table": _legs(0.44, 0.05),
    "vase": (
        Solid("ellipsoid", (-0.5, -0.5, -0.5), (0.5, 0.5, 0.25)),
        Solid("cylinder", (-0.22, -0.22, 0.2), (0.22, 0.22, 0.5)),
    ),
}  # fmt: skip
"""Solids of each label; what is not listed is a block. A table's top and a cabinet's drawer or door are nodes of their own."""


def solids_of(label: str, thin: bool = False) -> tuple[Solid, ...]:
    """The solids that a label stands for.

    Args:
        label: of a node.
        thin: whether the node is a mere slab, as the table of a tabletop scene is.
    """
    return (Solid("block"),) if thin else SHAPES.get(label, (Solid("block"),))
