"""One picture of one sample: what the cameras saw, both looks, and the predicted beside the demonstrated keyframe."""

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw

from vla3d.evaluation.drawing import (
    ACCENT,
    BACKGROUND,
    BAD,
    MUTED,
    PANEL,
    TEXT,
    WARNING,
    font,
    look_picture,
    scaled,
    write_fitting,
)
from vla3d.evaluation.offline import Judged
from vla3d.evaluation.pictures import main_camera
from vla3d.geometry.cameras import project
from vla3d.geometry.rotations import quaternion_to_matrix
from vla3d.policies.base import PolicyExplanation
from vla3d.types import KeyframeAction, RgbdFrame

WIDTH, HEIGHT = 1200, 672
_MARGIN, _GAP = 24, 12
_CAMERA = 396
_SMALL = (_CAMERA - 2 * _GAP) // 3
_TOP = 116
_GRID_LEFT = _MARGIN + _CAMERA + _MARGIN
_TILE = (WIDTH - _MARGIN - _GRID_LEFT - 2 * _GAP) // 3
_LOOKS = ("FIRST LOOK", "SECOND LOOK")
DEMONSTRATED, PREDICTED = (255, 255, 255), (0, 229, 255)

_FINGER, _WRIST = 0.045, 0.1  # metres from the tool centre point back to the palm and to the wrist
_OPEN, _CLOSED = 0.04, 0.012  # half the width between the fingers

Line = Float[np.ndarray, "_ 3"]
PixelLine = Float[np.ndarray, "_ 2"]


def sample_picture(judged: Judged) -> bytes:
    """The picture of a sample, as a JPEG."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    _write_header(draw, judged)
    actions = ((judged.question.sample.action, DEMONSTRATED), (judged.decision.action, PREDICTED))
    _draw_cameras(picture, judged, actions)
    if judged.decision.explanation is not None:
        _draw_looks(picture, judged.decision.explanation, actions)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def gripper_outline(action: KeyframeAction) -> list[Line]:
    """A gripper at an action's pose as lines in the world: fingers with palm, the stem to the wrist, and the point aimed at."""
    rotation = quaternion_to_matrix(torch.from_numpy(np.asarray(action.quaternion, dtype=np.float64))).numpy()
    half = _OPEN if action.gripper_open else _CLOSED
    side, back = half * rotation[:, 1], -rotation[:, 2]
    tip = np.asarray(action.position, dtype=np.float64)
    palm = tip + _FINGER * back
    return [np.stack([tip - side, palm - side, palm + side, tip + side]), np.stack([palm, tip + _WRIST * back]), tip[None]]


def seen_in_camera(points: Line, frame: RgbdFrame) -> PixelLine:
    """Pixel coordinates of world points in a camera; NaN behind it."""
    world, intrinsics, pose = (
        torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in (points, frame.intrinsics, frame.T_world_camera)
    )
    return np.asarray(project(world, intrinsics, pose)[0].numpy())


def seen_in_view(points: Line, pixel_map: Float[np.ndarray, "2 4"]) -> PixelLine:
    """Pixel coordinates of world points in an orthographic view, see ``PolicyExplanation.pixel_maps``."""
    return np.asarray(points @ pixel_map[:, :3].T + pixel_map[:, 3])


Actions = tuple[tuple[KeyframeAction, tuple[int, int, int]], ...]


def _write_header(draw: ImageDraw.ImageDraw, judged: Judged) -> None:
    record = judged.record
    width = WIDTH - 2 * _MARGIN
    place = f"{record.task}   ·   {record.demo.rpartition('/')[2]}, step {record.step}   ·   keyframe {record.keyframe}"
    draw.text((_MARGIN, 14), place, font=font(15), fill=MUTED)
    said = f"“{record.said}”" if record.said else f"(text masked) “{record.goal}”"
    write_fitting(draw, said, (_MARGIN, 36), width, size=26, bold=True)
    left = float(_MARGIN)
    for text, fill in _errors_in_words(judged):
        draw.text((left, 76), text, font=font(16), fill=fill)
        left += draw.textlength(text + "    ", font=font(16))
    right = WIDTH - _MARGIN
    for text, fill in (("predicted", PREDICTED), ("demonstrated", DEMONSTRATED)):
        right -= round(draw.textlength(text, font=font(15, bold=True)))
        draw.text((right, 13), text, font=font(15, bold=True), fill=fill)
        draw.line((right - 30, 23, right - 8, 23), fill=fill, width=4)
        right -= 52


def _errors_in_words(judged: Judged) -> list[tuple[str, tuple[int, int, int]]]:
    record = judged.record
    words = [
        (f"position {record.errors['position_error_mm']:.1f} mm", ACCENT),
        (f"rotation {record.errors['rotation_error_deg']:.1f}°", ACCENT),
    ]
    if not record.errors["gripper_accuracy"]:
        words.append((f"gripper {'open' if record.predicted.gripper_open else 'closed'}, demonstrated otherwise", BAD))
    if not record.errors["collision_accuracy"]:
        kind = "ignored" if record.predicted.ignore_collisions else "avoided"
        words.append((f"collisions {kind}, demonstrated otherwise", BAD))
    if record.said and record.said != record.goal:
        words.append((f"demonstrated: “{record.goal}”", WARNING))
    return words


def _draw_cameras(picture: Image.Image, judged: Judged, actions: Actions) -> None:
    frames = judged.question.sample.observation.frames
    main = main_camera(judged.question.sample.observation)
    picture.paste(_camera_tile(frames[main], _CAMERA, actions), (_MARGIN, _TOP))
    _label(picture, main, (_MARGIN, _TOP))
    for column, name in enumerate([name for name in frames if name != main][:3]):
        place = (_MARGIN + column * (_SMALL + _GAP), _TOP + _CAMERA + _GAP)
        picture.paste(_camera_tile(frames[name], _SMALL, actions), place)
        _label(picture, name, place)


def _camera_tile(frame: RgbdFrame, size: int, actions: Actions) -> Image.Image:
    tile = scaled(frame.rgb, size)
    factor = size / np.array([frame.rgb.shape[1], frame.rgb.shape[0]])
    for action, color in actions:
        _draw_lines(tile, [seen_in_camera(line, frame) * factor for line in gripper_outline(action)], color)
    return tile


def _draw_looks(picture: Image.Image, looks: PolicyExplanation, actions: Actions) -> None:
    draw = ImageDraw.Draw(picture)
    for look, title in zip(range(len(looks.views)), _LOOKS, strict=False):
        top = _TOP + look * (_TILE + 2 * _GAP + 14)
        draw.text((_GRID_LEFT, top), title, font=font(13, bold=True), fill=ACCENT)
        for column, name in enumerate(looks.view_names[:3]):
            heat = looks.heatmaps[look, column]
            tile = scaled(look_picture(looks, look, column), _TILE)
            if looks.pixel_maps is not None:
                for action, color in actions:
                    seen = [seen_in_view(line, looks.pixel_maps[look, column]) for line in gripper_outline(action)]
                    _draw_lines(tile, [line * (_TILE / heat.shape[-1]) for line in seen], color)
            place = (_GRID_LEFT + column * (_TILE + _GAP), top + 20)
            picture.paste(tile, place)
            _label(picture, name, place)


def _draw_lines(tile: Image.Image, lines: list[PixelLine], color: tuple[int, int, int]) -> None:
    """Lines with a dark rim, so that they show on any ground; what lies behind a camera is left out."""
    draw = ImageDraw.Draw(tile)
    # Far outside the tile a coordinate says nothing any more, and Pillow counts in 32 bits.
    finite = [[(float(x), float(y)) for x, y in np.clip(line, -1e4, 1e4)] for line in lines if np.isfinite(line).all()]
    for fill, width in ((BACKGROUND, 5), (color, 2)):
        for line in finite:
            draw.line(line, fill=fill, width=width, joint="curve")
            if len(line) == 1:
                draw.circle(line[0], width + 1, fill=fill)


def _label(picture: Image.Image, name: str, place: tuple[int, int]) -> None:
    at = (place[0] + 8, place[1] + 6)
    ImageDraw.Draw(picture).text(
        at, name.replace("_", " "), font=font(13, bold=True), fill=TEXT, stroke_width=2, stroke_fill=PANEL
    )
