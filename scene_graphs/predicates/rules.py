"""The predicates as functions of what was measured. `vla3d.scene_graphs.predicates.table` is the table that publishes them."""

import numpy as np
from jaxtyping import Bool, Int8

from vla3d.scene_graphs.predicates.measures import Measures
from vla3d.scene_graphs.predicates.tolerances import Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED, both, either

PairTruth = Int8[np.ndarray, "P"]


def only(where: Bool[np.ndarray, "P"], truth: Int8[np.ndarray, "P"]) -> Int8[np.ndarray, "P"]:
    """False for pairs that a predicate does not speak of."""
    return np.where(where, truth, np.int8(FALSE))


def touching(m: Measures, t: Tolerances) -> PairTruth:
    """The boxes are next to each other."""
    return only(m.things & m.strangers, t.contact(m.gap))


def near(m: Measures, t: Tolerances) -> PairTruth:
    """The boxes are close."""
    return only(m.bodies & m.strangers, t.near(m.gap))


def on(m: Measures, t: Tolerances) -> PairTruth:
    """The underside of one is at the top of the other."""
    truth = both(t.contact(np.abs(m.standing)), t.overlap(m.overlap), t.above(m.rise))
    return only(m.movable & m.strangers, truth)


def under(m: Measures, t: Tolerances) -> PairTruth:
    """One is wholly below the other, over it or not touching it."""
    # How far the lower thing's top sticks up past the upper thing's underside.
    sticking_up = _other_way(-m.standing)
    truth = both(t.contact(sticking_up), t.overlap(m.overlap), t.above(-m.rise))
    return only(m.things & m.strangers & ~m.is_kind("surface")[m.objects], truth)


def inside(m: Measures, t: Tolerances) -> PairTruth:
    """Most of one lies within the other's box."""
    surface = m.is_kind("surface")[m.objects]
    return only(m.movable & m.strangers & ~surface, both(t.inside(m.inside), t.smaller(m.volume_ratio)))


def supported_by(m: Measures, t: Tolerances) -> PairTruth:
    """One stands on the other, its middle over it, or on the floor within it."""
    stands = both(on(m, t), t.centered(m.centered))
    lies = both(inside(m, t), t.floor(m.floor))
    return either(stands, lies)


def left_of(m: Measures, t: Tolerances) -> PairTruth:
    """Its middle is to the left."""
    return only(m.bodies, t.side(m.to_the_left))


def right_of(m: Measures, t: Tolerances) -> PairTruth:
    """Its middle is to the right."""
    return only(m.bodies, t.side(-m.to_the_left))


def in_front_of(m: Measures, t: Tolerances) -> PairTruth:
    """Its middle is nearer to the viewer."""
    return only(m.bodies, t.side(m.nearer))


def behind(m: Measures, t: Tolerances) -> PairTruth:
    """Its middle is farther from the viewer."""
    return only(m.bodies, t.side(-m.nearer))


def larger(m: Measures, t: Tolerances) -> PairTruth:
    """Its box has more volume. The volume of an incomplete box is only known to be at least what was seen."""
    truth = t.larger(m.volume_ratio)
    unsure = ((truth == TRUE) & m.incomplete[m.objects]) | ((truth == FALSE) & m.incomplete[m.subjects])
    return only(m.bodies, np.where(unsure, np.int8(UNDECIDED), truth))


def same_colour(m: Measures, t: Tolerances) -> PairTruth:
    """The colours look alike."""
    return only(m.bodies, t.color(m.color_distance))


def inside_gripper(m: Measures, t: Tolerances) -> PairTruth:
    """The middle between the fingers is in its box."""
    return only(m.in_gripper, t.grasp(m.grasp_distance))


def held_by(m: Measures, t: Tolerances) -> PairTruth:
    """It is between the fingers, and they are closed on something."""
    return only(m.in_gripper, both(inside_gripper(m, t), m.holding[m.objects]))


def opened(m: Measures, t: Tolerances) -> Int8[np.ndarray, "N"]:
    """It is open."""
    return t.opened(m.openings)


def closed(m: Measures, t: Tolerances) -> Int8[np.ndarray, "N"]:
    """It is shut."""
    return t.shut(m.openings)


def _other_way(values: np.ndarray) -> np.ndarray:
    """Values of the same pairs the other way round."""
    half = len(values) // 2
    return np.concatenate([values[half:], values[:half]])
