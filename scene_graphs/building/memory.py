"""What the cameras saw so far: which segments are one thing, and which things are gone."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from vla3d.scene_graphs.building.labels import InstanceLabel
from vla3d.scene_graphs.building.segments import Segment
from vla3d.scene_graphs.building.tracks import Track, overlap, same_name, seen_through
from vla3d.types import RgbdFrame

TABLE_ID, GRIPPER_ID, FIRST_ID = 0, 1, 2
"""Ids of the table's node, of the gripper's, and of the first thing's."""

_BEYOND_MASKS = 2**15
Labelled = tuple[Segment, InstanceLabel]


class Memory:
    """Tracks of things, updated view by view.

    Args:
        ids_agree: whether an id means the same thing in every view.
        voxel: see ``BuilderConfig``.
        merge_overlap: likewise.
        gone_share: likewise.
    """

    def __init__(self, *, ids_agree: bool, voxel: float, merge_overlap: float, gone_share: float) -> None:
        self.tracks: list[Track] = []
        self._ids_agree, self._voxel = ids_agree, voxel
        self._merge_overlap, self._gone_share = merge_overlap, gone_share
        self._next_id = FIRST_ID
        self._before: dict[str, RgbdFrame] = {}

    def see(self, view: str, segments: Sequence[Labelled]) -> None:
        """Take what one camera sees now. Things that it does not see stay as remembered."""
        matches = self._by_id(segments) if self._ids_agree else self._by_room(segments)
        for row, (segment, label) in enumerate(segments):
            track = matches.get(row)
            if track is None:
                track = Track(id=self._new_id(segment.number))
                self.tracks.append(track)
            track.see(view, segment, label)

    def forget(self, frames: Mapping[str, RgbdFrame], now: Mapping[str, Sequence[Labelled]]) -> None:
        """Drop what is remembered from earlier and cannot be true any more, and join what turned out to be one thing.

        The new images see through it; or its thing moved: it now stands where an earlier image of the same camera saw through.

        Args:
            frames: the new images.
            now: what `see` was told of them.
        """
        fresh = {(view, id(segment)) for view, segments in now.items() for segment, _ in segments}
        for track in self.tracks:
            seen = [view for view, segment in track.views.items() if (view, id(segment)) in fresh]
            remembered = set(track.views).difference(seen)
            if not remembered:
                continue
            moved = any(self._clear(track.views[view], [self._before[view]]) for view in seen if view in self._before)
            for view in remembered:
                if moved or self._clear(track.views[view], list(frames.values())):
                    track.drop(view)
        self._before.update(frames)
        self.tracks = [track for track in self.tracks if track.views]
        if not self._ids_agree:
            self._join()

    def track_of(self, view: str, number: int) -> Track | None:
        """The thing that has an id in a view's segmentation."""
        return next((track for track in self.tracks if view in track.views and track.views[view].number == number), None)

    def _clear(self, segment: Segment, frames: Sequence[RgbdFrame]) -> bool:
        """Whether images see through too much of a segment for its thing to be there."""
        return bool(seen_through(segment.points, frames).mean() > self._gone_share)

    def _new_id(self, number: int) -> int:
        if self._ids_agree:
            return number if number >= FIRST_ID else _BEYOND_MASKS + number
        self._next_id += 1
        return self._next_id - 1

    def _by_id(self, segments: Sequence[Labelled]) -> dict[int, Track]:
        known = {track.id: track for track in self.tracks}
        ids = [self._new_id(segment.number) for segment, _ in segments]
        return {row: known[node_id] for row, node_id in enumerate(ids) if node_id in known}

    def _by_room(self, segments: Sequence[Labelled]) -> dict[int, Track]:
        """Segments and tracks that take the same room: the largest overlaps first, one segment for each track."""
        scored = []
        for row, (segment, label) in enumerate(segments):
            for column, track in enumerate(self.tracks):
                if same_name(track, label):
                    share = overlap(segment.points, track.points, self._voxel)
                    if share >= self._merge_overlap:
                        scored.append((-share, row, column))
        matches: dict[int, Track] = {}
        taken: set[int] = set()
        for _, row, column in sorted(scored):
            if row not in matches and column not in taken:
                matches[row] = self.tracks[column]
                taken.add(column)
        return matches

    def _join(self) -> None:
        """Join tracks that take the same room and that no view tells apart."""
        for first, second in combinations(list(self.tracks), 2):
            if first not in self.tracks or second not in self.tracks or first.views.keys() & second.views.keys():
                continue
            if same_name(first, second.label) and overlap(first.points, second.points, self._voxel) >= self._merge_overlap:
                for view in second.views:
                    first.see(view, second.views[view], second.labels[view])
                self.tracks.remove(second)


def thinned(points: np.ndarray, most: int) -> np.ndarray:
    """At most about so many of the points, evenly."""
    return points[:: max(1, len(points) // most)]
