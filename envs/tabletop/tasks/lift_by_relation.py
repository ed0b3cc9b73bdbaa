"""Lift the cube that stands so to another thing: nothing but that tells it from the others."""

from collections.abc import Sequence
from math import hypot, sqrt
from typing import TypeVar

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.objects import CUBE_EDGE
from vla3d.envs.tabletop.placement import SpawnRange, TablePose, square_gap
from vla3d.envs.tabletop.tasks.anchors import ANCHORS
from vla3d.envs.tabletop.tasks.base import Scenario
from vla3d.envs.tabletop.tasks.choices import another
from vla3d.envs.tabletop.tasks.cubes import CLEARANCE, add_cubes, cube_names, put_cubes
from vla3d.envs.tabletop.tasks.lifting import LiftingTask
from vla3d.envs.tabletop.tasks.standing import ASIDE, CLEAR, SIDES, STRAIGHT, USUAL, Stands, place_beside, standing, the_one
from vla3d.envs.tabletop.world import World
from vla3d.scene_graphs.predicates.tolerances import Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE

Choice = TypeVar("Choice")

CUBES = cube_names(4)

CUBE_SPAWN = SpawnRange(x=(0.31, 0.66), y=(-0.30, 0.30), yaw=np.pi / 4)
"""Where cubes stand. Any nearer to the robot and the elbow is folded up."""

ANCHOR_SPAWN = SpawnRange(x=(0.36, 0.66), y=(-0.25, 0.25), yaw=np.pi / 4)
"""Where the middles of anchors stand: their corners, too, stay in the workspace."""

_UNTRAINED = {"left_of": "target", "right_of": "puck", "in_front_of": "box", "behind": "button"}
_PAIRS = tuple((side, kind) for kind in range(len(ANCHORS)) for side in SIDES)
TRAINED: tuple[tuple[str, int], ...] = tuple(pair for pair in _PAIRS if ANCHORS[pair[1]].name != _UNTRAINED[pair[0]])
HELD_OUT: tuple[tuple[str, int], ...] = tuple(pair for pair in _PAIRS if pair not in TRAINED)
"""Sides and anchors that no demonstration joins. Each side and each anchor occurs once here, with all others in training.

They are for figures: choose recipes on other pairs, as `policy.graph.scoring` was."""

VARIATIONS = (*TRAINED, *HELD_OUT)

_MAX_LAYOUTS = 2000
_MAX_TRIES = 8
_NOT_HERE = TablePose(0.0, 0.0, 0.0, z=-1.0)


class LiftByRelation(LiftingTask):
    """Four equal cubes at two other things; the goal is the cube just on the named side of the named one, 10 cm up.

    The other things are the anchors: two of a box, a button, a target and a puck. A variation is a side and an anchor, and
    names the cube that stands *just* there: see ``standing``. Both anchors have cubes on the same two sides, and any of the
    four pairs might be asked for there: all are in the training set but the named one of a held-out variation. So nothing but
    both words of the sentence tells the cube.
    """

    cubes = CUBES
    name = "lift_by_relation"
    instances = (*CUBES, *(anchor.name for anchor in ANCHORS))
    num_candidates = len(CUBES)
    templates = (
        "pick up the cube just {side} the {anchor}",
        "lift the block next to the {anchor}, {side} it",
        "grasp the cube just {side} the {anchor} and raise it",
        "take the block near the {anchor}, {side} it, and lift it up",
        "raise the block just {side} the {anchor} off the table",
        "grab the cube next to the {anchor}, {side} it, and hold it up",
    )
    unseen_templates = (
        "hoist the cube close to the {anchor}, {side} it, into the air",
        "let the block just {side} the {anchor} hover above the table",
    )
    expert_keyframes = 3
    manipulated = CUBES

    @property
    def num_variations(self) -> int:
        """Pairs of a side and an anchor; those of the training set come first."""
        return len(VARIATIONS)

    def variations(self, unseen: bool = False) -> Sequence[int]:
        """Those of the training set, or those held out."""
        return range(len(TRAINED), len(VARIATIONS)) if unseen else range(len(TRAINED))

    def fill(self, template: str, variation: int) -> str:
        """A template with the variation's side and anchor in it."""
        side, kind = VARIATIONS[variation]
        return template.format(side=SIDES[side], anchor=ANCHORS[kind].name)

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """The one cube that stood so when the episode began; None where none did, or several, or nobody can tell."""
        truth = _standing(scenario).get(VARIATIONS[variation])
        return None if truth is None else the_one(truth)

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """A variation of the training set that names a candidate; of the goal the episode's own."""
        if candidate == scenario.goal:
            return scenario.variation
        naming = [variation for variation in self.variations() if self.candidate(scenario, variation) == candidate]
        # Which number a cube has is drawn, so no side is said more often than another.
        return naming[candidate % len(naming)]

    def absent_variations(self, scenario: Scenario, unseen: bool = False) -> Sequence[int]:
        """In half of the episodes pairs whose anchor is not there, in the others those of anchors where no cube stands so."""
        stands = _standing(scenario, CLEAR)
        nobody = [index for index in self.variations(unseen) if set(stands.get(VARIATIONS[index], ())) == {FALSE}]
        nothing = [index for index in self.variations(unseen) if VARIATIONS[index] not in stands]
        # Which number the named cube has is drawn.
        return nobody if scenario.goal % 2 else nothing

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the cubes and an anchor of each kind."""
        add_cubes(spec, CUBES)
        for anchor in ANCHORS:
            anchor.add(spec, anchor.name)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw the other anchor and the other side, places and colours; which cube is the named one is drawn too."""
        side, kind = VARIATIONS[variation]
        partner = _drawn(rng, [other for other in range(len(ANCHORS)) if other != kind and (side, other) in TRAINED])
        shared = [other for other in SIDES if other != side and {(other, kind), (other, partner)} <= {*TRAINED}]
        other_side = _drawn(rng, shared)
        straight = _drawn(rng, [kind, partner] if VARIATIONS[variation] in TRAINED else [partner])
        # In a fixed order, so that the layout does not tell which of its four pairs is named.
        wanted = [(each, at) for at in sorted((kind, partner)) for each in SIDES if each in (side, other_side)]
        anchors, beside = _draw_layout(rng, wanted, straight)
        order = rng.permutation(len(CUBES))
        goal = int(np.flatnonzero(order == wanted.index((side, kind)))[0])
        color, *colors = distinct_colors(rng, 1 + len(ANCHORS), [int(rng.integers(len(COLOR_NAMES)))])
        return Scenario(
            variation=variation,
            goal=goal,
            swapped=another(rng, len(CUBES), goal),
            colors=(*[color] * len(CUBES), *colors),
            poses=(
                *(beside[index] for index in order),
                *(anchors.get(index, _NOT_HERE) for index in range(len(ANCHORS))),
            ),
        )

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Put cubes and anchors on the table, and the other anchors away."""
        put_cubes(world, scenario.poses, scenario.colors, CUBES)
        there = len(CUBES)
        for anchor, pose, color in zip(ANCHORS, scenario.poses[there:], scenario.colors[there:], strict=True):
            world.paint(anchor.painted, COLORS[COLOR_NAMES[color]])
            if pose == _NOT_HERE:
                world.put_away(anchor.name, anchor.origin)
            else:
                world.stand(anchor.name, pose, anchor.origin)


def _standing(scenario: Scenario, tolerances: Tolerances = USUAL) -> Stands:
    cubes, anchors = scenario.poses[: len(CUBES)], scenario.poses[len(CUBES) :]
    return standing(cubes, tuple((kind, pose) for kind, pose in enumerate(anchors) if pose != _NOT_HERE), tolerances)


def _drawn(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    return choices[int(rng.integers(len(choices)))]


def _draw_layout(
    rng: np.random.Generator, wanted: Sequence[tuple[str, int]], straight: int
) -> tuple[dict[int, TablePose], tuple[TablePose, ...]]:
    """Draw places of two anchors and of cubes at them.

    Args:
        rng: source of the places.
        wanted: on which side of which anchor each cube stands.
        straight: the anchor whose cubes stand straight on their sides, so that on its other sides there is certainly none.

    Returns:
        The anchors' places by kind, and those of the cubes.

    Raises:
        RuntimeError: the spawn ranges cannot hold the things.
    """
    for _ in range(_MAX_LAYOUTS):
        anchors = {kind: ANCHOR_SPAWN.draw(rng) for kind in dict.fromkeys(kind for _, kind in wanted)}
        cubes = _draw_cubes(rng, wanted, anchors, straight)
        if cubes is not None and _told_apart(wanted, cubes, anchors):
            return anchors, cubes
    raise RuntimeError(f"no layout for {len(wanted)} cubes at two anchors: the spawn ranges are too small")


def _draw_cubes(
    rng: np.random.Generator, wanted: Sequence[tuple[str, int]], anchors: dict[int, TablePose], straight: int
) -> tuple[TablePose, ...] | None:
    """Places on the wanted sides with room around them; None where there is none."""
    (one, first), (two, second) = anchors.items()
    if square_gap(first, ANCHORS[one].width / 2, second, ANCHORS[two].width / 2) < CLEARANCE:
        return None
    cubes: list[TablePose] = []
    for side, kind in wanted:
        spread = STRAIGHT if kind == straight else ASIDE
        for _ in range(_MAX_TRIES):
            pose = place_beside(rng, side, kind, anchors[kind], yaw=CUBE_SPAWN.yaw, spread=spread)
            if CUBE_SPAWN.holds(pose) and _has_room(pose, kind, cubes, anchors):
                cubes.append(pose)
                break
        else:
            return None
    return tuple(cubes)


def _has_room(pose: TablePose, kind: int, cubes: Sequence[TablePose], anchors: dict[int, TablePose]) -> bool:
    """Whether a cube at an anchor leaves the hand room, and is clear of the other anchors."""
    strangers = ((place, ANCHORS[other].width / 2) for other, place in anchors.items() if other != kind)
    return all(_apart(pose, cube, CUBE_EDGE / 2, CLEARANCE) for cube in cubes) and all(
        _apart(pose, place, half, CLEAR.near.no) for place, half in strangers
    )


def _apart(cube: TablePose, other: TablePose, half: float, gap: float) -> bool:
    """Whether a cube is at least so far from another square; circles around them tell it of most pairs, and fast."""
    between = hypot(cube.x - other.x, cube.y - other.y)
    return between >= sqrt(2) * (CUBE_EDGE / 2 + half) + gap or square_gap(cube, CUBE_EDGE / 2, other, half) >= gap


def _told_apart(wanted: Sequence[tuple[str, int]], cubes: tuple[TablePose, ...], anchors: dict[int, TablePose]) -> bool:
    """Whether each wanted pair clearly names its own cube and no other."""
    stands = standing(cubes, tuple(anchors.items()), CLEAR)
    return all(the_one(stands[pair]) == index for index, pair in enumerate(wanted))
