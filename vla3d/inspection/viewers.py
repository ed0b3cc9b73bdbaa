"""Who looks on when an episode is shown: a video, a Rerun recording, a contact sheet; and what they see without a policy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.episode import Replay
from vla3d.evaluation.results import EpisodeRecord
from vla3d.geometry import SimilarityTransform, workspace_to_cube
from vla3d.inspection.config import ViewConfig
from vla3d.optional import available, require
from vla3d.pointcloud import clouds_of_frames
from vla3d.policies.base import Decision, PolicyExplanation
from vla3d.types import KeyframeAction, Observation, Workspace
from vla3d.views.splat import render_views
from vla3d.views.view_set import ViewSet

_VIEWS = ("top", "front", "right")
_RESOLUTION = 160
_ZOOM = 4.0


class Viewer(Protocol):
    """A watcher of an episode who is also told what a policy that thinks along would have done."""

    every_tick: bool

    def began(self, observation: Observation, said: Sentences) -> None:
        """See ``vla3d.evaluation.episode.Watcher``."""

    def decided(self, observation: Observation, decision: Decision, thought: KeyframeAction | None = None) -> None:
        """See ``vla3d.evaluation.episode.Watcher``; ``thought`` is what a policy that thinks along would have done."""

    def moved(self, observation: Observation, seconds: float) -> None:
        """See ``vla3d.evaluation.episode.Watcher``."""

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """See ``vla3d.evaluation.episode.Watcher``."""

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """See ``vla3d.evaluation.episode.Watcher``."""


class Audience:
    """Passes everything on to several viewers. Without an explanation they are shown the virtual views without heat.

    Args:
        viewers: who looks on.
        workspace: the box that the virtual views show.
        replay: tells what the policy that thinks along would have done; None when it is not to be shown.
    """

    def __init__(self, viewers: Sequence[Viewer], workspace: Workspace, replay: Replay | None = None) -> None:
        self._viewers = viewers
        self._workspace = workspace
        self._replay = replay
        self.every_tick = any(viewer.every_tick for viewer in viewers)

    def began(self, observation: Observation, said: Sentences) -> None:
        """Pass it on."""
        for viewer in self._viewers:
            viewer.began(observation, said)

    def decided(self, observation: Observation, decision: Decision, thought: KeyframeAction | None = None) -> None:
        """Pass it on, with what the policy that thinks along would have done."""
        if self._replay is not None:
            thought = self._replay.thought
        if decision.explanation is None:
            decision = replace(decision, explanation=plain_views(observation, self._workspace, decision.action.position))
        for viewer in self._viewers:
            viewer.decided(observation, decision, thought)

    def moved(self, observation: Observation, seconds: float) -> None:
        """Pass it on."""
        for viewer in self._viewers:
            if viewer.every_tick:
                viewer.moved(observation, seconds)

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """Pass it on."""
        for viewer in self._viewers:
            viewer.carried_out(observation, failure)

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """Pass it on."""
        for viewer in self._viewers:
            viewer.ended(observation, record)


def plain_views(observation: Observation, workspace: Workspace, center: np.ndarray) -> PolicyExplanation | None:
    """The virtual views of a scene as a policy would be given them, without heat: the workspace, and magnified about a point.

    Args:
        observation: without frames there is nothing to show.
        workspace: the box to render.
        center: world point of the second look.
    """
    if not observation.frames:
        return None
    clouds = clouds_of_frames(list(observation.frames.values()), workspace)
    points, colors = clouds.points[clouds.mask][None], clouds.colors[clouds.mask][None]
    lengths = torch.tensor([points.shape[1]])
    whole = workspace_to_cube(workspace)
    middle = whole.apply(torch.tensor(np.asarray(center), dtype=torch.float32)[None])
    looks = (whole, SimilarityTransform.about(middle, _ZOOM).compose(whole))
    views = ViewSet.from_names(_VIEWS)
    rendered = [render_views(look.apply(points), colors, lengths, views, _RESOLUTION).rgb[0] for look in looks]
    return PolicyExplanation(
        view_names=_VIEWS,
        views=torch.stack(rendered).numpy(),
        heatmaps=np.zeros((2, len(_VIEWS), _RESOLUTION, _RESOLUTION), dtype=np.float32),
        positions=np.stack([workspace.center, center]).astype(np.float32),
    )


def suffixes(config: ViewConfig) -> tuple[str, ...]:
    """What files a format means here.

    Raises:
        MissingExtraError: Rerun is asked for and not installed.
    """
    if config.format in ("rerun", "all"):
        require("rerun")
    chosen = {
        "auto": (".mp4", ".rrd") if available("rerun") else (".mp4",),
        "rerun": (".rrd",),
        "mp4": (".mp4",),
        "png": (".png",),
        "all": (".mp4", ".png", ".rrd"),
    }
    return chosen[config.format]


def open_viewer(path: Path, *, task: str, source: str, control: str, workspace: Workspace) -> Viewer:
    """The viewer that writes a file, by its suffix.

    Args:
        path: the file.
        task: named in the picture.
        source: what is shown, a policy or a demonstration.
        control: of the rollout.
        workspace: drawn in recordings.
    """
    if path.suffix == ".mp4":
        from vla3d.evaluation.video import EpisodeVideo

        return EpisodeVideo(path, task=task, policy=source, control=control)
    if path.suffix == ".rrd":
        from vla3d.evaluation.recording import EpisodeRecording

        return EpisodeRecording(path, workspace=workspace)
    from vla3d.inspection.sheet import ContactSheet

    return ContactSheet(path, title=f"{task}   ·   {source}")
