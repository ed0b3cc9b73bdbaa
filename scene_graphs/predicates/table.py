"""The one table of predicates: what each means, where it is undecided, and which laws it obeys.

`docs/predicates.md` is written from it. `vla3d.scene_graphs.predicates.relations` evaluates it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vla3d.scene_graphs.predicates import rules
from vla3d.scene_graphs.predicates.measures import Measures
from vla3d.scene_graphs.predicates.tolerances import Tolerances
from vla3d.scene_graphs.predicates.truth import Truth

Applies = Literal["things", "bodies", "gripper", "alone"]
APPLIES: dict[str, str] = {
    "things": "objects, parts and surfaces; a surface is no subject of what only movable things do",
    "bodies": "objects and parts",
    "gripper": "an object or part, and a gripper",
    "alone": "one node",
}


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """A relation between two nodes, or a state of one.

    Attributes:
        name: as edges and states carry it.
        definition: when it is true, in words.
        bands: names of the tolerances that decide it; it is undecided inside any band unless another one says false.
        frame: what left, right, up or nearer refer to.
        applies: between which kinds of nodes it is asked; between others it is false. See ``APPLIES``.
        rule: computes it.
        converse: the predicate that holds the other way round exactly when this one holds.
        symmetric: whether it holds both ways round alike.
        transitive: whether it carries over a middle node.
        implies: predicates that hold of the same pair whenever this one is true of upright boxes.
        words: how it is said between two names, or after one.
    """

    name: str
    definition: str
    bands: tuple[str, ...]
    frame: str
    applies: Applies
    rule: Callable[[Measures, Tolerances], Truth]
    words: str
    converse: str | None = None
    symmetric: bool = False
    transitive: bool = False
    implies: tuple[str, ...] = ()

    @property
    def unary(self) -> bool:
        """Whether it is a state of one node."""
        return self.applies == "alone"


_GRAVITY = "gravity: z is up"
_VIEW = "viewpoint: the robot base (x forward, y left) unless another is given"
_NONE = "none"
_BOXES = "footprints are outlines seen from above"

_TABLE = (
    Predicate(
        name="on",
        definition=f"A's underside is at B's top, their footprints overlap, and A's middle is higher; {_BOXES}",
        bands=("contact", "overlap", "above"),
        frame=_GRAVITY,
        applies="things",
        rule=rules.on,
        words="is on",
        implies=("touching",),
    ),
    Predicate(
        name="in",
        definition="most of A (footprint times height) lies in B's box, and B is the larger; no surface takes anything in",
        bands=("inside", "smaller"),
        frame=_GRAVITY,
        applies="things",
        rule=rules.inside,
        words="is in",
        implies=("touching",),
    ),
    Predicate(
        name="under",
        definition="A's top is no higher than B's underside, footprints overlap, and A's middle is lower; at any distance",
        bands=("contact", "overlap", "above"),
        frame=_GRAVITY,
        applies="things",
        rule=rules.under,
        words="is under",
    ),
    Predicate(
        name="left_of",
        definition="A's middle is to the left of B's",
        bands=("side",),
        frame=_VIEW,
        applies="bodies",
        rule=rules.left_of,
        words="is left of",
        converse="right_of",
        transitive=True,
    ),
    Predicate(
        name="right_of",
        definition="A's middle is to the right of B's",
        bands=("side",),
        frame=_VIEW,
        applies="bodies",
        rule=rules.right_of,
        words="is right of",
        converse="left_of",
        transitive=True,
    ),
    Predicate(
        name="in_front_of",
        definition="A's middle is nearer to the viewer than B's, measured along the viewing direction",
        bands=("side",),
        frame=_VIEW,
        applies="bodies",
        rule=rules.in_front_of,
        words="is in front of",
        converse="behind",
        transitive=True,
    ),
    Predicate(
        name="behind",
        definition="A's middle is farther from the viewer than B's, measured along the viewing direction",
        bands=("side",),
        frame=_VIEW,
        applies="bodies",
        rule=rules.behind,
        words="is behind",
        converse="in_front_of",
        transitive=True,
    ),
    Predicate(
        name="near",
        definition="the boxes are close to each other",
        bands=("near",),
        frame=_NONE,
        applies="bodies",
        rule=rules.near,
        words="is near",
        symmetric=True,
    ),
    Predicate(
        name="touching",
        definition="the boxes are next to each other or overlap; boxes count as solid",
        bands=("contact",),
        frame=_NONE,
        applies="things",
        rule=rules.touching,
        words="touches",
        symmetric=True,
    ),
    Predicate(
        name="supported_by",
        definition="A is on B with its middle over B's footprint, or A is in B and its underside is at B's floor",
        bands=("contact", "overlap", "above", "centered", "inside", "smaller", "floor"),
        frame=_GRAVITY,
        applies="things",
        rule=rules.supported_by,
        words="is supported by",
        implies=("touching",),
    ),
    Predicate(
        name="held_by",
        definition="A is inside the gripper B, and B is closed on something; undecided where nothing says whether it is",
        bands=("grasp",),
        frame=_NONE,
        applies="gripper",
        rule=rules.held_by,
        words="is held by",
        implies=("inside_gripper",),
    ),
    Predicate(
        name="inside_gripper",
        definition="the middle between B's fingers is in A's box",
        bands=("grasp",),
        frame=_NONE,
        applies="gripper",
        rule=rules.inside_gripper,
        words="is inside",
    ),
    Predicate(
        name="larger",
        definition="A's box has more volume than B's; undecided where the unseen part of an incomplete box could change that",
        bands=("larger",),
        frame=_NONE,
        applies="bodies",
        rule=rules.larger,
        words="is larger than",
        transitive=True,
    ),
    Predicate(
        name="same_colour",
        definition="the colours look alike; undecided where one is unknown",
        bands=("color",),
        frame=_NONE,
        applies="bodies",
        rule=rules.same_colour,
        words="has the same colour as",
        symmetric=True,
    ),
    Predicate(
        name="open",
        definition="it is opened far enough to count; undecided where the opening is unknown or has no meaning",
        bands=("opened",),
        frame=_NONE,
        applies="alone",
        rule=rules.opened,
        words="is open",
    ),
    Predicate(
        name="closed",
        definition="it is shut or as good as; undecided where the opening is unknown or has no meaning",
        bands=("shut",),
        frame=_NONE,
        applies="alone",
        rule=rules.closed,
        words="is closed",
    ),
)

PREDICATES: dict[str, Predicate] = {predicate.name: predicate for predicate in _TABLE}
RELATIONS: tuple[str, ...] = tuple(name for name, predicate in PREDICATES.items() if not predicate.unary)
"""Those of two nodes, in the order of the table: what edges carry."""

STATES: tuple[str, ...] = tuple(name for name, predicate in PREDICATES.items() if predicate.unary)
"""Those of one node: what nodes carry."""


def band_text(predicate: Predicate, tolerances: Tolerances) -> str:
    """Where a predicate is true and where it is false, in words."""
    return "; ".join(f"{name} {getattr(tolerances, name).describe()}" for name in predicate.bands)
