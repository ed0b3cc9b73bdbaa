"""Fusing, cropping, subsampling and transforming clouds, against loops over pixels and points."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla3d.geometry import (
    SimilarityTransform,
    invert_transform,
    make_transform,
    pinhole_intrinsics,
    project,
    random_rotation,
    transform_points,
)
from vla3d.pointcloud import PointCloud, crop, fuse_frames, subsample, transform

seeds = st.integers(0, 2**31 - 1)


def _frames(seed: int, batch: int = 2, cameras: int = 3, height: int = 5, width: int = 7):
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.randint(0, 256, (batch, cameras, height, width, 3), generator=generator, dtype=torch.uint8)
    depth = torch.rand(batch, cameras, height, width, generator=generator) * 2 + 0.2
    holes = torch.rand(depth.shape, generator=generator)
    depth[holes < 0.1], depth[holes > 0.9] = 0.0, math.nan
    intrinsics = torch.from_numpy(pinhole_intrinsics(1.2, height, width)).float().expand(batch, cameras, 3, 3)
    rotation = random_rotation(generator, (batch, cameras))
    pose = make_transform(rotation, torch.randn(batch, cameras, 3, generator=generator))
    return rgb, depth, intrinsics, pose


def _cloud(seed: int, batch: int = 3, count: int = 20) -> PointCloud:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, count + 1, (batch,), generator=generator)
    real = (torch.arange(count) < lengths[:, None])[..., None]
    points, colors = (torch.rand(batch, count, 3, generator=generator) * real for _ in range(2))
    return PointCloud(points=points, colors=colors, lengths=lengths)


def _rows(cloud: PointCloud, row: int) -> np.ndarray:
    """The real points of one cloud with their colours, and a check that the rest is padding."""
    length = int(cloud.lengths[row])
    assert (cloud.points[row, length:] == 0).all() and (cloud.colors[row, length:] == 0).all()
    return torch.cat((cloud.points[row, :length], cloud.colors[row, :length]), -1).numpy()


@given(seeds)
def test_fusing_equals_a_loop_over_pixels(seed):
    rgb, depth, intrinsics, pose = _frames(seed)
    low, high = [-1.0, -1.2, -0.9], [1.1, 1.0, 1.3]
    cloud = fuse_frames(rgb, depth, intrinsics, pose, low, high)
    for b in range(2):
        expected = []
        for c, i, j in np.ndindex(3, 5, 7):
            z = depth[b, c, i, j].item()
            if not (math.isfinite(z) and z > 0):
                continue
            focal, cx, cy = (intrinsics[b, c][k].item() for k in ((0, 0), (0, 2), (1, 2)))
            in_camera = np.array([(j + 0.5 - cx) * z / focal, (i + 0.5 - cy) * z / focal, z, 1])
            world = (pose[b, c].double().numpy() @ in_camera)[:3]
            if (world >= low).all() and (world <= high).all():
                expected.append([*world, *(rgb[b, c, i, j].numpy() / 255)])
        np.testing.assert_allclose(_rows(cloud, b), np.array(expected).reshape(-1, 6), atol=1e-5)
    assert cloud.points.shape[1] == cloud.lengths.max()


@given(seeds)
def test_fused_points_project_back_to_where_they_were_seen(seed):
    rgb, depth, intrinsics, pose = _frames(seed, batch=1, cameras=1)
    cloud = fuse_frames(rgb, depth, intrinsics, pose, [-99.0] * 3, [99.0] * 3)
    pixels, back = project(cloud.points, intrinsics[:, 0], pose[:, 0])
    seen = torch.isfinite(depth[0, 0]) & (depth[0, 0] > 0)
    rows, columns = torch.nonzero(seen, as_tuple=True)
    torch.testing.assert_close(pixels[0], torch.stack((columns, rows), -1) + 0.5, atol=1e-2, rtol=0)
    torch.testing.assert_close(back[0], depth[0, 0][seen], atol=1e-4, rtol=0)


def test_batch_of_fused_frames_is_a_stack_of_singles():
    frames = _frames(7, batch=3)
    together = fuse_frames(*frames, [-1.0] * 3, [1.0] * 3)
    singles = [fuse_frames(*(part[b : b + 1] for part in frames), [-1.0] * 3, [1.0] * 3) for b in range(3)]
    stacked = PointCloud.stack(singles)
    assert torch.equal(together.lengths, stacked.lengths)
    torch.testing.assert_close(together.points, stacked.points)
    assert torch.equal(together.colors, stacked.colors)


@pytest.mark.parametrize("missing", [0.0, math.nan])
def test_no_measurement_at_all_gives_an_empty_cloud(missing):
    rgb, depth, intrinsics, pose = _frames(0)
    cloud = fuse_frames(rgb, torch.full_like(depth, missing), intrinsics, pose, [-1.0] * 3, [1.0] * 3)
    assert cloud.points.shape == (2, 0, 3) and cloud.lengths.tolist() == [0, 0]


def test_missing_depth_is_dropped_even_where_zero_is_inside_the_box():
    # A pixel without a measurement unprojects to the origin; the box holds the origin.
    rgb, depth, intrinsics, pose = _frames(1, batch=1)
    cloud = fuse_frames(rgb, depth, intrinsics, pose, [-99.0] * 3, [99.0] * 3)
    assert cloud.lengths.item() == int((torch.isfinite(depth) & (depth > 0)).sum())


@given(seeds)
def test_crop_keeps_exactly_the_inside_in_order(seed):
    cloud = _cloud(seed)
    low, high = [0.2, 0.0, 0.1], [0.9, 0.8, 1.0]
    cropped = crop(cloud, low, high)
    for b in range(3):
        rows = _rows(cloud, b)
        inside = ((rows[:, :3] >= np.float32(low)) & (rows[:, :3] <= np.float32(high))).all(-1)
        np.testing.assert_array_equal(_rows(cropped, b), rows[inside])


def test_crop_ignores_padding_and_keeps_the_border():
    cloud = PointCloud(points=torch.zeros(1, 4, 3), colors=torch.zeros(1, 4, 3), lengths=torch.tensor([2]))
    assert crop(cloud, [0.0] * 3, [1.0] * 3).lengths.item() == 2


@given(seeds, st.integers(1, 25))
def test_subsample_takes_a_subset_in_order(seed, limit):
    cloud = _cloud(seed)
    taken = subsample(cloud, limit, torch.Generator().manual_seed(seed))
    for b in range(3):
        rows, kept = _rows(cloud, b), _rows(taken, b)
        assert len(kept) == min(limit, len(rows))
        where = [int(np.flatnonzero((rows == row).all(-1))[0]) for row in kept]
        assert where == sorted(set(where))
    again = subsample(cloud, limit, torch.Generator().manual_seed(seed))
    assert torch.equal(taken.points, again.points)


def test_subsample_is_uniform():
    count, limit, rounds = 10, 4, 4000
    points = torch.arange(count, dtype=torch.float32)[:, None].expand(rounds, count, 3)
    cloud = PointCloud(points=points, colors=points, lengths=torch.full((rounds,), count))
    taken = subsample(cloud, limit, torch.Generator().manual_seed(0))
    share = torch.bincount(taken.points[..., 0].long().flatten(), minlength=count) / rounds
    # Standard deviation of a share is sqrt(0.4 * 0.6 / 4000) = 0.0077.
    assert (share - limit / count).abs().max() < 0.035


@given(seeds)
def test_transforms_move_points_and_come_back(seed):
    cloud = _cloud(seed)
    generator = torch.Generator().manual_seed(seed)
    rigid = make_transform(random_rotation(generator, 3), torch.randn(3, 3, generator=generator))
    similarity = SimilarityTransform.about(torch.randn(3, 3, generator=generator), 2.5)
    for b in range(3):
        _rows(transform(cloud, rigid), b)  # padding stays zero
    mask = cloud.mask
    torch.testing.assert_close(transform(cloud, rigid).points[mask], transform_points(rigid, cloud.points)[mask])
    for forth, back in ((rigid, invert_transform(rigid)), (similarity, similarity.inverse()), (rigid[:1], None)):
        moved = transform(cloud, forth)
        assert torch.equal(moved.lengths, cloud.lengths)
        if back is not None:
            torch.testing.assert_close(transform(moved, back).points, cloud.points, atol=1e-5, rtol=0)


@given(seeds)
def test_stacking_pads_to_the_largest(seed):
    clouds = [_cloud(seed, 2, 5), _cloud(seed + 1, 1, 9), _cloud(seed + 2, 1, 0)]
    stacked = PointCloud.stack(clouds)
    assert stacked.points.shape == (4, 9, 3)
    expected = [_rows(cloud, b) for cloud in clouds for b in range(len(cloud.lengths))]
    for b in range(4):
        np.testing.assert_array_equal(_rows(stacked, b), expected[b])


@pytest.mark.wrong_shapes
def test_refusals():
    rgb, depth, intrinsics, pose = _frames(0)
    with pytest.raises(ValueError, match="frames"):
        fuse_frames(rgb[:, :2], depth, intrinsics, pose, [0.0] * 3, [1.0] * 3)
    with pytest.raises(ValueError, match="PointCloud"):
        PointCloud(points=torch.zeros(1, 4, 3), colors=torch.zeros(1, 3, 3), lengths=torch.tensor([4]))
    with pytest.raises(ValueError, match="max_points"):
        subsample(_cloud(0), 0, torch.Generator())
    with pytest.raises(ValueError, match="no clouds"):
        PointCloud.stack([])
