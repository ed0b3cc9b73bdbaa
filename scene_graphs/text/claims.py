"""What sentences mean: descriptions of things, and claims about them. No words, and no graph."""

from dataclasses import dataclass, fields
from typing import Literal

from vla3d.errors import ConfigError, unknown_name
from vla3d.scene_graphs.predicates.table import RELATIONS

Attribute = Literal["color", "size", "state"]
ATTRIBUTES: tuple[Attribute, ...] = ("size", "state", "color")
"""In the order in which they are said."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Things of which all of this holds.

    Attributes:
        label: what they are; None for any object or part.
        color: name of their colour.
        size: ``"small"`` or ``"large"``, for what they are.
        state: such as ``"open"``.
        predicate: how they stand to some ``anchor``.
        anchor: to which other thing; may be described by an anchor itself.
        near: whether they are near it as well: "just left of the box".

    Raises:
        ConfigError: a predicate without anchor or the other way round, nearness without either, or an unknown predicate.
    """

    label: str | None
    color: str | None = None
    size: str | None = None
    state: str | None = None
    predicate: str | None = None
    anchor: "Description | None" = None
    near: bool = False

    def __post_init__(self) -> None:
        if (self.predicate is None) != (self.anchor is None):
            raise ConfigError(f"description of {self.label!r}: got a predicate or an anchor alone, expected both or neither.")
        if self.near and self.anchor is None:
            raise ConfigError(f"description of {self.label!r}: got nearness without an anchor, expected one to be near to.")
        if self.predicate is not None and self.predicate not in RELATIONS:
            raise unknown_name("predicate", self.predicate, RELATIONS)

    @property
    def attributes(self) -> tuple[tuple[Attribute, str], ...]:
        """Names and values of the attributes that it states, in the order in which they are said."""
        return tuple((name, getattr(self, name)) for name in ATTRIBUTES if getattr(self, name) is not None)


@dataclass(frozen=True, kw_only=True)
class Exists:
    """There is such a thing."""

    description: Description


@dataclass(frozen=True, kw_only=True)
class Count:
    """There are exactly so many such things."""

    description: Description
    number: int


@dataclass(frozen=True, kw_only=True)
class Has:
    """The one such thing has an attribute."""

    subject: Description
    attribute: Attribute
    value: str


@dataclass(frozen=True, kw_only=True)
class Related:
    """The one such thing stands so to the other one.

    Raises:
        ConfigError: an unknown predicate.
    """

    subject: Description
    predicate: str
    object: Description

    def __post_init__(self) -> None:
        if self.predicate not in RELATIONS:
            raise unknown_name("predicate", self.predicate, RELATIONS)


@dataclass(frozen=True, kw_only=True)
class All:
    """All of these hold."""

    claims: "tuple[Claim, ...]"


Claim = Exists | Count | Has | Related | All


def predicates_in(claim: Claim | Description | None) -> frozenset[str]:
    """Every predicate that a claim or description speaks of."""
    if claim is None or isinstance(claim, str | int):
        return frozenset()
    if isinstance(claim, All):
        return frozenset().union(*map(predicates_in, claim.claims))
    own = {claim.predicate} if isinstance(claim, Description | Related) and claim.predicate else set()
    return frozenset(own).union(*(predicates_in(getattr(claim, field.name)) for field in fields(claim)))
