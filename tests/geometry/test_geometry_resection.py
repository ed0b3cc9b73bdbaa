"""Laws of camera resection: the camera that made a cloud comes back, and what no camera made is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla3d.geometry import make_transform, random_rotation, unproject
from vla3d.geometry.resection import MAX_PIXEL_ERROR, ResectionError, measured, resect_clouds

seeds = st.integers(0, 2**31 - 1)


def cloud(seed: int, *, flat: bool = False, K: np.ndarray | None = None, size: tuple[int, int] = (20, 28)):
    """An organised float64 cloud of random relief (or of a slanted plane), and the camera and depth that made it."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    if K is None:
        K = np.array([[rng.uniform(15, 60), 0, rng.uniform(10, 18)], [0, rng.uniform(15, 60), rng.uniform(8, 12)], [0, 0, 1]])
    T = make_transform(random_rotation(generator, dtype=torch.float64), torch.from_numpy(rng.normal(size=3)))
    if flat:
        columns, rows = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
        rays = np.stack([columns, rows, np.ones(size)], axis=-1) @ np.linalg.inv(K).T
        slant = np.array([*rng.uniform(-0.3, 0.3, 2), 1.0])
        depth = rng.uniform(0.5, 2) / (rays @ slant)
        depth = np.where(depth > 0, depth, 0)
    else:
        depth = rng.uniform(0.5, 3.0, size)
    points, valid = unproject(torch.from_numpy(depth), torch.from_numpy(K), T)
    points = np.where(valid.numpy()[..., None], points.numpy(), np.nan)
    return points, K, T.numpy(), depth


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_camera_comes_back(seed: int) -> None:
    points, K, T, depth = cloud(seed)
    (found,) = resect_clouds([points])
    np.testing.assert_allclose(found.intrinsics, K, atol=1e-6)
    np.testing.assert_allclose(found.T_world_camera, T, atol=1e-8)
    np.testing.assert_allclose(found.depth, depth, atol=1e-6)
    assert found.depth.dtype == np.float32 and found.pixel_error < 1e-6


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_float32_clouds_lose_next_to_nothing_and_unproject_to_themselves(seed: int) -> None:
    points, K, _, _ = cloud(seed)
    (found,) = resect_clouds([points.astype(np.float32)])
    np.testing.assert_allclose(found.intrinsics, K, atol=1e-3)
    back, valid = unproject(
        *(torch.from_numpy(value) for value in (found.depth.astype(float), found.intrinsics, found.T_world_camera))
    )
    assert valid.all()
    np.testing.assert_allclose(back, points, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_flat_cloud_takes_its_focal_length_from_another(seed: int) -> None:
    relief, K, _, _ = cloud(seed)
    flat, _, T, depth = cloud(seed + 1, flat=True, K=K)
    if (depth == 0).mean() > 0.5:
        return
    for clouds, at in (([flat, relief], 0), ([relief, flat], 1)):
        found = resect_clouds(clouds)[at]
        np.testing.assert_allclose(found.T_world_camera, T, atol=1e-5)
        np.testing.assert_allclose(found.depth, depth, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_flat_clouds_alone_are_refused(seed: int) -> None:
    flat, _, _, _ = cloud(seed, flat=True)
    for dtype in (np.float64, np.float32):
        with pytest.raises(ResectionError, match="do not determine"):
            resect_clouds([flat.astype(dtype)])


def test_pixels_without_a_point_have_no_depth() -> None:
    points, _, T, depth = cloud(5)
    points[3:9, 4:11] = np.nan
    points[0, 0] = 0
    points[1, 1, 2] = np.inf
    hole = ~measured(points)
    assert hole.sum() == 6 * 7 + 2
    (found,) = resect_clouds([points])
    assert (found.depth[hole] == 0).all()
    np.testing.assert_allclose(found.depth[~hole], depth[~hole], atol=1e-6)
    np.testing.assert_allclose(found.T_world_camera, T, atol=1e-8)


def test_half_precision_is_still_a_camera() -> None:
    points, K, _, _ = cloud(2)
    (found,) = resect_clouds([points.astype(np.float16)])
    assert 1e-4 < found.pixel_error <= MAX_PIXEL_ERROR
    np.testing.assert_allclose(found.intrinsics, K, atol=0.1)


def distorted(points: np.ndarray, K: np.ndarray, T: np.ndarray, share: float) -> np.ndarray:
    """The same surface seen through a lens that bends rays outward."""
    camera = (points - T[:3, 3]) @ T[:3, :3]
    radius = np.square(camera[..., :2] / camera[..., 2:]).sum(axis=-1, keepdims=True)
    camera[..., :2] *= 1 + share * radius
    return camera @ T[:3, :3].T + T[:3, 3]


@pytest.mark.parametrize("wrong", ["bent", "mirrored", "shuffled", "noise", "one point off", "other zoom", "nan", "constant"])
def test_what_is_no_picture_of_a_pinhole_camera_is_refused(wrong: str) -> None:
    points, K, T, _ = cloud(3, K=np.array([[15.0, 0, 14], [0, 15, 10], [0, 0, 1]]))
    other, _, _, _ = cloud(4, K=np.array([[17.0, 0, 14], [0, 17, 10], [0, 0, 1]]))
    off = points.copy()
    off[7, 7] += 0.1
    clouds = {
        "bent": [distorted(points, K, T, 0.1)],
        "mirrored": [points[:, ::-1]],
        "shuffled": [np.random.default_rng(0).permutation(points.reshape(-1, 3)).reshape(points.shape)],
        "noise": [points + np.random.default_rng(0).normal(0, 0.1, points.shape)],
        "one point off": [off],
        "other zoom": [points, other],
        "nan": [np.full_like(points, np.nan)],
        "constant": [np.ones_like(points)],
    }[wrong]
    with pytest.raises(ResectionError) as caught:
        resect_clouds(clouds)
    assert "\n" not in str(caught.value)


def test_the_same_clouds_give_the_same_bits_in_any_company() -> None:
    """A camera's pose does not hang on which image came before, beyond the last bits."""
    first, K, _, _ = cloud(6)
    second, _, _, _ = cloud(7, K=K)
    together = resect_clouds([first, second])
    again = resect_clouds([first, second])
    for a, b in zip(together, again, strict=True):
        assert np.array_equal(a.depth, b.depth) and np.array_equal(a.T_world_camera, b.T_world_camera)
    np.testing.assert_allclose(resect_clouds([second])[0].T_world_camera, together[1].T_world_camera, atol=1e-7)
