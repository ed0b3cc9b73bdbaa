"""`vla3d view cameras`: from recorded frames to a verdict, a picture and a workspace."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import torch

from vla3d.calibration.alignment import Correction, corrections, guilty
from vla3d.calibration.bounds import WorkspaceSuggestion, suggest_workspace
from vla3d.calibration.camera_set import CameraSet
from vla3d.calibration.consistency import PairConsistency, pair_consistencies
from vla3d.calibration.files import CAMERAS_FILE, read_camera_folder
from vla3d.data import EpisodeRef, open_demos
from vla3d.data.summary import format_table
from vla3d.errors import ConfigError
from vla3d.inspection.camera_pictures import overlay, record_cameras
from vla3d.inspection.config import CamerasConfig
from vla3d.inspection.outputs import ViewFolder
from vla3d.inspection.sources import chosen, find_source
from vla3d.optional import available

_HEAD = ("cameras", "overlap", "depth median", "90 %", "surface median", "90 %", "pixels median", "90 %", "verdict")
# Without the table level with the world's xy plane, a box along the axes cuts through it.
_TILTED_DEGREES = 3.0


def inspect_cameras(config: CamerasConfig) -> Iterator[str]:
    """Compare the cameras; yields lines to print.

    Raises:
        Vla3dError: anything the user can mend.
    """
    cameras = read_cameras(config)
    folder = ViewFolder(config.out, {**asdict(config), "path": str(config.path), "out": str(config.out)})
    pairs = pair_consistencies(cameras)
    found = corrections(cameras) if len(cameras.names) > 2 else []
    culprit = guilty(found, least_mm=config.threshold_mm)
    suggestion = suggest_workspace(cameras, torch.Generator().manual_seed(config.seed))
    yield from _table(pairs, config.threshold_mm)
    lines = [*verdict(cameras.names, pairs, culprit, config.threshold_mm), *_suggestion_lines(suggestion)]
    yield ""
    yield from lines
    yield ""
    box = None if suggestion is None else suggestion.workspace
    picture = folder.claim("cameras.png")
    overlay(picture, cameras, box, pairs, lines, config.threshold_mm)
    yield f"  {picture}"
    if available("rerun"):
        recording = folder.claim("cameras.rrd")
        record_cameras(recording, cameras, box)
        yield f"  {recording}"


def read_cameras(config: CamerasConfig) -> CameraSet:
    """The frames that a path stands for.

    Raises:
        Vla3dError: there are none, or they cannot be right.
    """
    if config.path.name == CAMERAS_FILE:
        return read_camera_folder(config.path.parent)
    if (config.path / CAMERAS_FILE).is_file():
        return read_camera_folder(config.path)
    try:
        source = find_source(config.path)
    except ConfigError as error:
        raise ConfigError(
            f"{str(error).split(';')[0]}; expected a folder with {CAMERAS_FILE}, a dataset, or an episode."
        ) from error
    if source.kind == "rollout":
        raise ConfigError(
            f"{config.path} is a rollout, which keeps no depth; expected a folder with {CAMERAS_FILE} or a dataset."
        )
    dataset = open_demos(source.folder)
    refs = dataset.episodes()
    episodes = {task: [ref.attempt for ref in refs if ref.task == task] for task in dataset.tasks()}
    task, number = chosen(source, episodes, {}, ())[0]
    ref = EpisodeRef(task, number)
    info = dataset.info(ref)
    indices = np.unique(np.linspace(0, info.num_steps - 1, config.instants).round().astype(int))
    return CameraSet(instants=[dict(step.observation.frames) for step in dataset.read_steps(ref, indices.tolist())])


def verdict(
    names: Sequence[str], pairs: Sequence[PairConsistency], culprit: Correction | None, threshold_mm: float
) -> list[str]:
    """What the figures mean, in sentences.

    Args:
        names: all cameras.
        pairs: every two of them.
        culprit: the camera that explains the disagreement.
        threshold_mm: see ``CamerasConfig``.
    """
    lines = []
    for pair in pairs:
        if pair.judged and pair.depth_mm[0] > threshold_mm:
            suspects = (
                culprit.camera if culprit and culprit.camera in (pair.first, pair.second) else f"{pair.first} or {pair.second}"
            )
            lines.append(
                f"{pair.first} and {pair.second} disagree by {pair.depth_mm[0]:.0f} mm: check the extrinsics of {suspects}."
            )
    if culprit is not None:
        found = "One camera explains it" if lines else "No pair is above the threshold, yet one camera is off"
        lines.append(
            f"{found}: {culprit.camera}. Moved by {culprit.shift_mm:.0f} mm and turned by {culprit.turn_degrees:.1f}°, "
            f"it brings the cameras from {culprit.before_mm:.1f} mm to {culprit.after_mm:.1f} mm (median distance of surfaces, "
            "all pairs)."
        )
    blind = [
        name for name in names if len(names) > 1 and not any(pair.judged for pair in pairs if name in (pair.first, pair.second))
    ]
    lines += [f"{name} sees too little of what the others see, so it was not judged." for name in blind]
    if len(names) == 1:
        lines.append("There is one camera: nothing to compare it with.")
    elif not lines:
        lines.append(f"The cameras agree: no pair's median depth difference is above {threshold_mm:g} mm.")
    return lines


def _suggestion_lines(suggestion: WorkspaceSuggestion | None) -> list[str]:
    if suggestion is None:
        return ["No two cameras see a common surface, so no workspace is suggested."]
    low, high = (
        ", ".join(f"{value:.2f}" for value in corner) for corner in (suggestion.workspace.low, suggestion.workspace.high)
    )
    lines = [f"Suggested workspace: policy.workspace_low=[{low}] policy.workspace_high=[{high}]"]
    if suggestion.plane_tilt_degrees > _TILTED_DEGREES:
        lines.append(
            f"The dominant plane is tilted by {suggestion.plane_tilt_degrees:.0f}° against the world's xy plane: if it is the "
            "table, the world frame is not level."
        )
    return lines


def _table(pairs: Sequence[PairConsistency], threshold_mm: float) -> list[str]:
    rows: list[Sequence[str]] = [_HEAD]
    for pair in pairs:
        figures = [("mm", pair.depth_mm), ("mm", pair.surface_mm), ("px", pair.pixels)]
        cells = [f"{value:.2f} {unit}" for unit, values in figures for value in values] if pair.judged else ["-"] * 6
        rows.append([f"{pair.first}, {pair.second}", f"{100 * pair.overlap:.0f} %", *cells, judgement(pair, threshold_mm)])
    return format_table(rows) if pairs else []


def judgement(pair: PairConsistency, threshold_mm: float) -> str:
    """One word on a pair."""
    if not pair.judged:
        return "too little in common"
    return "disagree" if pair.depth_mm[0] > threshold_mm else "agree"
