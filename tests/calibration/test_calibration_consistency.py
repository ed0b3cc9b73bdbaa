"""Cameras that agree are left alone; one that does not is found, with how far it is off."""

import box_scenes
import numpy as np
import pytest
import torch
from box_scenes import PLACES, look_at, off_by, scene, seen

from vla3d.calibration.alignment import corrections, guilty
from vla3d.calibration.bounds import dominant_plane, suggest_workspace
from vla3d.calibration.camera_set import CameraSet
from vla3d.calibration.consistency import match, pair_consistencies
from vla3d.calibration.surfaces import sampled_depth, surface_of
from vla3d.errors import ObservationError
from vla3d.geometry import project
from vla3d.types import RgbdFrame

THRESHOLD = 5.0


def test_true_cameras_agree_to_a_tenth_of_a_millimetre() -> None:
    pairs = pair_consistencies(scene())
    assert len(pairs) == 6
    for pair in pairs:
        assert pair.judged and pair.depth_mm[0] < 0.1 and pair.overlap > 0.3, pair
        assert 0 < pair.surface_mm[0] < 10 and 0 < pair.pixels[0] < 0.8, pair
    assert guilty(corrections(scene()), least_mm=THRESHOLD) is None


def test_noise_of_a_sensor_is_not_a_disagreement() -> None:
    pairs = pair_consistencies(scene(noise=0.003))
    assert all(0.5 < pair.depth_mm[0] < THRESHOLD for pair in pairs), pairs
    assert guilty(corrections(scene(noise=0.003)), least_mm=THRESHOLD) is None


@pytest.mark.parametrize(("name", "seed"), [(name, number) for number, name in enumerate(PLACES)])
def test_a_moved_camera_is_flagged_named_and_put_back(name: str, seed: int) -> None:
    move = off_by(seed)
    cameras = scene(moved={name: move})
    pairs = pair_consistencies(cameras)
    assert any(pair.depth_mm[0] > THRESHOLD for pair in pairs if name in (pair.first, pair.second)), pairs
    assert all(pair.depth_mm[0] < 0.1 for pair in pairs if name not in (pair.first, pair.second)), pairs
    culprit = guilty(corrections(cameras), least_mm=THRESHOLD)
    assert culprit is not None and culprit.camera == name
    assert culprit.shift_mm == pytest.approx(20, abs=4) and culprit.turn_degrees == pytest.approx(3, abs=0.4)
    if name in ("left", "over"):  # the faces that the others share with them tell all six degrees of freedom
        np.testing.assert_allclose(move @ culprit.T_camera_corrected.numpy(), np.eye(4), atol=1e-3)
    assert culprit.after_mm < 0.1 * culprit.before_mm


def test_it_is_named_among_noisy_cameras_too() -> None:
    culprit = guilty(corrections(scene(moved={"left": off_by(1)}, noise=0.002)), least_mm=THRESHOLD)
    assert culprit is not None and culprit.camera == "left"


def test_of_two_cameras_none_is_named() -> None:
    cameras = scene(("front", "left"), moved={"left": off_by(1)})
    (pair,) = pair_consistencies(cameras)
    assert pair.depth_mm[0] > THRESHOLD
    assert guilty(corrections(cameras), least_mm=THRESHOLD) is None


def test_cameras_that_share_nothing_are_not_judged() -> None:
    away = look_at((3.0, 0.0, 0.5), (6.0, 0.0, 0.5))
    blind = seen(look_at(PLACES["front"]))
    there = RgbdFrame(rgb=blind.rgb, depth=blind.depth, intrinsics=blind.intrinsics, T_world_camera=away)
    (pair,) = pair_consistencies(CameraSet(instants=[{"front": blind, "away": there}]))
    assert not pair.judged and np.isnan(pair.depth_mm[0]) and pair.overlap == 0


def test_several_instants_are_pooled() -> None:
    one = scene(("front", "left")).instants[0]
    single = pair_consistencies(CameraSet(instants=[one]))[0]
    double = pair_consistencies(CameraSet(instants=[one, one]))[0]
    assert double.points == 2 * single.points and double.overlap == pytest.approx(single.overlap)


def test_matches_say_where_and_by_how_much() -> None:
    front, left = (surface_of(frame) for frame in scene(("front", "left")).instants[0].values())
    matches = match(front, left)
    pixels, depth = project(matches.points, left.intrinsics, left.T_world_camera)
    torch.testing.assert_close(pixels, matches.pixels)
    _, measured = project(matches.points - matches.offset, left.intrinsics, left.T_world_camera)
    torch.testing.assert_close(depth - measured, matches.difference)
    towards = ((front.center - matches.points) * matches.normals).sum(-1)
    assert (towards > 0).all()


def test_depth_between_pixels_is_exact_on_a_plane() -> None:
    surface = surface_of(seen(look_at(PLACES["over"])))
    on_table = torch.tensor([[-0.15, 0.2, 0.0], [0.2313, 0.1871, 0.0], [0.1003, -0.3001, 0.0]], dtype=torch.float64)
    pixels, depth = project(on_table, surface.intrinsics, surface.T_world_camera)
    found, trusted = sampled_depth(surface, pixels)
    assert trusted.all()
    torch.testing.assert_close(found, depth, atol=1e-5, rtol=0)
    _, outside = sampled_depth(surface, torch.tensor([[-3.0, 5.0], [torch.nan, 5.0]], dtype=torch.float64))
    assert not outside.any()


def test_the_workspace_holds_the_boxes_on_a_level_table() -> None:
    found = suggest_workspace(scene(), torch.Generator().manual_seed(0))
    assert found is not None
    for low, high in box_scenes.BOXES[1:]:
        assert found.workspace.contains(np.array([low, high])).all()
    np.testing.assert_allclose(found.workspace.extent, found.workspace.extent[0], atol=1e-9)
    assert abs(found.plane_height) < 2e-3 and found.plane_tilt_degrees < 0.5 and found.plane_share > 0.5


def test_the_dominant_plane_of_many_points() -> None:
    generator = torch.Generator().manual_seed(0)
    normal = torch.nn.functional.normalize(torch.tensor([0.1, -0.2, 1.0], dtype=torch.float64), dim=0)
    points = torch.rand(2000, 3, generator=generator, dtype=torch.float64) - 0.5
    points[:1500] -= (points[:1500] @ normal)[:, None] * normal - 0.3 * normal
    found, offset, on_plane = dominant_plane(points, generator)
    torch.testing.assert_close(found, normal, atol=1e-3, rtol=0)
    assert float(offset) == pytest.approx(-0.3, abs=1e-3) and on_plane[:1500].all()


# What cannot be right


def frame(**changes: np.ndarray) -> RgbdFrame:
    good = seen(look_at(PLACES["front"]))
    return RgbdFrame(
        **{"rgb": good.rgb, "depth": good.depth, "intrinsics": good.intrinsics, "T_world_camera": good.T_world_camera} | changes
    )


GOOD = seen(look_at(PLACES["front"]))


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"depth": np.zeros_like(GOOD.depth)}, "no pixel has a depth"),
        ({"depth": np.full_like(GOOD.depth, np.nan)}, "all are NaN"),
        ({"depth": 1000 * GOOD.depth}, "probably in millimetres: multiply depth_scale by 0.001"),
        ({"depth": GOOD.depth / 1000}, "multiply depth_scale by 1000"),
        ({"rgb": GOOD.rgb[:10]}, "of one size; align depth to colour"),
        ({"depth": GOOD.depth[..., None]}, "expected (H, W, 3) and (H, W)"),
        ({"T_world_camera": GOOD.T_world_camera @ np.diag([1.0, -1, 1, 1])}, "mirrors (determinant -1)"),
        ({"T_world_camera": 2 * GOOD.T_world_camera}, "is no rotation"),
        ({"T_world_camera": np.eye(3)}, "T_world_camera has shape (3, 3)"),
        ({"intrinsics": np.diag([-300.0, 300, 1])}, "expected [[fx, 0, cx]"),
        ({"intrinsics": np.full((3, 3), np.nan)}, "a number that is not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_camera_that_cannot_be_right(changes: dict[str, np.ndarray], part: str) -> None:
    with pytest.raises(ObservationError) as raised:
        CameraSet(instants=[{"good": GOOD, "bad": frame(**changes)}])
    assert part in str(raised.value) and "'bad'" in str(raised.value)


def test_no_camera_and_other_cameras() -> None:
    with pytest.raises(ObservationError, match="Got no camera image"):
        CameraSet(instants=[])
    with pytest.raises(ObservationError, match="expected the same ones"):
        CameraSet(instants=[{"a": GOOD}, {"b": GOOD}])
