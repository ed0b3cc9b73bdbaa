"""A scene graph from posed RGB-D images with instance masks, kept up to date as new images come."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from vla3d.errors import ConfigError, DataError, ObservationError
from vla3d.scene_graphs.building.articulation import Slide, opening_of
from vla3d.scene_graphs.building.evidence import with_evidence
from vla3d.scene_graphs.building.gripper import GripperReading, gripper_node
from vla3d.scene_graphs.building.known_boxes import true_edges, with_states
from vla3d.scene_graphs.building.labels import IGNORED, InstanceLabel, labels_of_names
from vla3d.scene_graphs.building.memory import GRIPPER_ID, TABLE_ID, Labelled, Memory, thinned
from vla3d.scene_graphs.building.segments import segments_of, world_points
from vla3d.scene_graphs.building.surfaces import TABLE_LABEL, table_box
from vla3d.scene_graphs.building.tracks import Track
from vla3d.scene_graphs.colors import color_name
from vla3d.scene_graphs.delta import GraphDelta, graph_delta
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.relations import relate
from vla3d.scene_graphs.predicates.tolerances import Tolerances
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.types import RgbdFrame

BACKGROUND = 0
"""The id in a segmentation of what is no instance."""

# Of the background of each view; enough to find a table in.
_MOST_BACKGROUND = 4000
_ROTATION_TOLERANCE = 1e-2
Names = Mapping[int, str] | Mapping[int, InstanceLabel]


@dataclass(frozen=True, kw_only=True)
class BuilderConfig:
    """How views become a graph.

    Attributes:
        ids_agree: whether an id in the segmentation means the same thing in every view and at every time, as in a simulator;
            nodes then carry it. Otherwise views are merged by the room that things take.
        voxel: edge of the cells in which clouds of two views are compared, metres.
        merge_overlap: share of common cells from which two clouds are one thing.
        gone_share: share of a thing's points that must be seen through before it counts as gone; or, where an earlier image saw
            through them, as moved.
        least_points: segments of which fewer points were measured are left out.
        keep_points: points of its surface that a node keeps at most; 0 keeps none.
        viewpoint: of left, right, in front and behind.
        tolerances: the bands of the predicates.
        slides: how parts that slide out of a whole tell how far they are open, by the part's label.

    Raises:
        ConfigError: a number out of range.
    """

    ids_agree: bool = True
    voxel: float = 0.005
    merge_overlap: float = 0.25
    gone_share: float = 0.3
    least_points: int = 5
    keep_points: int = 0
    viewpoint: Viewpoint = field(default_factory=Viewpoint)
    tolerances: Tolerances = field(default_factory=Tolerances)
    slides: Mapping[str, Slide] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.voxel < 1:
            raise ConfigError(f"voxel: got {self.voxel}, expected metres, above 0 and below 1.")
        for name in ("merge_overlap", "gone_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected a share above 0 and at most 1.")
        for name, least in (("least_points", 1), ("keep_points", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {least}.")


class SceneGraphBuilder:
    """Takes images as they come and keeps one graph.

    Each camera has one memory: a new image of it replaces what it saw before. What a camera does not see any more stays as
    remembered until some view sees through it, or sees the thing itself come to another place. Images of one moving camera of a
    still scene are given different names.

    Args:
        names: instance names by id in the segmentation, see `labels_of_names`, or labels. An id without one is ``"unknown"``.
        config: how views become a graph.
    """

    def __init__(self, names: Names | None = None, config: BuilderConfig | None = None) -> None:
        self.config = config or BuilderConfig()
        self.graph = SceneGraph(viewpoint=self.config.viewpoint)
        self._labels, self._ignored = _labels_of(names or {})
        self._background: dict[str, Float[np.ndarray, "N 3"]] = {}
        self._memory = Memory(
            ids_agree=self.config.ids_agree,
            voxel=self.config.voxel,
            merge_overlap=self.config.merge_overlap,
            gone_share=self.config.gone_share,
        )

    def add(
        self,
        frames: Mapping[str, RgbdFrame],
        gripper: GripperReading | None = None,
        names: Mapping[str, Names] | None = None,
    ) -> GraphDelta:
        """Take images of one instant.

        Args:
            frames: with a segmentation, by camera name.
            gripper: what the robot reports at that instant; None leaves the gripper out of the graph.
            names: by camera, where ids mean something else in every view; the builder's own otherwise.

        Returns:
            What changed; the new graph is ``graph``.

        Raises:
            ObservationError: a pose or an image cannot be right; names the camera.
        """
        now = {name: self._segments(name, frame, (names or {}).get(name)) for name, frame in frames.items()}
        for name, segments in now.items():
            self._memory.see(name, segments)
        self._memory.forget(frames, now)
        before, self.graph = self.graph, self._build(gripper)
        return graph_delta(before, self.graph)

    def _segments(self, camera: str, frame: RgbdFrame, names: Names | None) -> list[Labelled]:
        _check_pose(camera, frame)
        labels, ignored = (self._labels, self._ignored) if names is None else _labels_of(names)
        points, valid = world_points(frame)
        try:
            segments = segments_of(frame, points, valid)
        except DataError as error:
            raise ObservationError(f"Camera {camera!r}: {error}") from error
        self._background[camera] = np.zeros((0, 3))
        found = []
        for segment in segments:
            if segment.number == BACKGROUND:
                self._background[camera] = thinned(segment.points, _MOST_BACKGROUND)
            elif segment.number not in ignored and len(segment.points) >= self.config.least_points:
                found.append((segment, labels.get(segment.number, InstanceLabel())))
        return found

    def _build(self, gripper: GripperReading | None) -> SceneGraph:
        tracks = self._memory.tracks
        nodes = self._with_openings([self._node(track) for track in tracks])
        table = self._table(nodes)
        nodes += [] if table is None else [table]
        nodes += [] if gripper is None else [gripper_node(gripper, GRIPPER_ID)]
        nodes = list(SceneGraph(nodes=tuple(nodes)).nodes)
        viewpoint, tolerances = self.config.viewpoint, self.config.tolerances
        relations = relate(nodes, viewpoint=viewpoint, tolerances=tolerances)
        by_view = {track.id: track.boxes_by_view() for track in tracks}
        edges = with_evidence(true_edges(relations), nodes, by_view, viewpoint, tolerances)
        return SceneGraph(nodes=with_states(nodes, relations), edges=edges, viewpoint=viewpoint)

    def _node(self, track: Track) -> SceneNode:
        label, rgb, keep, box = track.label, track.rgb, self.config.keep_points, track.box()
        whole = None
        if label.part_of is not None:
            view = next(name for name, said in track.labels.items() if said is label)
            whole = self._memory.track_of(view, label.part_of) or self._anywhere(label.part_of)
        return SceneNode(
            id=track.id,
            label=label.label,
            label_scores=track.label_scores if len(track.label_scores) > 1 else {},
            kind=label.kind,
            box=box,
            color=color_name(rgb),
            rgb=rgb,
            part_of=None if whole is None or whole is track else whole.id,
            incomplete=track.incomplete(box),
            views=len(track.views),
            points=thinned(track.points, keep).astype(np.float32)[:keep] if keep else None,
        )

    def _anywhere(self, number: int) -> Track | None:
        """The thing that has an id in any view; only where ids agree does that mean something."""
        if not self.config.ids_agree:
            return None
        return next(filter(None, (self._memory.track_of(view, number) for view in self._background)), None)

    def _with_openings(self, nodes: list[SceneNode]) -> list[SceneNode]:
        boxes = {node.id: node for node in nodes}
        result = []
        for node in nodes:
            slide = self.config.slides.get(node.label)
            whole = None if node.part_of is None else boxes[node.part_of]
            if slide is not None and whole is not None and not whole.incomplete:
                node = replace(node, opening=opening_of(node.box, whole.box, slide))
            result.append(node)
        return result

    def _table(self, nodes: list[SceneNode]) -> SceneNode | None:
        seen = {name: points for name, points in self._background.items() if len(points)}
        if not seen:
            return None
        undersides = np.array([node.box.corners[:, 2].min() for node in nodes if node.part_of is None])
        box = table_box(np.concatenate(list(seen.values())), undersides)
        if box is None:
            return None
        return SceneNode(id=TABLE_ID, label=TABLE_LABEL, kind="surface", box=box, views=len(seen))


def _labels_of(names: Names) -> tuple[dict[int, InstanceLabel], set[int]]:
    """Labels, and ids that are no nodes."""
    texts = {number: name for number, name in names.items() if isinstance(name, str)}
    labels = labels_of_names(texts)
    labels |= {number: label for number, label in names.items() if isinstance(label, InstanceLabel)}
    return labels, {number for number, name in texts.items() if name in IGNORED} | {BACKGROUND}


def _check_pose(camera: str, frame: RgbdFrame) -> None:
    pose, intrinsics = np.asarray(frame.T_world_camera), np.asarray(frame.intrinsics)
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or not np.isfinite(intrinsics).all():
        raise ObservationError(f"Camera {camera!r}: got a pose or intrinsics with a number that is not finite; calibrate it.")
    rotation = pose[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=_ROTATION_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise ObservationError(
            f"Camera {camera!r}: T_world_camera is no rigid pose, expected a rotation of determinant 1; camera frames are x "
            "right, y down, z forward."
        )
