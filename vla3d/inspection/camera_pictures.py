"""The fused cloud of a camera set from three sides, coloured by what was seen and by who saw it."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from vla3d.calibration.camera_set import CameraSet
from vla3d.calibration.consistency import PairConsistency
from vla3d.evaluation.drawing import ACCENT, BACKGROUND, BAD, GOOD, MUTED, PANEL, TEXT, font, write_fitting
from vla3d.evaluation.results import write_atomic
from vla3d.geometry import workspace_to_cube
from vla3d.pointcloud import PointCloud, clouds_of_frames
from vla3d.types import Workspace
from vla3d.views.splat import render_views
from vla3d.views.view_set import ViewSet

# Okabe and Ito's colours, which colour-blind eyes tell apart.
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178))
_VIEWS = ("top", "front", "right")
_TITLES = {"top": "top", "front": "front", "right": "side"}
_TILE = 420
_GAP = 12
_MARGIN = 24
_LINE = 26
_AROUND = 1.15
_POINT_RADIUS = 0.012  # cube units: closes the gaps between the pixels of a small camera
_EVERYWHERE = Workspace.from_bounds([-3.0, -3.0, -3.0], [3.0, 3.0, 3.0])


def overlay(
    path: Path,
    cameras: CameraSet,
    box: Workspace | None,
    pairs: Sequence[PairConsistency],
    lines: Sequence[str],
    threshold_mm: float,
) -> None:
    """Write the picture of a camera set.

    Args:
        path: a PNG file.
        cameras: the first instant is drawn.
        box: what the views show, with some room around; None shows everything within 3 m.
        pairs: their figures go below.
        lines: the verdict.
        threshold_mm: above this a pair is marked.
    """
    shown = _with_room(box)
    clouds = clouds_of_frames(list(cameras.instants[0].values()), shown)
    width = 2 * _MARGIN + 3 * _TILE + 2 * _GAP
    below = 96 + 2 * (_TILE + _GAP) + 20
    sheet = Image.new("RGB", (width, below + _LINE * (max(1, len(pairs)) + len(lines) + 2) + _MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 20), "Fused cloud", font=font(24, bold=True), fill=TEXT)
    edge = f"{shown.extent.max():.2f} m wide"
    framed = "" if box is None else "   ·   framed: the suggested workspace"
    draw.text((_MARGIN + 170, 27), f"first instant   ·   {edge}{framed}", font=font(15), fill=MUTED)
    _legend(draw, cameras.names, 66)
    for row, colors in enumerate((clouds.colors, _by_camera(clouds))):
        for column, picture in enumerate(_renders(clouds, colors, shown)):
            place = (_MARGIN + column * (_TILE + _GAP), 96 + row * (_TILE + _GAP))
            sheet.paste(picture, place)
            if box is not None:
                inset = round(_TILE * (1 - 1 / _AROUND) / 2)
                corners = (place[0] + inset, place[1] + inset, place[0] + _TILE - inset, place[1] + _TILE - inset)
                draw.rectangle(corners, outline=MUTED)
            title = f"{_TITLES[_VIEWS[column]]}, {('colour', 'by camera')[row]}"
            draw.text(
                (place[0] + 8, place[1] + 6), title, font=font(13, bold=True), fill=TEXT, stroke_width=2, stroke_fill=BACKGROUND
            )
    _figures(draw, pairs, below, width, threshold_mm)
    for number, line in enumerate(lines):
        top = below + _LINE * (len(pairs) + 2 + number)
        write_fitting(draw, line, (_MARGIN, top), width - 2 * _MARGIN, size=15)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def record_cameras(path: Path, cameras: CameraSet, box: Workspace | None) -> None:
    """Write a Rerun recording of a camera set: cameras, fused cloud, and one cloud for each camera in its colour.

    Raises:
        MissingExtraError: Rerun is not installed.
    """
    from vla3d.viz.rerun import EpisodeLog

    shown = _with_room(box)
    log = EpisodeLog(path, workspace=shown if box is None else box, name="cameras")
    for number, frames in enumerate(cameras.instants):
        log.at(float(number), number)
        clouds = clouds_of_frames(list(frames.values()), shown)
        colored = _by_camera(clouds)
        log.cloud("cloud", clouds.points[clouds.mask].numpy(), clouds.colors[clouds.mask].numpy())
        for row, (name, frame) in enumerate(frames.items()):
            log.camera(name, frame)
            real = clouds.mask[row]
            log.cloud(f"by_camera/{name}", clouds.points[row][real].numpy(), colored[row][real].numpy())
    log.close()


def _with_room(box: Workspace | None) -> Workspace:
    if box is None:
        return _EVERYWHERE
    half = box.extent / 2 * _AROUND
    return Workspace(low=box.center - half, high=box.center + half)


def _renders(clouds: PointCloud, colors: Float[Tensor, "C N 3"], box: Workspace) -> list[Image.Image]:
    points = workspace_to_cube(box).apply(clouds.points[clouds.mask][None])
    lengths = torch.tensor([points.shape[1]])
    views = render_views(points, colors[clouds.mask][None], lengths, ViewSet.from_names(_VIEWS), _TILE, radius=_POINT_RADIUS)
    empty = torch.tensor(PANEL, dtype=torch.float32) / 255
    pictures = torch.where(views.mask[0, :, None], views.rgb[0], empty[:, None, None])
    shown = (pictures.movedim(1, -1).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in shown]


def _by_camera(clouds: PointCloud) -> Float[Tensor, "C N 3"]:
    """Each camera's colour, shaded by what it saw so that shapes stay visible."""
    palette = torch.tensor([COLORS[row % len(COLORS)] for row in range(len(clouds.lengths))], dtype=torch.float32) / 255
    return palette[:, None] * (0.35 + 0.65 * clouds.colors.mean(-1, keepdim=True))


def _legend(draw: ImageDraw.ImageDraw, names: Sequence[str], top: int) -> None:
    left = _MARGIN
    for number, name in enumerate(names):
        draw.rectangle((left, top, left + 14, top + 14), fill=COLORS[number % len(COLORS)])
        draw.text((left + 22, top - 2), name.replace("_", " "), font=font(15), fill=TEXT)
        left += 46 + int(draw.textlength(name, font=font(15)))


def _figures(draw: ImageDraw.ImageDraw, pairs: Sequence[PairConsistency], top: int, width: int, threshold_mm: float) -> None:
    columns = (0, 380, 500, 730, 960, 1130)
    head = ("PAIR", "OVERLAP", "DEPTH  median, 90 %", "SURFACE  median, 90 %", "PIXELS  median, 90 %", "")
    for left, title in zip(columns, head, strict=True):
        draw.text((_MARGIN + left, top), title, font=font(13, bold=True), fill=ACCENT)
    for number, pair in enumerate(pairs):
        bad = pair.judged and pair.depth_mm[0] > threshold_mm
        cells = (
            f"{pair.first}, {pair.second}".replace("_", " "),
            f"{100 * pair.overlap:.0f} %",
            _two(pair.depth_mm, "mm", pair.judged),
            _two(pair.surface_mm, "mm", pair.judged),
            _two(pair.pixels, "px", pair.judged),
            "disagree" if bad else "agree" if pair.judged else "too little in common",
        )
        fill = BAD if bad else GOOD if pair.judged else MUTED
        for left, words in zip(columns, cells, strict=True):
            color = fill if left == columns[-1] else TEXT
            write_fitting(
                draw, words, (_MARGIN + left, top + _LINE * (number + 1)), width - 2 * _MARGIN - left, size=15, fill=color
            )


def _two(values: tuple[float, float], unit: str, judged: bool) -> str:
    return f"{values[0]:.2f}, {values[1]:.2f} {unit}" if judged else "–"
