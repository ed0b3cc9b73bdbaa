"""Thresholds of the predicates. Each is a band: beyond one end true, beyond the other false, between them undecided."""

import math
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Int8

from vla3d.errors import ConfigError
from vla3d.scene_graphs.predicates.truth import decide


@dataclass(frozen=True)
class Band:
    """Where a measured value decides.

    Attributes:
        yes: from here on, away from ``no``, it is true.
        no: from here on, away from ``yes``, it is false.
        unit: ``"mm"`` for lengths (the values themselves are metres), ``"%"`` for shares, or empty.
    """

    yes: float
    no: float
    unit: str = ""

    def __call__(self, values: np.ndarray) -> Int8[np.ndarray, "*shape"]:
        """Truth of measured values."""
        return decide(values, no=self.no, yes=self.yes)

    def describe(self) -> str:
        """In words: true from here on, false from there on."""
        more, less = ("at least", "at most") if self.yes > self.no else ("at most", "at least")
        return f"{more} {self._number(self.yes)}; false at {less} {self._number(self.no)}"

    def _number(self, value: float) -> str:
        scale = {"mm": 1000.0, "%": 100.0}.get(self.unit, 1.0)
        return f"{value * scale:g} {self.unit}".strip()


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """The bands of all predicates. The defaults suit a tabletop seen by cameras that measure to a few millimetres.

    Attributes:
        contact: distance of two things that touch; also how far an underside may be above or below what it stands on.
        near: distance of two things that are near each other.
        overlap: area that two footprints have in common when one is above the other, over the square of the narrower one's
            width: where two bars cross it is all of it.
        above: how much higher the middle of the upper thing is.
        inside: share of a thing's volume that lies in the box of what it is in.
        smaller: volume of a thing over that of what it is in.
        floor: height of a thing's underside above the underside of the container that it stands in.
        centered: how far the middle of a thing is inside the footprint that supports it; negative outside.
        side: how far apart two middles are along an axis of the viewpoint.
        larger: volume over volume.
        color: CIELAB distance of two colours, of which lightness counts a third, because shading changes it.
        grasp: distance of the middle between the fingers from a thing's box.
        opened: opening of what is open.
        shut: opening of what is closed.

    Raises:
        ConfigError: a band without width, or turned round.
    """

    contact: Band = Band(0.005, 0.010, "mm")
    near: Band = Band(0.05, 0.07, "mm")
    overlap: Band = Band(0.25, 0.10, "%")
    above: Band = Band(0.001, 0.0, "mm")
    inside: Band = Band(0.60, 0.40, "%")
    smaller: Band = Band(0.90, 1.00, "%")
    floor: Band = Band(0.015, 0.025, "mm")
    centered: Band = Band(0.002, -0.002, "mm")
    side: Band = Band(0.02, 0.01, "mm")
    larger: Band = Band(1.3, 1.1)
    color: Band = Band(15.0, 25.0)
    grasp: Band = Band(0.005, 0.010, "mm")
    opened: Band = Band(0.25, 0.10, "%")
    shut: Band = Band(0.05, 0.10, "%")

    def __post_init__(self) -> None:
        for field in fields(self):
            band, usual = getattr(self, field.name), field.default
            assert isinstance(usual, Band)
            if not (math.isfinite(band.yes) and math.isfinite(band.no)) or (band.yes > band.no) != (usual.yes > usual.no):
                order = "above" if usual.yes > usual.no else "below"
                raise ConfigError(f"tolerances.{field.name}: got yes {band.yes} and no {band.no}, expected yes {order} no.")
            if band.yes == band.no:
                raise ConfigError(f"tolerances.{field.name}: got {band.yes} twice, expected a band that has a width.")
        if not self.contact.yes >= 0 or self.near.yes < self.contact.yes:
            raise ConfigError(
                f"tolerances: got contact {self.contact.yes} and near {self.near.yes}, expected 0 <= contact <= near, so that "
                "what touches is near."
            )
