"""How cubes stand to anchors: what a sentence such as "just left of the box" says, and places at which it is true.

A cube stands *just left of* an anchor where two predicates of scene graphs hold: ``near`` and ``left_of``, the latter as seen
from the robot base (x forward, y left); likewise for the other sides. A side alone would not do: the one cube that is left of
the box is always the leftmost of all, whatever box there is, so nobody would have to look at it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import cos, pi, radians, sin

import numpy as np

from vla3d.envs.tabletop.objects import CUBE_EDGE
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.tasks.anchors import ANCHORS, anchor_node, cube_node
from vla3d.scene_graphs.predicates.measures import Measures
from vla3d.scene_graphs.predicates.table import PREDICATES
from vla3d.scene_graphs.predicates.tolerances import Band, Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, both
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint

SIDES: Mapping[str, str] = {
    "left_of": "left of",
    "right_of": "right of",
    "in_front_of": "in front of",
    "behind": "behind",
}
"""Predicates of the side on which a cube stands, and how sentences say them."""

GAP = (0.043, 0.046)
"""From a cube to the anchor it stands at, metres: near enough to be ``near``, and more than the 0.039 m that an open finger
reaches beyond the face of the cube it is about to grip."""

USUAL = Tolerances()
CLEAR = replace(USUAL, near=Band(0.047, 0.095, "mm"), side=Band(0.03, 0.006, "mm"))
"""Wider bands than usual. What they decide is decided as well for boxes that were measured from images, which are off by a few
millimetres and, around round things, turned any way."""

# Seen from the robot base, directions in the world's xy plane.
_HEADINGS = {"left_of": pi / 2, "right_of": -pi / 2, "in_front_of": pi, "behind": 0.0}
_PARALLEL = 1e-9

ASIDE, STRAIGHT = radians(70), radians(1.8)
"""How far off its side the direction to a cube may be, radians: it may stand on a second side as well, or surely does not."""

Stands = Mapping[tuple[str, int], tuple[int, ...]]


@lru_cache(maxsize=256)
def standing(
    cubes: tuple[TablePose, ...], anchors: tuple[tuple[int, TablePose], ...], tolerances: Tolerances = USUAL
) -> Stands:
    """How every cube stands to every anchor that is there.

    Args:
        cubes: places of the cubes.
        anchors: index into ``ANCHORS`` and place of each anchor.
        tolerances: the predicates' bands.

    Returns:
        For a side and an anchor, of each cube: 1 it stands just there, -1 it does not, 0 undecided.
    """
    nodes = [*(anchor_node(kind, pose) for kind, pose in anchors), *(cube_node(i, pose) for i, pose in enumerate(cubes))]
    pairs = np.array([[len(anchors) + cube, anchor] for anchor in range(len(anchors)) for cube in range(len(cubes))])
    measures = Measures(nodes, pairs, Viewpoint(), reach=2 * tolerances.near.no)
    near = PREDICATES["near"].rule(measures, tolerances)
    found: dict[tuple[str, int], tuple[int, ...]] = {}
    for side in SIDES:
        truth = both(near, PREDICATES[side].rule(measures, tolerances))
        rows = truth[: len(pairs)].reshape(len(anchors), len(cubes))  # the second half is the pairs the other way round
        found.update({(side, kind): tuple(row.tolist()) for (kind, _), row in zip(anchors, rows, strict=True)})
    return found


def the_one(truth: Sequence[int]) -> int | None:
    """Which thing a description fits: the only one of which it is true, if it is false of all others."""
    values = list(truth)
    return values.index(TRUE) if values.count(TRUE) == 1 and values.count(FALSE) == len(values) - 1 else None


def place_beside(rng: np.random.Generator, side: str, kind: int, anchor: TablePose, *, yaw: float, spread: float) -> TablePose:
    """A place for a cube about ``GAP`` away from an anchor; where corner faces corner it is farther, up to half as much.

    Args:
        rng: source of direction, distance and the cube's turn.
        side: one of ``SIDES``.
        kind: index into ``ANCHORS``.
        anchor: where that stands.
        yaw: largest turn of the cube to either side, radians.
        spread: how far off the side the direction may be, radians: ``ASIDE`` or ``STRAIGHT``.
    """
    heading = _HEADINGS[side] + rng.uniform(-spread, spread)
    turn, gap = float(rng.uniform(-yaw, yaw)), rng.uniform(*GAP)
    half, is_round = ANCHORS[kind].width / 2, ANCHORS[kind].round
    normals = (turn, turn + pi / 2, *((heading,) if is_round else (anchor.yaw, anchor.yaw + pi / 2)))
    # The two are ``gap`` apart as soon as they are along one of their normals.
    away = min(
        (gap + _support(CUBE_EDGE / 2, turn - normal) + (half if is_round else _support(half, anchor.yaw - normal)))
        / max(abs(cos(normal - heading)), _PARALLEL)
        for normal in normals
    )
    return TablePose(anchor.x + away * cos(heading), anchor.y + away * sin(heading), turn)


def _support(half: float, angle: float) -> float:
    """Half the width of a square along a direction that is ``angle`` radians off its edges, metres."""
    return half * (abs(cos(angle)) + abs(sin(angle)))
