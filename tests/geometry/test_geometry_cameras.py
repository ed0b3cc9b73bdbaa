"""Laws of the pinhole camera."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla3d.geometry import make_transform, pinhole_intrinsics, project, random_rotation, unproject

seeds = st.integers(0, 2**31 - 1)


def _camera(seed: int, *batch: int) -> tuple[torch.Generator, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pose = make_transform(
        random_rotation(generator, batch, dtype=torch.float64),
        torch.randn(*batch, 3, generator=generator, dtype=torch.float64),
    )
    intrinsics = torch.from_numpy(pinhole_intrinsics(1.0, 6, 8)).expand(*batch, 3, 3)
    return generator, intrinsics, pose


@given(seeds)
def test_unprojected_pixels_project_to_their_centres(seed):
    generator, intrinsics, pose = _camera(seed, 2, 3)
    depth = torch.rand(2, 3, 6, 8, generator=generator, dtype=torch.float64) + 0.1
    points, valid = unproject(depth, intrinsics, pose)
    assert valid.all()
    pixels, back = project(points.reshape(2, 3, 48, 3), intrinsics, pose)
    torch.testing.assert_close(back.reshape(2, 3, 6, 8), depth)
    rows, columns = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    centres = torch.stack((columns, rows), dim=-1).double().expand(2, 3, 6, 8, 2)
    torch.testing.assert_close(pixels.reshape(2, 3, 6, 8, 2), centres)


def test_hand_computed_camera():
    # 90 degrees over 4 rows: focal length 2, principal point (3, 2). Camera at z = 5 looking down, image right = world x.
    intrinsics = torch.from_numpy(pinhole_intrinsics(math.pi / 2, 4, 6))
    np.testing.assert_allclose(intrinsics, [[2, 0, 3], [0, 2, 2], [0, 0, 1]], atol=1e-12)
    rotation = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=torch.float64)
    pose = make_transform(rotation, torch.tensor([0.0, 0, 5], dtype=torch.float64))
    pixels, depth = project(torch.tensor([[1.0, 1.0, 1.0], [0, 0, 6]], dtype=torch.float64), intrinsics, pose)
    torch.testing.assert_close(pixels[0], torch.tensor([3.5, 1.5], dtype=torch.float64))
    torch.testing.assert_close(depth, torch.tensor([4.0, -1.0], dtype=torch.float64))
    assert pixels[1].isnan().all()


@pytest.mark.parametrize("missing", [0.0, -1.0, math.nan, math.inf])
def test_missing_depth_is_invalid_and_harmless(missing):
    _, intrinsics, pose = _camera(0, 1)
    depth = torch.ones(1, 6, 8, dtype=torch.float64)
    depth[0, 2, 3] = missing
    points, valid = unproject(depth, intrinsics, pose)
    assert not valid[0, 2, 3] and valid.sum() == 47
    assert torch.isfinite(points).all() and (points[0, 2, 3] == 0).all()


def test_batch_is_a_stack_of_singles():
    generator, intrinsics, pose = _camera(1, 4)
    depth = torch.rand(4, 6, 8, generator=generator, dtype=torch.float64) + 0.1
    points, _ = unproject(depth, intrinsics, pose)
    for b in range(4):
        torch.testing.assert_close(points[b], unproject(depth[b], intrinsics[b], pose[b])[0])


@pytest.mark.parametrize(("fovy", "height", "width"), [(0.0, 4, 4), (60.0, 4, 4), (1.0, 0, 4)])
def test_impossible_cameras_are_refused(fovy, height, width):
    with pytest.raises(ValueError, match="expected"):
        pinhole_intrinsics(fovy, height, width)
