"""How one video frame is laid out. Everything but the camera changes only at decisions and is drawn once for each."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.drawing import (
    ACCENT,
    BACKGROUND,
    BAD,
    GOOD,
    MUTED,
    PANEL,
    TEXT,
    WARNING,
    depth_picture,
    font,
    look_picture,
    scaled,
    write_fitting,
)
from vla3d.evaluation.pictures import main_camera
from vla3d.evaluation.poses import pose_error, pose_words
from vla3d.evaluation.results import EpisodeRecord
from vla3d.policies.base import Decision, PolicyExplanation
from vla3d.types import KeyframeAction, Observation

_MARGIN = 24
_CAMERA = (24, 104, 536)  # left, top, size
_INSET = 148
_GRID_LEFT = 584
_TILE = 216
_GAP = 12
_WIDE = 3 * _TILE + 2 * _GAP
_ROWS = (126, 384)  # tops of the two rows of tiles
_ACTION_TOP = 620
_LOOKS = ("FIRST LOOK  the whole workspace", "SECOND LOOK  zoomed in")
_CONTROL_NOTES = {
    "swap": "control: sentence swapped",
    "mask_text": "control: text masked",
    "absent": "control: asks for what is absent",
}


@dataclass(kw_only=True)
class Scene:
    """What a frame shows beside the camera images.

    Attributes:
        task, policy, control: named in the header.
        said: the episode's sentences.
        seconds: simulated time.
        thought: what a policy that thinks along would have done instead of what was decided.
        trouble: why the last motion was not carried out.
        outcome: the record, once the episode is over.
    """

    task: str
    policy: str
    control: str
    said: Sentences | None = None
    observation: Observation | None = None
    decision: Decision | None = None
    seconds: float = 0.0
    thought: KeyframeAction | None = None
    trouble: str | None = None
    outcome: EpisodeRecord | None = None
    decisions: int = 0

    def decide(self, observation: Observation, decision: Decision, thought: KeyframeAction | None = None) -> None:
        """Take in a decision."""
        self.observation, self.decision, self.thought = observation, decision, thought
        self.trouble = None
        self.decisions += 1


class VideoLayout:
    """Draws frames of 1280 x 720 pixels."""

    width = 1280
    height = 720

    def __init__(self) -> None:
        self._panel: Image.Image | None = None
        self._panel_of = -1

    def draw(self, scene: Scene, observation: Observation) -> np.ndarray:
        """One frame, uint8 ``(720, 1280, 3)``.

        Args:
            scene: what is known; its panel is drawn anew only after a decision.
            observation: the present images.
        """
        if self._panel is None or self._panel_of != scene.decisions:
            self._panel, self._panel_of = self._draw_panel(scene), scene.decisions
        frame = self._panel.copy()
        self._draw_camera(frame, scene, observation)
        self._draw_state(frame, scene)
        return np.asarray(frame)

    def _draw_panel(self, scene: Scene) -> Image.Image:
        panel = Image.new("RGB", (self.width, self.height), BACKGROUND)
        draw = ImageDraw.Draw(panel)
        self._draw_header(draw, scene)
        decision = scene.decision
        if decision is not None and decision.explanation is not None:
            self._draw_looks(panel, decision.explanation)
        elif scene.observation is not None:
            self._draw_cameras(panel, scene.observation)
        if decision is not None:
            alone = scene.thought is None
            self._draw_action(draw, decision.action, _WIDE if alone else 2 * _TILE - 88)
            if scene.thought is not None:
                self._draw_thought(draw, scene.thought, decision.action)
            if decision.verdict is not None:
                self._draw_verdict(draw, decision.verdict)
        return panel

    def _draw_header(self, draw: ImageDraw.ImageDraw, scene: Scene) -> None:
        names = "   ·   ".join([scene.task, scene.policy])
        draw.text((_MARGIN, 16), names, font=font(15), fill=MUTED)
        note = _CONTROL_NOTES.get(scene.control)
        if note is not None:
            left = self.width - _MARGIN - draw.textlength(note, font=font(15, bold=True))
            draw.text((left, 16), note, font=font(15, bold=True), fill=WARNING)
        if scene.said is None:
            return
        width = self.width - 2 * _MARGIN
        write_fitting(draw, f"“{scene.said.scored}”", (_MARGIN, 40), width, size=28, bold=True)
        if scene.said.scored != scene.said.own:
            write_fitting(draw, f"instead of “{scene.said.own}”", (_MARGIN, 76), width, size=15, fill=MUTED)

    def _draw_looks(self, panel: Image.Image, explanation: PolicyExplanation) -> None:
        draw = ImageDraw.Draw(panel)
        for look, top in zip(range(min(len(explanation.views), len(_ROWS))), _ROWS, strict=False):
            self._row_title(draw, _LOOKS[look], top)
            for column, name in enumerate(explanation.view_names[:3]):
                tile = scaled(look_picture(explanation, look, column), _TILE)
                mark_peak(tile, explanation.heatmaps[look, column])
                place = (_GRID_LEFT + column * (_TILE + _GAP), top)
                panel.paste(tile, place)
                draw.text(
                    (place[0] + 8, top + 6), name, font=font(13, bold=True), fill=TEXT, stroke_width=2, stroke_fill=BACKGROUND
                )

    def _draw_cameras(self, panel: Image.Image, observation: Observation) -> None:
        draw = ImageDraw.Draw(panel)
        main = main_camera(observation)
        others = [name for name in observation.frames if name != main][:3]
        if not others:
            return
        for title, top in zip(("OTHER CAMERAS  colour", "OTHER CAMERAS  depth, near is bright"), _ROWS, strict=True):
            self._row_title(draw, title, top)
        for column, name in enumerate(others):
            left = _GRID_LEFT + column * (_TILE + _GAP)
            panel.paste(scaled(observation.frames[name].rgb, _TILE), (left, _ROWS[0]))
            panel.paste(scaled(depth_picture(observation.frames[name].depth), _TILE), (left, _ROWS[1]))
            label = name.replace("_", " ")
            draw.text(
                (left + 8, _ROWS[0] + 6), label, font=font(13, bold=True), fill=TEXT, stroke_width=2, stroke_fill=BACKGROUND
            )

    @staticmethod
    def _row_title(draw: ImageDraw.ImageDraw, title: str, top: int) -> None:
        strong, _, rest = title.partition("  ")
        draw.text((_GRID_LEFT, top - 22), strong, font=font(13, bold=True), fill=ACCENT)
        draw.text(
            (_GRID_LEFT + draw.textlength(strong + "  ", font=font(13, bold=True)), top - 22), rest, font=font(13), fill=MUTED
        )

    @staticmethod
    def _draw_action(draw: ImageDraw.ImageDraw, action: KeyframeAction, width: int) -> None:
        title, place, manner = describe_action(action)
        draw.text((_GRID_LEFT, _ACTION_TOP), title, font=font(13, bold=True), fill=ACCENT)
        draw.text((_GRID_LEFT, _ACTION_TOP + 22), place, font=font(19, bold=True), fill=TEXT)
        write_fitting(draw, manner, (_GRID_LEFT, _ACTION_TOP + 50), width, size=16, fill=MUTED)

    @staticmethod
    def _draw_verdict(draw: ImageDraw.ImageDraw, verdict: str) -> None:
        """What was concluded about the keyframe before, under the next one."""
        top = _ACTION_TOP + 76
        title = "VERDICT  "
        draw.text((_GRID_LEFT, top), title, font=font(13, bold=True), fill=ACCENT)
        left = round(draw.textlength(title, font=font(13, bold=True)))
        write_fitting(draw, verdict, (_GRID_LEFT + left, top), _WIDE - left, size=13, fill=TEXT)

    @staticmethod
    def _draw_thought(draw: ImageDraw.ImageDraw, thought: KeyframeAction, action: KeyframeAction) -> None:
        left, width = _GRID_LEFT + 2 * (_TILE + _GAP) - 88, _TILE + 88
        draw.text((left, _ACTION_TOP), "THE POLICY WOULD", font=font(13, bold=True), fill=WARNING)
        place = pose_words(pose_error(thought, action)) + " off" if thought.answer == "move" else thought.answer
        write_fitting(draw, place, (left, _ACTION_TOP + 22), width, size=19, bold=True)
        gripper = "open" if thought.gripper_open else "closed"
        write_fitting(draw, f"gripper {gripper}", (left, _ACTION_TOP + 50), width, size=16, fill=MUTED)

    def _draw_camera(self, frame: Image.Image, scene: Scene, observation: Observation) -> None:
        left, top, size = _CAMERA
        main = main_camera(observation)
        frame.paste(scaled(observation.frames[main].rgb, size), (left, top))
        looked = scene.decision is not None and scene.decision.explanation is not None
        if looked and "wrist" in observation.frames and main != "wrist":
            corner = (left + size - _INSET - 8, top + 8)
            frame.paste(Image.new("RGB", (_INSET + 4, _INSET + 4), TEXT), (corner[0] - 2, corner[1] - 2))
            frame.paste(scaled(observation.frames["wrist"].rgb, _INSET), corner)

    def _draw_state(self, frame: Image.Image, scene: Scene) -> None:
        """What is under the camera image, and the outcome over it."""
        left, top, size = _CAMERA
        draw = ImageDraw.Draw(frame)
        limit = scene.observation.step_limit if scene.observation is not None else 1
        step = f"step {scene.decisions} of {limit}"
        draw.text((left, top + size + 14), step, font=font(19, bold=True), fill=TEXT)
        clock = f"{scene.seconds:.1f} s"
        draw.text((left + size - draw.textlength(clock, font=font(19)), top + size + 14), clock, font=font(19), fill=MUTED)
        bar = (left, top + size + 46, left + size, top + size + 52)
        draw.rounded_rectangle(bar, radius=3, fill=PANEL)
        share = min(1.0, scene.decisions / max(1, limit))
        draw.rounded_rectangle((bar[0], bar[1], bar[0] + max(6, int(size * share)), bar[3]), radius=3, fill=ACCENT)
        if scene.outcome is not None:
            self._banner(draw, *outcome_text(scene.outcome))
        elif scene.trouble is not None:
            self._banner(draw, f"not carried out: {scene.trouble.replace('_', ' ')}", WARNING, TEXT)

    @staticmethod
    def _banner(draw: ImageDraw.ImageDraw, text: str, fill: tuple[int, int, int], color: tuple[int, int, int]) -> None:
        left, top, size = _CAMERA
        draw.rectangle((left, top + size - 56, left + size - 1, top + size - 1), fill=fill)
        dark = color if fill != WARNING else BACKGROUND
        write_fitting(draw, text, (left + 18, top + size - 43), size - 36, size=24, bold=True, fill=dark)


def mark_peak(tile: Image.Image, heat: np.ndarray) -> None:
    """Draw a ring around the peak of a heatmap that a square tile shows; a map without heat has none."""
    if not np.isfinite(heat).all() or heat.max() <= 0:
        return
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    x, y = (column + 0.5) * tile.width / heat.shape[1], (row + 0.5) * tile.height / heat.shape[0]
    draw = ImageDraw.Draw(tile)
    # The ring is dark inside and light outside so that it shows on any ground.
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), outline=BACKGROUND, width=3)
    draw.ellipse((x - 12, y - 12, x + 12, y + 12), outline=TEXT, width=2)


def outcome_text(record: EpisodeRecord) -> tuple[str, tuple[int, int, int], tuple[int, int, int]]:
    """Words and colours of the banner at the end."""
    if record.success:
        return ("SUCCESS" if record.answer is None else f"SUCCESS  ·  answered {record.answer}"), GOOD, TEXT
    return f"FAILURE  ·  {(record.failure or 'unknown').replace('_', ' ')}", BAD, TEXT


def describe_action(action: KeyframeAction) -> tuple[str, str, str]:
    """An action in words: what it is, where it goes, and how."""
    if action.answer != "move":
        return "ANSWER", action.answer, "the policy ended the episode"
    x, y, z = (float(v) for v in action.position)
    place = f"x {x:+.3f}   y {y:+.3f}   z {z:+.3f} m".replace("-", "−")
    yaw, tilt = yaw_and_tilt(action.quaternion)
    manner = "   ·   ".join(
        [
            f"yaw {round(yaw):+d}°, tilt {tilt:.0f}°".replace("-", "−"),
            "gripper open" if action.gripper_open else "gripper closed",
            "straight, may touch" if action.ignore_collisions else "planned around obstacles",
        ]
    )
    return "NEXT KEYFRAME", place, manner


def yaw_and_tilt(quaternion: np.ndarray) -> tuple[float, float]:
    """Heading of the tool's x axis in the table plane, and the angle of its z axis to straight down, in degrees.

    Args:
        quaternion: tool orientation in the world, ``wxyz``.
    """
    w, x, y, z = (float(v) for v in quaternion)
    yaw = math.degrees(math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))
    down = -(1 - 2 * (x * x + y * y))
    return yaw, math.degrees(math.acos(max(-1.0, min(1.0, down))))
