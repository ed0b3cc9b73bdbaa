"""An episode as a Rerun recording: cameras in the scene, point clouds from depth, the gripper, what the policy looked at.

Open one with ``rerun FILE.rrd``. The ``viz`` extra brings Rerun; nothing here is needed without it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vla3d.optional import require
from vla3d.pointcloud import clouds_of_frames, voxel_downsample
from vla3d.types import KeyframeAction, Observation, RgbdFrame, Workspace

_AXIS_COLORS = [(220, 60, 60), (60, 180, 80), (70, 110, 230)]
_HEAT_COLOR = (255, 130, 20)
_PREDICTION_COLOR = (240, 170, 60)
_JPEG_QUALITY = 90
# Finer than what a camera resolves at arm's length, and a few megabytes for a whole episode.
_VOXEL = 0.005


def unfinished(path: Path) -> Path:
    """Where a recording lies until it is closed."""
    return path.with_name(path.name + ".part")


class EpisodeLog:
    """Writes one recording. Call ``close`` at the end: until then the file lies beside its place under another name."""

    def __init__(self, path: Path, *, workspace: Workspace, name: str = "episode") -> None:
        """Begin a recording.

        Args:
            path: where the ``.rrd`` file goes.
            workspace: drawn as a box.
            name: shown by the viewer.

        Raises:
            MissingExtraError: when Rerun is not installed.
        """
        self._rr: Any = require("rerun")
        self._path = path
        self._workspace = workspace
        self._part = unfinished(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._rr.RecordingStream("vla3d", send_properties=False)
        self._stream.send_recording_name(name)
        self._stream.save(self._part, default_blueprint=self._blueprint())
        self._stream.log("world", self._rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        box = self._rr.Boxes3D(centers=[workspace.center], half_sizes=[workspace.extent / 2], colors=[(140, 150, 165)])
        self._stream.log("world/workspace", box, static=True)

    def at(self, seconds: float, step: int) -> None:
        """Set the time of everything logged from here on.

        Args:
            seconds: simulated (or real) time since the episode began.
            step: decisions made so far.
        """
        self._stream.set_time("seconds", duration=seconds)
        self._stream.set_time("step", sequence=step)

    def observation(self, observation: Observation) -> None:
        """Log every camera, its depth, the fused cloud inside the workspace, and the gripper."""
        for name, frame in observation.frames.items():
            self.camera(name, frame)
        if observation.frames:
            self._fused(list(observation.frames.values()))
        self._pose("world/gripper", observation.gripper_position, observation.gripper_quaternion, 0.08)
        self._stream.log("gripper/width", self._rr.Scalars(float(observation.gripper_width)))

    def sentence(self, text: str) -> None:
        """Log the sentence that the policy reads."""
        self._stream.log("instruction", self._rr.TextDocument(text or "*(text masked)*", media_type="text/markdown"))

    def action(self, action: KeyframeAction) -> None:
        """Log a decision: the pose to reach, and the rest in words."""
        if action.answer != "move":
            self.say(f"answer: {action.answer}")
            return
        self._pose("world/next_keyframe", action.position, action.quaternion, 0.05)
        gripper = "open" if action.gripper_open else "closed"
        path = "straight" if action.ignore_collisions else "planned"
        self.say(f"keyframe at {np.round(action.position, 3).tolist()}, gripper {gripper}, {path} path")

    def prediction(self, action: KeyframeAction) -> None:
        """Log what a policy that thinks along would do instead."""
        if action.answer != "move":
            self.say(f"the policy would answer: {action.answer}")
            return
        self._pose("world/predicted_keyframe", action.position, action.quaternion, 0.05)
        mark = self._rr.Points3D([(0, 0, 0)], radii=0.008, colors=[_PREDICTION_COLOR], labels=["predicted"])
        self._stream.log("world/predicted_keyframe/mark", mark)

    def looks(
        self, names: Sequence[str], views: Float[np.ndarray, "L V 3 R R"], heatmaps: Float[np.ndarray, "L V R R"],
        positions: Float[np.ndarray, "L 3"],
    ) -> None:  # fmt: skip
        """Log rendered views with their heatmaps, and the 3D point that each look settled on.

        Args:
            names: names of the V views.
            views: RGB in [0, 1].
            heatmaps: heat over each view's pixels.
            positions: world metres.
        """
        for look in range(len(views)):
            for column, name in enumerate(names):
                picture = np.moveaxis(np.clip(views[look, column], 0, 1) * 255, 0, -1).astype(np.uint8)
                self._stream.log(f"looks/{look + 1}/{name}/view", self._rr.Image(picture))
                self._stream.log(f"looks/{look + 1}/{name}/heat", self._rr.Image(_heat_rgba(heatmaps[look, column])))
        labels = [f"look {look + 1}" for look in range(len(positions))]
        self._stream.log("world/looks", self._rr.Points3D(positions, radii=0.012, colors=[_HEAT_COLOR], labels=labels))

    def say(self, text: str, *, level: str = "INFO") -> None:
        """Add a line to the log.

        Args:
            text: the line.
            level: ``"INFO"``, ``"WARN"`` or ``"ERROR"``.
        """
        self._stream.log("log", self._rr.TextLog(text, level=level))

    def close(self) -> None:
        """End the recording and put the file in its place."""
        self._stream.flush()
        self._stream.disconnect()
        os.replace(self._part, self._path)

    def cloud(self, entity: str, points: Float[np.ndarray, "N 3"], colors: Float[np.ndarray, "N 3"]) -> None:
        """Log points as an entity of the scene.

        Args:
            entity: its name below ``world``.
            points: world metres.
            colors: RGB in [0, 1].
        """
        shown = np.clip(np.rint(colors * 255), 0, 255).astype(np.uint8)
        self._stream.log(f"world/{entity}", self._rr.Points3D(points.astype(np.float32), colors=shown, radii=_VOXEL / 2))

    def boxes(
        self, entity: str, *, centers: Float[np.ndarray, "N 3"], sizes: Float[np.ndarray, "N 3"],
        quaternions: Float[np.ndarray, "N 4"], colors: Sequence[tuple[int, int, int]], labels: Sequence[str],
    ) -> None:  # fmt: skip
        """Log oriented boxes as an entity of the scene.

        Args:
            entity: its name below ``world``.
            centers: world metres.
            sizes: full edge lengths, metres.
            quaternions: orientations, ``wxyz``.
            colors: RGB of each.
            labels: text of each.
        """
        turns = [self._rr.Quaternion(xyzw=quaternion[[1, 2, 3, 0]]) for quaternion in quaternions]
        shown = self._rr.Boxes3D(centers=centers, sizes=sizes, quaternions=turns, colors=list(colors), labels=list(labels))
        self._stream.log(f"world/{entity}", shown)

    def arrows(
        self, entity: str, *, origins: Float[np.ndarray, "N 3"], vectors: Float[np.ndarray, "N 3"],
        colors: Sequence[tuple[int, int, int]], labels: Sequence[str],
    ) -> None:  # fmt: skip
        """Log arrows as an entity of the scene.

        Args:
            entity: its name below ``world``.
            origins: where they start, world metres.
            vectors: where they lead from there, metres.
            colors: RGB of each.
            labels: text of each.
        """
        shown = self._rr.Arrows3D(origins=origins, vectors=vectors, colors=list(colors), labels=list(labels), radii=0.002)
        self._stream.log(f"world/{entity}", shown)

    def _fused(self, frames: Sequence[RgbdFrame]) -> None:
        clouds = clouds_of_frames(frames, self._workspace)
        points, colors = clouds.points[clouds.mask], clouds.colors[clouds.mask]
        if len(points):
            voxels = voxel_downsample(points[None], _VOXEL, values=colors[None]).trimmed()
            assert voxels.values is not None
            self.cloud("cloud", voxels.points[0].numpy(), voxels.values[0].numpy())

    def camera(self, name: str, frame: RgbdFrame) -> None:
        """Log one camera: where it is, its colours and its depth."""
        entity = f"world/cameras/{name}"
        height, width = frame.depth.shape
        pose = frame.T_world_camera
        self._stream.log(entity, self._rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        pinhole = self._rr.Pinhole(
            image_from_camera=frame.intrinsics, width=width, height=height, camera_xyz=self._rr.ViewCoordinates.RDF
        )
        self._stream.log(entity, pinhole)
        self._stream.log(f"{entity}/color", self._rr.Image(frame.rgb).compress(jpeg_quality=_JPEG_QUALITY))
        measured = np.where(np.isfinite(frame.depth), frame.depth, 0).astype(np.float32)
        self._stream.log(f"{entity}/depth", self._rr.DepthImage(measured, meter=1.0))

    def _pose(self, entity: str, position: np.ndarray, wxyz: np.ndarray, length: float) -> None:
        w, x, y, z = (float(v) for v in wxyz)  # Rerun's quaternions are xyzw
        self._stream.log(entity, self._rr.Transform3D(translation=position, quaternion=self._rr.Quaternion(xyzw=[x, y, z, w])))
        self._stream.log(entity, self._rr.Arrows3D(vectors=np.eye(3) * length, origins=np.zeros((3, 3)), colors=_AXIS_COLORS))

    def _blueprint(self) -> Any:
        blueprint = self._rr.blueprint
        side = blueprint.Vertical(
            blueprint.TextDocumentView(origin="instruction", name="instruction"),
            blueprint.Tabs(
                blueprint.Grid(*self._look_views(blueprint), name="looks"),
                blueprint.TimeSeriesView(origin="gripper", name="gripper"),
            ),
            blueprint.TextLogView(origin="log", name="log"),
            row_shares=[1, 5, 2],
        )
        return blueprint.Blueprint(
            # Depth images would draw the same points a second time, without colour; they can be opened from the tree.
            blueprint.Horizontal(
                blueprint.Spatial3DView(origin="world", name="scene", contents=["$origin/**", "- $origin/cameras/*/depth"]),
                side,
                column_shares=[3, 2],
            ),
            collapse_panels=True,
        )

    @staticmethod
    def _look_views(blueprint: Any) -> list[Any]:
        """Panels for the usual views; others can be opened from the tree."""
        names = ("top", "front", "right")
        return [blueprint.Spatial2DView(origin=f"looks/{i}/{name}", name=f"{name}, look {i}") for i in (1, 2) for name in names]


def _heat_rgba(heatmap: Float[np.ndarray, "R R"]) -> np.ndarray:
    """Heat as a colour whose opacity grows with it."""
    heat = np.clip(np.nan_to_num(heatmap), 0, None)
    alpha = np.sqrt(heat / heat.max()) if heat.max() > 0 else heat
    picture = np.empty((*heat.shape, 4), dtype=np.uint8)
    picture[..., :3] = _HEAT_COLOR
    picture[..., 3] = alpha * 220
    return picture
