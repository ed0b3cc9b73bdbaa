"""Things that are seen again and again: what each camera last saw of them, merged by id or by the room they take."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from vla3d.scene_graphs.building.labels import InstanceLabel
from vla3d.scene_graphs.building.segments import Segment
from vla3d.scene_graphs.node import UNKNOWN
from vla3d.scene_graphs.shapes.box_fitting import upright_box
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.types import RgbdFrame

# A measured point that is this much farther than a remembered one shows that nothing is there any more, metres.
_SEEN_THROUGH = 0.015


@dataclass(kw_only=True)
class Track:
    """One thing.

    Attributes:
        id: of its node.
        views: what each camera last saw of it.
        labels: what each camera's segmentation calls it.
    """

    id: int
    views: dict[str, Segment] = field(default_factory=dict)
    labels: dict[str, InstanceLabel] = field(default_factory=dict)

    def see(self, view: str, segment: Segment, label: InstanceLabel) -> None:
        """Replace what a camera saw before."""
        self.views[view], self.labels[view] = segment, label

    def drop(self, view: str) -> None:
        """Forget what a camera saw."""
        del self.views[view], self.labels[view]

    @property
    def points(self) -> Float[np.ndarray, "N 3"]:
        """Points of all views."""
        return np.concatenate([segment.points for segment in self.views.values()])

    def incomplete(self, box: OrientedBox) -> bool:
        """Whether it may reach out of its box in every view."""
        return all(segment.cut_by(box) for segment in self.views.values())

    @property
    def rgb(self) -> Float[np.ndarray, "3"]:
        """Its colour: the median over views."""
        return np.median([segment.rgb for segment in self.views.values()], axis=0)

    @property
    def label_scores(self) -> dict[str, float]:
        """Share of views that call it so; unknown counts only where nothing else was said."""
        votes = Counter(label.label for label in self.labels.values())
        if len(votes) > 1:
            votes.pop(UNKNOWN, None)
        return {name: count / votes.total() for name, count in votes.items()}

    @property
    def label(self) -> InstanceLabel:
        """What most views call it; of equals the first in the alphabet."""
        scores = self.label_scores
        best = min(scores, key=lambda name: (-scores[name], name))
        return next(label for label in self.labels.values() if label.label == best)

    def box(self) -> OrientedBox:
        """The box around what all views saw."""
        return upright_box(self.points)

    def boxes_by_view(self) -> dict[str, OrientedBox]:
        """The box around what each view alone saw."""
        return {name: upright_box(segment.points) for name, segment in self.views.items()}


def same_name(track: Track, label: InstanceLabel) -> bool:
    """Whether a label may be the track's: equal, or one of them unknown."""
    return UNKNOWN in (label.label, track.label.label) or label.label in track.label_scores


def overlap(first: Float[np.ndarray, "N 3"], second: Float[np.ndarray, "M 3"], voxel: float) -> float:
    """Share of the smaller cloud's cells that are cells of the other cloud, or next to one, in [0, 1]."""
    low, high = (np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0)))
    if (low - high > 2 * voxel).any():
        return 0.0
    cells = [np.unique(np.floor(points / voxel).astype(np.int64), axis=0) for points in (first, second)]
    small, large = sorted(cells, key=len)
    away, _ = cKDTree(large).query(small, p=np.inf, distance_upper_bound=1.5)
    return float(np.isfinite(away).mean())


def seen_through(points: Float[np.ndarray, "N 3"], frames: Sequence[RgbdFrame]) -> Bool[np.ndarray, "N"]:
    """Which points cannot be there any more: a view measures something clearly behind them."""
    gone = np.zeros(len(points), dtype=bool)
    for frame in frames:
        pose = np.asarray(frame.T_world_camera, dtype=np.float64)
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        depth = local[:, 2]
        ahead = depth > 1e-6
        pixels = (local @ np.asarray(frame.intrinsics).T)[:, :2] / np.where(ahead, depth, 1.0)[:, None]
        height, width = frame.depth.shape
        asked = np.flatnonzero(ahead & (pixels >= 0).all(axis=1) & (pixels[:, 0] < width) & (pixels[:, 1] < height))
        columns, rows = np.floor(pixels[asked]).astype(np.int64).T
        measured = frame.depth[rows, columns]
        gone[asked] |= np.isfinite(measured) & (measured > depth[asked] + _SEEN_THROUGH)
    return gone
