"""The page and pictures of an offline evaluation: self-contained, well formed, true to the figures and to the poses."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from offline_fakes import DOWN, frame, random_bridgevla, write_demos
from PIL import Image
from test_evaluation_report import Page

from vla3d.evaluation.offline import OfflineEvaluation, offline_evaluation
from vla3d.evaluation.offline_pictures import (
    DEMONSTRATED,
    HEIGHT,
    PREDICTED,
    WIDTH,
    gripper_outline,
    sample_picture,
    seen_in_camera,
    seen_in_view,
)
from vla3d.evaluation.offline_report import offline_page
from vla3d.evaluation.offline_summary import size, spread, summarise_offline
from vla3d.types import KeyframeAction

NASTY = 'lift the <script>alert("x")</script> & "red" patch'


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> OfflineEvaluation:
    torch.set_num_threads(1)
    demos = write_demos(tmp_path_factory.mktemp("report") / "demos", {"lift": 3, "open": 2})
    return offline_evaluation(random_bridgevla(), demos, demos.episodes(), control="swap_text", progress=False, worst=3)


def page(evaluation: OfflineEvaluation, **changes: object) -> tuple[Page, str]:
    settings = {"policy": "bridgevla", "control": "swap_text", "seed": 0, "split": "all", "demos": ["lift/000000"], **changes}
    summary = summarise_offline(evaluation.samples, settings, {"numpy": "2.4.6"})
    text = offline_page(summary, evaluation.samples, evaluation.worst)
    return Page(text), text


def test_page_is_self_contained_and_escapes(evaluation: OfflineEvaluation) -> None:
    worst = [replace(one, record=replace(one.record, said=NASTY)) for one in evaluation.worst]
    made, text = page(replace(evaluation, worst=tuple(worst)))
    assert len(made.links) == 3 and all(link.startswith("data:image/jpeg;base64,") for link in made.links)
    assert "script" not in {tag for tag, _ in made.tags} and NASTY in made.text
    assert not re.search(r"https?://|@import|url\(", text)


def test_figures_on_the_page_are_those_of_the_summary(evaluation: OfflineEvaluation) -> None:
    made, _ = page(evaluation)
    overall = summarise_offline(evaluation.samples, {"policy": "p", "control": "none", "seed": 0}, {})["overall"]
    assert size(overall["position_error_mm"]["median"], "mm") in made.text
    assert spread(overall["position_error_mm"]["interval"]) in made.text
    assert "10 keyframes of 5 demonstrations" in made.text and "control: swap_text" in made.text
    assert "to the named goal" in made.text and "numpy version 2.4.6" in made.text
    histogram = made.text[made.text.index("How errors are spread") : made.text.index("position error, mm")]
    assert sum(int(count) for count in re.findall(r"(?<=\s)\d+(?=\s)", histogram.split("0–1")[0])) == len(evaluation.samples)
    assert len(made.classes("sample")) == 3


def test_without_a_control_nothing_is_said_of_a_named_goal(evaluation: OfflineEvaluation) -> None:
    plain = tuple(
        replace(one, errors={name: value for name, value in one.errors.items() if not name.startswith("named")})
        for one in evaluation.samples
    )
    made, _ = page(replace(evaluation, samples=plain), control="none")
    assert "named goal" not in made.text and "control:" not in made.text


def test_numbers_in_words() -> None:
    assert [size(value, "mm") for value in (0.04, 9.96, 123.4)] == ["0.0 mm", "10.0 mm", "123 mm"]
    assert (size(8.54, "°"), spread(None), spread((1.0, 22.25))) == ("8.5°", "–", "1.0–22.2")


# Pictures


def picture(evaluation: OfflineEvaluation) -> np.ndarray:
    with Image.open(io.BytesIO(sample_picture(evaluation.worst[0]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_picture_shows_both_poses(evaluation: OfflineEvaluation, tmp_path: Path) -> None:
    drawn = picture(evaluation)
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    for color in (DEMONSTRATED, PREDICTED):
        assert (np.abs(drawn[130:] - color).sum(axis=-1) < 90).sum() > 50


def test_a_policy_that_does_not_explain_itself_is_drawn_too(evaluation: OfflineEvaluation) -> None:
    one = evaluation.worst[0]
    silent = replace(one, decision=replace(one.decision, explanation=None))
    assert base64.b64encode(sample_picture(silent)) != base64.b64encode(sample_picture(one))


@pytest.mark.parametrize("is_open", [True, False])
def test_the_outline_ends_at_the_pose(is_open: bool) -> None:
    action = KeyframeAction(position=np.array([0.5, 0.1, 0.2]), quaternion=DOWN, gripper_open=is_open)
    fingers, stem, point = gripper_outline(action)
    np.testing.assert_allclose((fingers[0] + fingers[-1]) / 2, action.position)
    np.testing.assert_array_equal(point[0], action.position)
    assert np.linalg.norm(fingers[0] - fingers[-1]) == pytest.approx(0.08 if is_open else 0.024)
    assert (stem[:, 2] > 0.2).all(), "the fingers point down, so the wrist is above"


def test_world_points_are_drawn_where_cameras_and_views_show_them() -> None:
    below = np.array([[0.5, 0.0, 0.02], [0.5, 0.0, 1.0]])
    pixels = seen_in_camera(below, frame(0, 0))
    np.testing.assert_allclose(pixels[0], (12, 12), atol=1e-9)
    assert np.isnan(pixels[1]).all(), "behind the camera"
    shifted = np.array([[10.0, 0, 0, 1], [0, 0, -10.0, 5]])
    np.testing.assert_allclose(seen_in_view(below, shifted), [[6, 4.8], [6, -5]])
