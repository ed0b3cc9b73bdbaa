"""Laws of rigid and similarity transforms and of the workspace's cube."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla3d.geometry import (
    SimilarityTransform,
    invert_transform,
    make_transform,
    random_rotation,
    transform_points,
    workspace_to_cube,
)
from vla3d.types import Workspace

seeds = st.integers(0, 2**31 - 1)


def _rigid(generator: torch.Generator, *batch: int) -> torch.Tensor:
    rotation = random_rotation(generator, batch, dtype=torch.float64)
    return make_transform(rotation, torch.randn(*batch, 3, generator=generator, dtype=torch.float64))


def _similarity(generator: torch.Generator, batch: int) -> SimilarityTransform:
    scale = torch.rand(batch, generator=generator, dtype=torch.float64) * 5 + 0.1
    return SimilarityTransform(scale=scale, translation=torch.randn(batch, 3, generator=generator, dtype=torch.float64))


@given(seeds)
def test_inverse_undoes_a_rigid_transform(seed):
    generator = torch.Generator().manual_seed(seed)
    transform = _rigid(generator, 2, 3)
    points = torch.randn(2, 3, 11, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(transform @ invert_transform(transform), torch.eye(4, dtype=torch.float64).expand(2, 3, 4, 4))
    torch.testing.assert_close(transform_points(invert_transform(transform), transform_points(transform, points)), points)


@given(seeds)
def test_points_follow_the_matrix_product(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = _rigid(generator, 3), _rigid(generator, 3)
    points = torch.randn(3, 5, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(transform_points(a @ b, points), transform_points(a, transform_points(b, points)))


@given(seeds)
def test_similarity_inverts_and_composes(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = _similarity(generator, 4), _similarity(generator, 4)
    points = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(a.inverse().apply(a.apply(points)), points)
    torch.testing.assert_close(a.compose(b).apply(points), a.apply(b.apply(points)))
    torch.testing.assert_close(a.compose(a.inverse()).scale, torch.ones(4, dtype=torch.float64))


def test_similarity_applies_to_any_middle_shape_and_about_a_center():
    center = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])
    transform = SimilarityTransform.about(center, 4.0)
    torch.testing.assert_close(transform.apply(center), torch.zeros(2, 3))
    points = torch.arange(2 * 5 * 7 * 3, dtype=torch.float32).reshape(2, 5, 7, 3)
    expected = (points - center[:, None, None]) * 4
    torch.testing.assert_close(transform.apply(points), expected)
    torch.testing.assert_close(transform.apply(points.reshape(2, 35, 3)), expected.reshape(2, 35, 3))


@pytest.mark.wrong_shapes
def test_similarity_refuses_a_wrong_shape():
    with pytest.raises(ValueError, match=r"expected \(B,\) and \(B, 3\)"):
        SimilarityTransform(scale=torch.ones(2), translation=torch.zeros(3, 3))


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.lists(st.floats(0.1, 3), min_size=3, max_size=3))
def test_workspace_fits_the_cube_and_comes_back(low, extent):
    workspace = Workspace.from_bounds(low, [a + b for a, b in zip(low, extent, strict=True)])
    cube = workspace_to_cube(workspace, dtype=torch.float64)
    corners = torch.from_numpy(np.stack([workspace.low, workspace.high, workspace.center]))[None]
    mapped = cube.apply(corners)
    torch.testing.assert_close(mapped[0, 2], torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(mapped[0, 0], -mapped[0, 1], atol=1e-9, rtol=0)
    assert mapped.abs().max().item() == pytest.approx(1.0, abs=1e-9)
    # One scale for the three axes: proportions stay.
    torch.testing.assert_close((mapped[0, 1] - mapped[0, 0]) / cube.scale, torch.from_numpy(workspace.extent))
    torch.testing.assert_close(cube.inverse().apply(mapped), corners, atol=1e-9, rtol=0)


def test_workspace_transform_broadcasts_over_a_batch():
    cube = workspace_to_cube(Workspace.from_bounds([0, 0, 0], [1, 1, 1]))
    assert cube.scale.dtype == torch.float32
    assert cube.apply(torch.rand(5, 9, 3)).shape == (5, 9, 3)
