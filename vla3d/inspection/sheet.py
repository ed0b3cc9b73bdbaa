"""The contact sheet of an episode: a row for each keyframe, with what was seen, where the policy looked, and its error."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.drawing import (
    ACCENT,
    BACKGROUND,
    BAD,
    GOOD,
    MUTED,
    TEXT,
    WARNING,
    font,
    look_picture,
    scaled,
    write_fitting,
)
from vla3d.evaluation.layout import describe_action, mark_peak, outcome_text
from vla3d.evaluation.pictures import main_camera
from vla3d.evaluation.poses import PoseError, pose_error, pose_words
from vla3d.evaluation.results import EpisodeRecord, write_atomic
from vla3d.policies.base import Decision
from vla3d.types import KeyframeAction, Observation

_TILE = 168
_GAP = 6
_BLOCK_GAP = 18
_MARGIN = 24
_HEAD = 132
_WORDS = 392
_LOOKS = ("LOOK 1  the whole workspace", "LOOK 2  magnified")
_MOST_VIEWS = 3
_NEAR = PoseError(millimetres=10, degrees=10)
_FAR = PoseError(millimetres=30, degrees=30)


@dataclass(kw_only=True)
class _Row:
    observation: Observation
    decision: Decision
    thought: KeyframeAction | None
    reached: Observation | None = None
    failure: str | None = None


class ContactSheet:
    """Watches an episode and writes its contact sheet as a PNG."""

    every_tick = False

    def __init__(self, path: Path, *, title: str) -> None:
        self._path = path
        self._title = title
        self._said: Sentences | None = None
        self._rows: list[_Row] = []

    def began(self, observation: Observation, said: Sentences) -> None:
        """Note the sentences."""
        self._said, self._rows = said, []

    def decided(self, observation: Observation, decision: Decision, thought: KeyframeAction | None = None) -> None:
        """Begin a row."""
        self._rows.append(_Row(observation=observation, decision=decision, thought=thought))

    def moved(self, observation: Observation, seconds: float) -> None:
        """Nothing is kept between decisions."""

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """Complete the row with where the hand came to rest."""
        self._rows[-1].reached, self._rows[-1].failure = observation, failure

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """Draw the sheet and write it."""
        buffer = io.BytesIO()
        self._draw(observation, record).save(buffer, format="PNG", optimize=True)
        write_atomic(self._path, buffer.getvalue())

    def _draw(self, last: Observation, record: EpisodeRecord) -> Image.Image:
        width = 2 * _MARGIN + _words_left() + _WORDS - _MARGIN
        sheet = Image.new("RGB", (width, _HEAD + (len(self._rows) + 1) * (_TILE + _GAP) + _MARGIN), BACKGROUND)
        self._draw_head(ImageDraw.Draw(sheet), record, width)
        for number, row in enumerate(self._rows):
            top = _HEAD + number * (_TILE + _GAP)
            self._draw_row(sheet, row, top)
            _draw_words(ImageDraw.Draw(sheet), row, number, top)
        _draw_end(sheet, last, record, _HEAD + len(self._rows) * (_TILE + _GAP))
        return sheet

    def _draw_head(self, draw: ImageDraw.ImageDraw, record: EpisodeRecord, width: int) -> None:
        note = f"episode {record.index}   ·   seed {record.seed}"
        draw.text((_MARGIN, 16), f"{self._title}   ·   {note}", font=font(15), fill=MUTED)
        words, fill, color = outcome_text(record)
        length = draw.textlength(words, font=font(18, bold=True))
        draw.rectangle((width - _MARGIN - length - 24, 14, width - _MARGIN, 48), fill=fill)
        draw.text((width - _MARGIN - length - 12, 20), words, font=font(18, bold=True), fill=color)
        if self._said is not None:
            said = f"“{self._said.scored}”" if self._said.shown else f"“{self._said.scored}”  (masked)"
            write_fitting(draw, said, (_MARGIN, 40), int(width - 3 * _MARGIN - length - 24), size=28, bold=True)
            if self._said.scored != self._said.own:
                write_fitting(draw, f"instead of “{self._said.own}”", (_MARGIN, 76), width - 2 * _MARGIN, size=15, fill=MUTED)
        if self._rows and self._rows[0].observation.frames:
            camera = main_camera(self._rows[0].observation).replace("_", " ").upper()
            draw.text((_MARGIN, _HEAD - 24), f"CAMERA {camera}", font=font(13, bold=True), fill=ACCENT)
        for look, title in enumerate(_LOOKS):
            strong, _, rest = title.partition("  ")
            left = _look_left(look)
            draw.text((left, _HEAD - 24), strong, font=font(13, bold=True), fill=ACCENT)
            draw.text(
                (left + draw.textlength(strong + "  ", font=font(13, bold=True)), _HEAD - 24), rest, font=font(13), fill=MUTED
            )

    @staticmethod
    def _draw_row(sheet: Image.Image, row: _Row, top: int) -> None:
        if row.observation.frames:
            sheet.paste(scaled(row.observation.frames[main_camera(row.observation)].rgb, _TILE), (_MARGIN, top))
        explanation = row.decision.explanation
        if explanation is None:
            return
        for look in range(min(len(_LOOKS), len(explanation.views))):
            for column, name in enumerate(explanation.view_names[:_MOST_VIEWS]):
                heat = explanation.heatmaps[look, column]
                tile = scaled(look_picture(explanation, look, column), _TILE)
                mark_peak(tile, heat)
                place = (_look_left(look) + column * (_TILE + _GAP), top)
                sheet.paste(tile, place)
                draw = ImageDraw.Draw(sheet)
                label = (place[0] + 6, top + 4)
                draw.text(label, name, font=font(12, bold=True), fill=TEXT, stroke_width=2, stroke_fill=BACKGROUND)


def _draw_end(sheet: Image.Image, last: Observation, record: EpisodeRecord, top: int) -> None:
    """What every camera saw in the end, the main one first."""
    draw = ImageDraw.Draw(sheet)
    names = sorted(last.frames, key=lambda name: name != main_camera(last)) if last.frames else []
    for column, name in enumerate(names[: 1 + 2 * _MOST_VIEWS]):
        look, place = divmod(column - 1, _MOST_VIEWS)
        left = _MARGIN if column == 0 else _look_left(look) + place * (_TILE + _GAP)
        sheet.paste(scaled(last.frames[name].rgb, _TILE), (left, top))
        words = name.replace("_", " ")
        draw.text((left + 6, top + 4), words, font=font(12, bold=True), fill=TEXT, stroke_width=2, stroke_fill=BACKGROUND)
    words, fill, _ = outcome_text(record)
    draw.text((_words_left(), top), "THE END", font=font(13, bold=True), fill=ACCENT)
    write_fitting(draw, words.lower(), (_words_left(), top + 20), _WORDS, size=16, bold=True, fill=fill)


def _look_left(look: int) -> int:
    return _MARGIN + _TILE + _BLOCK_GAP + look * (_MOST_VIEWS * (_TILE + _GAP) - _GAP + _BLOCK_GAP)


def _words_left() -> int:
    return _look_left(len(_LOOKS))


def _draw_words(draw: ImageDraw.ImageDraw, row: _Row, number: int, top: int) -> None:
    left, width = _words_left(), _WORDS
    title, place, manner = describe_action(row.decision.action)
    draw.text((left, top), f"{number + 1}  {title}", font=font(13, bold=True), fill=ACCENT)
    write_fitting(draw, place, (left, top + 20), width, size=16, bold=True)
    write_fitting(draw, manner, (left, top + 44), width, size=13, fill=MUTED)
    lines = []
    if row.failure is not None:
        lines.append((f"not carried out: {row.failure.replace('_', ' ')}", BAD))
    elif row.reached is not None and row.decision.action.answer == "move":
        error = pose_error(row.decision.action, row.reached)
        lines.append((f"reached to {pose_words(error)}", _color(error)))
    if row.thought is not None:
        lines.append(_prediction(row.thought, row.decision.action))
    if row.decision.verdict is not None:
        lines.append((row.decision.verdict, TEXT))
    for at, (words, color) in enumerate(lines):
        write_fitting(draw, words, (left, top + 74 + 26 * at), width, size=16, bold=True, fill=color)


def _prediction(thought: KeyframeAction, action: KeyframeAction) -> tuple[str, tuple[int, int, int]]:
    if thought.answer != "move":
        return f"policy answers {thought.answer}", BAD
    error = pose_error(thought, action)
    words = f"policy {pose_words(error)} off"
    if thought.gripper_open != action.gripper_open:
        return f"{words}, gripper {'open' if thought.gripper_open else 'closed'}", BAD
    return words, _color(error)


def _color(error: PoseError) -> tuple[int, int, int]:
    for bound, color in ((_NEAR, GOOD), (_FAR, WARNING)):
        if error.millimetres <= bound.millimetres and error.degrees <= bound.degrees:
            return color
    return BAD
