"""Things on the table keep their distance and use the whole spawn range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla3d.envs.tabletop.placement import Footprint, SpawnRange, TablePose, draw_layout, rectangle_gap, square_gap

coordinate = st.floats(-0.3, 0.3)
angle = st.floats(-3.2, 3.2)
half = st.floats(0.01, 0.1)


def outline(pose: TablePose, size: float, count: int = 80) -> np.ndarray:
    """Points along a square's border."""
    side = np.linspace(-size, size, count)
    edges = [np.stack([side, np.full(count, s)]) for s in (-size, size)] + [
        np.stack([np.full(count, s), side]) for s in (-size, size)
    ]
    cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
    return (np.array([[cos, -sin], [sin, cos]]) @ np.concatenate(edges, axis=1)).T + np.array([pose.x, pose.y])


@settings(max_examples=60, deadline=None)
@given(coordinate, coordinate, angle, half, angle, half)
def test_gap_is_a_tight_lower_bound_of_the_distance(x: float, y: float, yaw: float, a: float, turn: float, b: float) -> None:
    first, second = TablePose(0.0, 0.0, turn), TablePose(x, y, yaw)
    gap = square_gap(first, a, second, b)
    one, other = outline(first, a), outline(second, b)
    distance = np.linalg.norm(one[:, None] - other[None], axis=-1).min()
    spacing = 2 * max(a, b) / 79
    if gap > 0:
        assert gap <= distance + 1e-9
        assert distance <= np.sqrt(2) * gap + 2 * spacing
    elif gap < -0.01:
        shrunk = np.concatenate([outline(first, a * share) for share in np.linspace(0.0, 1.0, 40)])
        cos, sin = np.cos(yaw), np.sin(yaw)
        local = (shrunk - np.array([x, y])) @ np.array([[cos, -sin], [sin, cos]])
        assert (np.abs(local).max(axis=1) <= b).any(), "overlap that is none"


def test_gap_of_two_plain_squares() -> None:
    assert square_gap(TablePose(0, 0, 0), 0.02, TablePose(0.1, 0, np.pi / 2), 0.03) == pytest.approx(0.05)
    assert square_gap(TablePose(0, 0, 0), 0.02, TablePose(0.03, 0.01, 0.3), 0.02) < 0


def test_gap_of_rectangles_that_are_no_squares() -> None:
    across, along = TablePose(0.0, 0.2, 0.0), TablePose(0.0, 0.2, np.pi / 2)
    assert rectangle_gap(TablePose(0, 0, 0), (0.01, 0.1), across, (0.03, 0.05)) == pytest.approx(0.05)
    assert rectangle_gap(TablePose(0, 0, 0), (0.01, 0.1), along, (0.03, 0.05)) == pytest.approx(0.07)
    pose, other = TablePose(0.1, 0.0, 0.3), TablePose(0.2, 0.2, -0.7)
    assert rectangle_gap(pose, (0.02, 0.02), other, (0.05, 0.05)) == square_gap(pose, 0.02, other, 0.05)


def test_a_layout_can_have_a_condition_of_its_own() -> None:
    spawn = SpawnRange(x=(0.3, 0.6), y=(-0.3, 0.3), yaw=np.pi / 4)
    footprints = [Footprint(half=0.02, spawn=spawn)] * 3
    for seed in range(20):
        poses = draw_layout(
            np.random.default_rng(seed), footprints, 0.05, fits=lambda pose, placed: all(pose.x > p.x for p in placed)
        )
        assert [pose.x for pose in poses] == sorted(pose.x for pose in poses)


def test_layout_keeps_the_clearance_and_reaches_the_borders() -> None:
    spawn = SpawnRange(x=(0.3, 0.6), y=(-0.3, 0.3), yaw=np.pi / 4)
    footprints = [Footprint(half=0.08, spawn=spawn)] + [Footprint(half=0.02, spawn=spawn)] * 3
    rng = np.random.default_rng(0)
    poses = []
    for _ in range(200):
        layout = draw_layout(rng, footprints, 0.05)
        for i in range(4):
            for j in range(i):
                assert square_gap(layout[i], footprints[i].half, layout[j], footprints[j].half) >= 0.05
        poses += layout[1:]
    xs, ys, yaws = (np.array([getattr(pose, axis) for pose in poses]) for axis in ("x", "y", "yaw"))
    for values, (low, high) in ((xs, spawn.x), (ys, spawn.y), (yaws, (-spawn.yaw, spawn.yaw))):
        share = np.histogram(values, bins=6, range=(low, high))[0] / len(values)
        assert share.min() > 0.05 and low <= values.min() and values.max() <= high


def test_impossible_layout_says_so() -> None:
    spawn = SpawnRange(x=(0.0, 0.01), y=(0.0, 0.01), yaw=0.0)
    with pytest.raises(RuntimeError, match="spawn ranges"):
        draw_layout(np.random.default_rng(0), [Footprint(half=0.02, spawn=spawn)] * 2, 0.05)
