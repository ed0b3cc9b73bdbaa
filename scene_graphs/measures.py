"""What is measured about pairs of nodes before the predicates decide."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from vla3d.scene_graphs.boxes import Boxes
from vla3d.scene_graphs.colors import lab
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.polygons import areas, common_areas, depths, extents
from vla3d.scene_graphs.separation import box_gaps, flat_lower_bounds
from vla3d.scene_graphs.viewpoint import Viewpoint

_LIGHTNESS_WEIGHT = 1 / 3
_PARALLEL = 1e-12


class Measures:
    """Quantities of ordered pairs: a pair both ways round, the second way after the first for all pairs.

    Args:
        nodes: all of them.
        pairs: rows of two different positions in ``nodes``.
        viewpoint: of left, right, in front and behind.
        reach: distances beyond it need not be known exactly.
    """

    def __init__(self, nodes: Sequence[SceneNode], pairs: Int[np.ndarray, "U 2"], viewpoint: Viewpoint, reach: float) -> None:
        self._pairs, self._reach = pairs, reach
        self.boxes = Boxes.stack([node.box for node in nodes])
        self.viewpoint = viewpoint
        self.subjects = np.concatenate([pairs[:, 0], pairs[:, 1]])
        self.objects = np.concatenate([pairs[:, 1], pairs[:, 0]])
        self._kinds = np.array([node.kind for node in nodes], dtype="<U8")
        self._ids = np.array([node.id for node in nodes], dtype=np.int64)
        self._wholes = np.array([-1 if node.part_of is None else node.part_of for node in nodes], dtype=np.int64)
        self._rgb = np.array([(np.nan,) * 3 if node.rgb is None else node.rgb for node in nodes]).reshape(-1, 3)
        self.incomplete = np.array([node.incomplete for node in nodes], dtype=bool)
        self.openings = np.array([np.nan if node.opening is None else node.opening for node in nodes], dtype=np.float64)
        self.holding = np.array([0 if node.holding is None else (1 if node.holding else -1) for node in nodes], dtype=np.int8)

    def is_kind(self, kind: str) -> Bool[np.ndarray, "N"]:
        """Which nodes are of a kind."""
        return np.asarray(self._kinds == kind)

    @cached_property
    def things(self) -> Bool[np.ndarray, "P"]:
        """Pairs without a gripper."""
        gripper = self.is_kind("gripper")
        return ~(gripper[self.subjects] | gripper[self.objects])

    @cached_property
    def movable(self) -> Bool[np.ndarray, "P"]:
        """Pairs without a gripper whose subject is no surface."""
        return self.things & ~self.is_kind("surface")[self.subjects]

    @cached_property
    def bodies(self) -> Bool[np.ndarray, "P"]:
        """Pairs without a gripper and without a surface."""
        return self.movable & ~self.is_kind("surface")[self.objects]

    @cached_property
    def strangers(self) -> Bool[np.ndarray, "P"]:
        """Pairs that are not a part and the whole that it belongs to."""
        joined = self._wholes[self.subjects] == self._ids[self.objects]
        return ~(joined | (self._wholes[self.objects] == self._ids[self.subjects]))

    @cached_property
    def in_gripper(self) -> Bool[np.ndarray, "P"]:
        """Pairs of a thing and a gripper."""
        subject_moves = ~(self.is_kind("gripper") | self.is_kind("surface"))[self.subjects]
        return subject_moves & self.is_kind("gripper")[self.objects]

    @cached_property
    def gap(self) -> Float[np.ndarray, "P"]:
        """Distance of the boxes, metres; exact up to ``reach``."""
        return np.tile(box_gaps(self.boxes, self._pairs, self._reach), 2)

    @cached_property
    def standing(self) -> Float[np.ndarray, "P"]:
        """Height of the subject's underside over the object's top, metres."""
        return self.boxes.low[self.subjects, 2] - self.boxes.high[self.objects, 2]

    @cached_property
    def floor(self) -> Float[np.ndarray, "P"]:
        """Height of the subject's underside over the object's underside, metres."""
        return self.boxes.low[self.subjects, 2] - self.boxes.low[self.objects, 2]

    @cached_property
    def rise(self) -> Float[np.ndarray, "P"]:
        """Height of the subject's middle over the object's, metres."""
        return self.boxes.centers[self.subjects, 2] - self.boxes.centers[self.objects, 2]

    @cached_property
    def common(self) -> Float[np.ndarray, "P"]:
        """Area that the footprints have in common, square metres."""
        one, two = self._pairs.T
        boxes = self.boxes
        close = np.flatnonzero(flat_lower_bounds(boxes, one, two) <= 0)
        common = np.zeros(len(one))
        common[close] = common_areas(boxes.footprints[one[close]], boxes.footprints[two[close]])
        return np.tile(common, 2)

    @cached_property
    def _areas(self) -> Float[np.ndarray, "N"]:
        return areas(self.boxes.footprints)

    @cached_property
    def overlap(self) -> Float[np.ndarray, "P"]:
        """Common area over the square of the narrower footprint's width: 1 where two bars cross."""
        widths = extents(self.boxes.footprints)[1]
        return self.common / np.minimum(widths[self.subjects], widths[self.objects]).clip(min=_PARALLEL) ** 2

    @cached_property
    def inside(self) -> Float[np.ndarray, "P"]:
        """Share of the subject's prism (footprint times height) that lies in the object's."""
        boxes = self.boxes
        top = np.minimum(boxes.high[self.subjects, 2], boxes.high[self.objects, 2])
        bottom = np.maximum(boxes.low[self.subjects, 2], boxes.low[self.objects, 2])
        prism = self._areas * 2 * boxes.half_extents[:, 2]
        return self.common * (top - bottom).clip(min=0.0) / prism[self.subjects].clip(min=_PARALLEL**2)

    @cached_property
    def centered(self) -> Float[np.ndarray, "P"]:
        """How far the subject's middle is inside the object's footprint, metres; minus infinity where footprints are apart."""
        depth = np.full(len(self.subjects), -np.inf)
        over = np.flatnonzero(self.common > 0)
        middles = self.boxes.centers[self.subjects[over], :2]
        depth[over] = depths(middles, self.boxes.footprints[self.objects[over]])
        return depth

    @cached_property
    def volume_ratio(self) -> Float[np.ndarray, "P"]:
        """Subject's volume over the object's."""
        return self.boxes.volumes[self.subjects] / self.boxes.volumes[self.objects]

    @cached_property
    def to_the_left(self) -> Float[np.ndarray, "P"]:
        """How far the subject's middle is to the left of the object's, metres."""
        along = self.boxes.centers[:, :2] @ self.viewpoint.left
        return along[self.subjects] - along[self.objects]

    @cached_property
    def nearer(self) -> Float[np.ndarray, "P"]:
        """How much nearer to the viewer the subject's middle is, metres."""
        along = self.boxes.centers[:, :2] @ self.viewpoint.forward
        return along[self.objects] - along[self.subjects]

    @cached_property
    def color_distance(self) -> Float[np.ndarray, "P"]:
        """CIELAB distance with a third of the weight on lightness; not a number where a colour is unknown."""
        values = lab(self._rgb) * (_LIGHTNESS_WEIGHT, 1.0, 1.0)
        away = values[self._pairs[:, 0]] - values[self._pairs[:, 1]]
        return np.tile(np.sqrt(np.einsum("ij,ij->i", away, away)), 2)

    @cached_property
    def grasp_distance(self) -> Float[np.ndarray, "P"]:
        """Distance from the middle between the object's fingers to the subject's box, metres; infinite for other pairs."""
        distance = np.full(len(self.subjects), np.inf)
        asked = np.flatnonzero(self.in_gripper)
        subjects, objects = self.subjects[asked], self.objects[asked]
        away = self.boxes.centers[objects] - self.boxes.centers[subjects]
        local = np.abs(np.einsum("pij,pi->pj", self.boxes.rotations[subjects], away))
        distance[asked] = np.linalg.norm((local - self.boxes.sizes[subjects] / 2).clip(min=0.0), axis=1)
        return distance
