"""Oriented boxes and convex polygons against oracles: SciPy's half-spaces, dense samples, closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from vla3d.errors import DataError
from vla3d.scene_graphs.shapes.boxes import Boxes, OrientedBox, matrix_to_quaternion
from vla3d.scene_graphs.shapes.polygons import areas, common_areas, depths, extents
from vla3d.scene_graphs.shapes.separation import box_gaps


def drawn_box(rng: np.random.Generator, upright: bool) -> OrientedBox:
    center, size = rng.uniform(-0.2, 0.2, 3), rng.uniform(0.01, 0.3, 3)
    if upright:
        return OrientedBox.upright(center, size, rng.uniform(-4, 4))
    quaternion = Rotation.random(random_state=int(rng.integers(2**31))).as_quat()[[3, 0, 1, 2]]
    return OrientedBox(center=center, size=size, quaternion=quaternion)


def clipped_area(first: np.ndarray, second: np.ndarray) -> float:
    """Sutherland and Hodgman's clipping, one edge after the other: another way than the code's."""
    polygon = [tuple(point) for point in first]
    for start, end in zip(second, np.roll(second, -1, axis=0), strict=True):
        if np.allclose(start, end, atol=1e-12):
            continue
        edge, kept = end - start, []
        side = [edge[0] * (p[1] - start[1]) - edge[1] * (p[0] - start[0]) for p in polygon]
        for i, point in enumerate(polygon):
            before, last = side[i - 1], polygon[i - 1]
            if (side[i] >= 0) != (before >= 0):
                t = before / (before - side[i])
                kept.append((last[0] + t * (point[0] - last[0]), last[1] + t * (point[1] - last[1])))
            if side[i] >= 0:
                kept.append(point)
        polygon = kept
        if not polygon:
            return 0.0
    x, y = np.array(polygon).T
    return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)


@pytest.mark.parametrize("upright", [True, False])
def test_the_footprint_is_the_hull_of_the_corners(upright: bool) -> None:
    rng = np.random.default_rng(0)
    boxes = [drawn_box(rng, upright) for _ in range(40)]
    found = Boxes.stack(boxes).footprints
    for box, outline in zip(boxes, found, strict=True):
        hull = ConvexHull(box.corners[:, :2])
        assert areas(outline[None])[0] == pytest.approx(hull.volume, rel=1e-9)
        assert depths(box.corners[:, :2], np.repeat(outline[None], 8, axis=0)).min() > -1e-9


@pytest.mark.parametrize("upright", [True, False])
def test_common_area_is_what_clipping_leaves(upright: bool) -> None:
    rng = np.random.default_rng(1)
    first, second = (Boxes.stack([drawn_box(rng, upright) for _ in range(200)]).footprints for _ in range(2))
    expected = [clipped_area(a, b) for a, b in zip(first, second, strict=True)]
    assert sum(area > 0 for area in expected) > 50 and sum(area == 0 for area in expected) > 5
    np.testing.assert_allclose(common_areas(first, second), expected, atol=1e-12)
    np.testing.assert_allclose(common_areas(second, first), expected, atol=1e-12)


def test_common_area_of_equal_nested_and_aligned_squares() -> None:
    square = Boxes.stack([OrientedBox.upright([0, 0, 0], [1, 1, 1], 0.3)]).footprints
    inner = Boxes.stack([OrientedBox.upright([0, 0, 0], [0.5, 0.5, 1], 1.0)]).footprints
    half = Boxes.stack([OrientedBox.upright([0.5 * np.cos(0.3), 0.5 * np.sin(0.3), 0], [1, 1, 1], 0.3)]).footprints
    beside = Boxes.stack([OrientedBox.upright([np.cos(0.3), np.sin(0.3), 0], [1, 1, 1], 0.3)]).footprints
    assert common_areas(square, square)[0] == pytest.approx(1.0)
    assert common_areas(square, square + 1e-14)[0] == pytest.approx(1.0)
    assert common_areas(square, inner)[0] == pytest.approx(0.25)
    assert common_areas(square, half)[0] == pytest.approx(0.5)
    assert common_areas(square, beside)[0] == pytest.approx(0.0, abs=1e-9)


def test_length_and_width_of_rectangles_are_their_edges() -> None:
    boxes = [drawn_box(np.random.default_rng(seed), upright=True) for seed in range(20)]
    lengths, widths = extents(Boxes.stack(boxes).footprints)
    np.testing.assert_allclose(lengths, [max(box.size[:2]) for box in boxes])
    np.testing.assert_allclose(widths, [min(box.size[:2]) for box in boxes])


def nearest_distance(one: OrientedBox, two: OrientedBox) -> float:
    """Distance of two boxes by minimisation over a point of each."""

    def gap(at: np.ndarray) -> float:
        first = one.center + one.rotation @ (at[:3] * one.size)
        second = two.center + two.rotation @ (at[3:] * two.size)
        return float(((first - second) ** 2).sum())

    starts = [np.zeros(6), *np.random.default_rng(0).uniform(-0.5, 0.5, (3, 6))]
    return float(min(np.sqrt(minimize(gap, s, bounds=[(-0.5, 0.5)] * 6, options={"ftol": 1e-16}).fun) for s in starts))


def test_distance_of_upright_boxes_is_exact() -> None:
    rng = np.random.default_rng(2)
    boxes = [drawn_box(rng, upright=True) for _ in range(24)]
    pairs = np.arange(24).reshape(-1, 2)
    found = box_gaps(Boxes.stack(boxes), pairs, reach=10.0)
    expected = [nearest_distance(boxes[a], boxes[b]) for a, b in pairs]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (found == 0).any() and (found > 0.05).any()


def test_distance_of_tilted_boxes_is_never_too_large_and_tells_contact() -> None:
    rng = np.random.default_rng(4)
    boxes = [drawn_box(rng, upright=False) for _ in range(40)]
    pairs = np.arange(40).reshape(-1, 2)
    found = box_gaps(Boxes.stack(boxes), pairs, reach=10.0)
    expected = np.array([nearest_distance(boxes[a], boxes[b]) for a, b in pairs])
    assert (found <= expected + 2e-5).all()
    assert ((found > 0) == (expected > 1e-4)).all()


def test_beyond_reach_distances_stay_beyond() -> None:
    boxes = Boxes.stack([OrientedBox.upright([0, 0, 0], [1, 1, 1], 0.7), OrientedBox.upright([9, 0, 0], [1, 1, 1])])
    assert 0.1 < box_gaps(boxes, np.array([[0, 1]]), reach=0.1)[0] <= 9.0


def test_contains_agrees_with_the_corners() -> None:
    box = drawn_box(np.random.default_rng(5), upright=False)
    assert box.contains(box.center + 0.999 * (box.corners - box.center)).all()
    assert not box.contains(box.center + 1.001 * (box.corners - box.center)).any()


def test_quaternion_and_matrix_are_inverse() -> None:
    for seed in range(20):
        box = drawn_box(np.random.default_rng(seed), upright=False)
        np.testing.assert_allclose(matrix_to_quaternion(box.rotation), box.quaternion, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"center": [0, np.nan, 0]}, "center [0.0, nan, 0.0], expected 3 finite numbers"),
        ({"size": [1, 0, 1]}, "expected three edge lengths above 0"),
        ({"size": [1, -1, 1]}, "expected three edge lengths above 0"),
        ({"quaternion": [0, 0, 0, 0]}, "expected wxyz of length 1"),
        ({"quaternion": [1, 0, 0]}, "expected 4 finite numbers"),
    ],
)
@pytest.mark.wrong_shapes
def test_a_box_that_cannot_be_is_refused(values: dict[str, list[float]], part: str) -> None:
    usual = {"center": [0, 0, 0], "size": [1, 1, 1], "quaternion": [1, 0, 0, 0]}
    with pytest.raises(DataError, match="Box: got") as caught:
        OrientedBox(**{name: np.array(value, dtype=float) for name, value in (usual | values).items()})
    assert part in str(caught.value)
