"""Videos and strips: right frames, right size, legible when the input is odd."""

import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from evaluation_fakes import FakeEnv, Obedient, Stubborn
from PIL import Image, ImageDraw

from vla3d.evaluation import drawing
from vla3d.evaluation.episode import EpisodeJob, run_episode
from vla3d.evaluation.layout import describe_action, yaw_and_tilt
from vla3d.evaluation.pictures import KeyframeStrip, join_frames
from vla3d.evaluation.video import EpisodeVideo, Mp4Writer
from vla3d.policies.random import top_down_quaternion
from vla3d.policies.scripted import ScriptedPolicy
from vla3d.types import KeyframeAction

JOB = EpisodeJob(task="fake", index=0, seed=3)


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def filmed(path: Path, policy: object, control: str = "none") -> list[np.ndarray]:
    video = EpisodeVideo(path, task="fake", policy="obedient", control=control)
    run_episode(FakeEnv(), policy, JOB, control, [video])  # type: ignore[arg-type]
    return frames_of(path)


def test_codec_round_trip() -> None:
    writer = Mp4Writer(64, 48)
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    for color in colors:
        writer.add(np.full((48, 64, 3), color, dtype=np.uint8), times=2)
    with av.open(io.BytesIO(writer.finish())) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 10 and (stream.width, stream.height) == (64, 48)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 6
    for index, frame in enumerate(decoded):
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(axis=0), colors[index // 2], atol=12)


def test_video_holds_every_tick_the_decisions_and_the_outcome(tmp_path: Path) -> None:
    frames = filmed(tmp_path / "deep" / "0.mp4", Obedient())
    assert len(frames) == 2 * 6 + 2 * 4 + 18  # two decisions held, two motions of four ticks, the outcome held
    assert frames[0].shape == (720, 1280, 3)
    banner = frames[-1][600:630, 300:540].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(banner, drawing.GOOD, atol=14)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["0.mp4"]


def test_failure_and_swap_are_marked(tmp_path: Path) -> None:
    frames = filmed(tmp_path / "0.mp4", Stubborn(), "swap")
    np.testing.assert_allclose(frames[-1][600:630, 430:540].reshape(-1, 3).mean(axis=0), drawing.BAD, atol=14)
    note = frames[0][14:36, 1000:1260].reshape(-1, 3).astype(int)
    assert (np.abs(note - drawing.WARNING).sum(axis=1) < 60).any(), "the control must be named in the corner"


class Judging(Obedient):
    def verdict(self) -> str | None:
        return "the hand closed on nothing; retry 1 of 2"


def test_a_verdict_stands_under_the_next_keyframe(tmp_path: Path) -> None:
    silent, judged = (filmed(tmp_path / f"{number}.mp4", policy)[0] for number, policy in enumerate((Obedient(), Judging())))
    below = slice(694, 714), slice(584, 1256)
    assert judged[below].max() > 180 > silent[below].max()
    np.testing.assert_allclose(judged[:680].astype(int), silent[:680].astype(int), atol=40)


def test_without_explanation_the_other_cameras_are_shown(tmp_path: Path) -> None:
    frames = filmed(tmp_path / "0.mp4", ScriptedPolicy())
    assert frames[0][130:330, 590:790].mean() > 120  # a bright camera image, not the dark panel


def test_heat_overlay_marks_the_peak_and_keeps_views_without_heat() -> None:
    view = np.full((3, 20, 20), 0.5, dtype=np.float32)
    view[:, :5] = 0
    heat = np.zeros((20, 20), dtype=np.float32)
    plain = drawing.heat_overlay(view, heat)
    np.testing.assert_array_equal(drawing.heat_overlay(view, np.full_like(heat, 0.0025)), plain)
    assert (plain[10:] == 127).all() and (plain[:5] == drawing.PANEL).all()
    heat[12, 7] = 0.3
    hot = drawing.heat_overlay(view, heat)
    assert hot[12, 7].astype(int).sum() > 600 and (np.delete(hot[10:].reshape(-1, 3), 2 * 20 + 7, axis=0) == 127).all()
    heat[0, 0] = np.nan
    np.testing.assert_array_equal(drawing.heat_overlay(view, heat), hot)


def test_views_are_outlined_where_something_is_grounded() -> None:
    explanation = Obedient().explain()
    assert explanation is not None
    assert drawing.outlined_views(explanation) is explanation.views
    priors = np.zeros_like(explanation.heatmaps)
    priors[0, 0, 4:9, 4:9] = 1.0
    outlined = drawing.outlined_views(replace(explanation, priors=priors))
    np.testing.assert_allclose(outlined[0, 0, :, 4, 4], np.array(drawing.GROUNDED) / 255, atol=0.01)
    np.testing.assert_allclose(outlined[0, 0, :, 6, 6], explanation.views[0, 0, :, 6, 6], atol=0.01)
    np.testing.assert_allclose(outlined[1], explanation.views[1], atol=0.01)


def test_depth_picture_of_nothing_and_of_a_ramp() -> None:
    empty = drawing.depth_picture(np.array([[0, np.nan], [np.inf, -1]], dtype=np.float32))
    assert (empty == drawing.PANEL).all()
    ramp = drawing.depth_picture(np.linspace(0.5, 1.5, 100, dtype=np.float32)[None])[0].astype(int).sum(axis=1)
    assert (np.diff(ramp) <= 0).all() and ramp[0] > ramp[-1] + 300


@pytest.mark.parametrize("text", ["short", "a " * 400, "ünïcödé 把红色方块拿起来 " * 30, ""])
def test_text_stays_within_its_width(text: str) -> None:
    picture = Image.new("RGB", (400, 60))
    drawing.write_fitting(ImageDraw.Draw(picture), text, (10, 10), 300, size=24)
    assert not np.asarray(picture)[:, 320:].any()
    assert bool(np.asarray(picture).any()) == bool(text)


def test_strip_has_one_tile_per_decision_and_one_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "0.jpg"
    run_episode(FakeEnv(), ScriptedPolicy(), JOB, "none", [KeyframeStrip(path)])
    with Image.open(path) as strip:
        assert strip.size == (3 * 130 - 2, 128)
    assert join_frames([np.zeros((16, 16, 3), np.uint8)] * 40).size == (10 * 130 - 2, 128)


@pytest.mark.parametrize("yaw", [-80.0, 0.0, 33.0])
def test_action_in_words(yaw: float) -> None:
    quaternion = top_down_quaternion(np.radians(yaw))
    assert yaw_and_tilt(quaternion) == pytest.approx((yaw, 0.0), abs=1e-4)  # acos near 1 keeps half the digits
    move = KeyframeAction(position=np.array([0.5, -0.1, 0.02]), quaternion=quaternion, gripper_open=False)
    assert describe_action(move)[1] == "x +0.500   y −0.100   z +0.020 m"
    assert "gripper closed" in describe_action(move)[2] and "planned" in describe_action(move)[2]
    sideways = np.array([np.sqrt(0.5), 0, np.sqrt(0.5), 0])
    assert yaw_and_tilt(sideways)[1] == pytest.approx(90)
    answer = KeyframeAction(position=np.zeros(3), quaternion=quaternion, gripper_open=True, answer="absent")
    assert describe_action(answer)[:2] == ("ANSWER", "absent")
