"""Heatmap targets and lifting: brute force, exact ties, round trips, refinement."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla3d.geometry import SimilarityTransform
from vla3d.kernels.operators import reference_kernels
from vla3d.views import ViewSet, heatmap_targets, lift_heatmaps, project_to_views
from vla3d.views.reference import lifting as reference
from vla3d.views.view_set import VIEW_PRESETS

seeds = st.integers(0, 2**31 - 1)
AXIS_ALIGNED = sorted(name for name, camera in VIEW_PRESETS.items() if camera.axis_aligned)
aligned_views = st.lists(st.sampled_from(AXIS_ALIGNED), min_size=1, max_size=5, unique=True)


def _integers(seed: int, *shape: int, levels: int) -> torch.Tensor:
    """Whole-number heat: sums are exact in any order, and a few levels make many exact ties."""
    return torch.randint(0, levels, shape, generator=torch.Generator().manual_seed(seed)).float()


def _brute_force(heatmaps: torch.Tensor, views: ViewSet) -> tuple[np.ndarray, np.ndarray]:
    """Walk over all voxels in order and look every view up; pixels and voxels are equally many."""
    batch, _, size, _ = heatmaps.shape
    heat = heatmaps.numpy().astype(np.float64)
    best, where = np.full(batch, -np.inf), np.zeros((batch, 3))
    for b in range(batch):
        for voxel in np.ndindex(size, size, size):
            center = (2 * np.array(voxel) + 1) / size - 1
            score = 0.0
            for v, view in enumerate(views):
                column = int((np.dot(center, view.right) + 1) * size / 2)
                row = int((np.dot(center, view.down) + 1) * size / 2)
                score += heat[b, v, row, column]
            if score > best[b]:
                best[b], where[b] = score, center
    return where, best / len(views)


@given(seed=seeds, names=aligned_views, size=st.integers(1, 7), levels=st.integers(1, 50))
def test_separable_equals_brute_force_with_ties(seed, names, size, levels):
    views = ViewSet.from_names(names)
    heat = _integers(seed, 2, len(views), size, size, levels=levels)
    points, score = lift_heatmaps(heat, views)
    where, best = _brute_force(heat, views)
    np.testing.assert_allclose(points.numpy(), where, atol=1e-6)
    np.testing.assert_allclose(score.numpy(), best, rtol=1e-6)


@pytest.mark.parametrize("grid", [5, 8, 11])
@given(seed=seeds)
def test_general_form_agrees_on_axis_aligned_views(grid, seed):
    views = ViewSet.from_names()
    heat = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    index, score = reference.lift_separable(heat, views, grid)
    general_index, general_score = reference.lift_general(heat, views, grid)
    torch.testing.assert_close(score, general_score, atol=1e-5, rtol=0)
    # Interpolation rounds differently, so compare what the chosen voxels are worth.
    worth = reference.score_points(heat, reference.voxel_centers(torch.stack((index, general_index), 1), grid), views)
    torch.testing.assert_close(worth[:, 0], worth[:, 1], atol=1e-5, rtol=0)


def test_chunks_do_not_change_the_references_answer(monkeypatch):
    heat = _integers(3, 5, 3, 9, 9, levels=4)
    oblique = ViewSet.from_names(("top", "front_left", "front_right"))
    with reference_kernels():
        whole = lift_heatmaps(heat, ViewSet.from_names()), lift_heatmaps(heat, oblique)
        monkeypatch.setattr(reference, "_chunk", lambda heatmaps: 100)
        pieces = lift_heatmaps(heat, ViewSet.from_names()), lift_heatmaps(heat, oblique)
    for a, b in zip(whole, pieces, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


@given(seeds)
def test_batch_is_a_stack_of_singles(seed):
    views = ViewSet.from_names()
    heat = torch.rand(4, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    points, score = lift_heatmaps(heat, views, refine=True)
    for b in range(4):
        alone = lift_heatmaps(heat[b : b + 1], views, refine=True)
        torch.testing.assert_close(points[b : b + 1], alone[0])
        torch.testing.assert_close(score[b : b + 1], alone[1])


@pytest.mark.parametrize("names", [("top", "front", "right"), ("left", "back"), ("top", "front_left", "front_right")])
@given(seed=seeds, size=st.integers(12, 40))
def test_lifting_the_targets_of_a_point_returns_it(names, seed, size):
    views = ViewSet.from_names(names)
    generator = torch.Generator().manual_seed(seed)
    # Oblique views do not show the cube's corners; half the cube is safe.
    reach = 1.0 if views.axis_aligned else 0.5
    point = (torch.rand(2, 3, generator=generator) * 2 - 1) * reach
    targets = heatmap_targets(project_to_views(point[:, None], views, size)[:, 0], size)
    lifted, score = lift_heatmaps(targets, views)
    # Voxels of an oblique view fall between its pixels: a whole pixel there, half a pixel otherwise.
    bound = 1 / size if views.axis_aligned else 2 / size
    assert (lifted - point).abs().max() <= bound + 1e-5
    assert (score > 0).all()


@pytest.mark.parametrize(
    ("names", "noise", "gain", "pixels"),
    [
        (("top", "front", "right"), 0.0, 30.0, 0.015),
        (("top", "front", "right"), 0.2, 4.0, 0.2),
        (("top", "front_left", "front_right"), 0.0, 4.0, 0.12),
        (("top", "front_left", "front_right"), 0.2, 2.5, 0.3),
    ],
)
def test_refinement_reduces_the_error(names, noise, gain, pixels):
    views, size = ViewSet.from_names(names), 32
    generator = torch.Generator().manual_seed(0)
    point = torch.rand(40, 3, generator=generator) - 0.5
    targets = heatmap_targets(project_to_views(point[:, None], views, size)[:, 0], size)
    targets = targets * torch.exp(noise * torch.randn(targets.shape, generator=generator))
    coarse = (lift_heatmaps(targets, views)[0] - point).norm(dim=-1).mean() * size / 2
    fine = (lift_heatmaps(targets, views, refine=True)[0] - point).norm(dim=-1).mean() * size / 2
    assert fine < coarse / gain and fine < pixels, (coarse, fine)


def test_refinement_stays_in_the_cube_and_survives_flat_heat():
    views = ViewSet.from_names()
    flat = torch.full((1, 3, 6, 6), 0.25)
    points, score = lift_heatmaps(flat, views, refine=True)
    torch.testing.assert_close(points, torch.full((1, 3), -1 + 1 / 6))
    assert score.item() == 0.25
    corner = torch.tensor([[[1.0, 1.0, 1.0]]])
    targets = heatmap_targets(project_to_views(corner, views, 16)[:, 0], 16)
    lifted, _ = lift_heatmaps(targets, views, refine=True)
    assert (lifted <= 1).all() and (lifted - corner[0]).abs().max() < 2 / 16 * 1.5


def test_finer_and_coarser_grids():
    views = ViewSet.from_names()
    point = torch.tensor([[0.31, -0.22, 0.57]])
    targets = heatmap_targets(project_to_views(point[:, None], views, 32)[:, 0], 32)
    for grid in (16, 31, 32, 64):
        lifted, _ = lift_heatmaps(targets, views, resolution_3d=grid)
        assert (lifted - point).abs().max() <= 1 / grid + 1 / 32
        remainder = (lifted + 1) * grid / 2 - 0.5
        torch.testing.assert_close(remainder, remainder.round(), atol=1e-4, rtol=0)


def test_second_look_finds_the_point_four_times_finer():
    views, size = ViewSet.from_names(), 32
    point = torch.tensor([[0.313, -0.227, 0.571]])
    first, _ = lift_heatmaps(heatmap_targets(project_to_views(point[:, None], views, size)[:, 0], size), views)
    transform = SimilarityTransform.about(first, 4.0)
    near = transform.apply(point[:, None])
    second, _ = lift_heatmaps(heatmap_targets(project_to_views(near, views, size)[:, 0], size), views)
    back = transform.inverse().apply(second)
    assert (back - point).abs().max() <= 1 / size / 4 + 1e-5


def test_unbounded_scores_and_half_precision_are_accepted():
    views = ViewSet.from_names()
    heat = _integers(0, 2, 3, 6, 6, levels=30) - 15
    expected = lift_heatmaps(heat, views)
    got = lift_heatmaps(heat.bfloat16(), views)
    assert torch.equal(got[0], expected[0]) and got[0].dtype == torch.float32
    assert lift_heatmaps(heat[:0], views)[0].shape == (0, 3)
    with reference_kernels():
        assert lift_heatmaps(heat[:0], views)[0].shape == (0, 3)


@pytest.mark.wrong_shapes
def test_lifting_refusals():
    views = ViewSet.from_names()
    with pytest.raises(ValueError, match="top"):
        lift_heatmaps(torch.zeros(1, 2, 8, 8), views)
    with pytest.raises(ValueError, match="expected"):
        lift_heatmaps(torch.zeros(1, 3, 8, 9), views)
    with pytest.raises(ValueError, match="finite"):
        lift_heatmaps(torch.full((1, 3, 8, 8), float("nan")), views)
    with pytest.raises(ValueError, match="resolution_3d"):
        lift_heatmaps(torch.zeros(1, 3, 8, 8), views, resolution_3d=0)


@given(x=st.floats(0, 24), y=st.floats(0, 24), sigma=st.floats(0.25, 4))
def test_targets_equal_the_formula(x, y, sigma):
    heat = heatmap_targets(torch.tensor([x, y], dtype=torch.float64), 24, sigma).numpy()
    rows, columns = np.mgrid[0:24, 0:24] + 0.5
    square = (columns - x) ** 2 + (rows - y) ** 2
    expected = np.where(square <= 9 * sigma**2, np.exp(-square / (2 * sigma**2)), 0)
    np.testing.assert_allclose(heat, expected / expected.sum(), atol=1e-12)


@pytest.mark.parametrize("pixel", [(-0.01, 5.0), (5.0, 16.01), (float("nan"), 5.0), (float("inf"), 5.0), (1e9, 1e9)])
def test_targets_of_points_outside_are_zero(pixel):
    pixels = torch.tensor([pixel, (5.0, 5.0)])
    heat = heatmap_targets(pixels, 16)
    assert (heat[0] == 0).all()
    torch.testing.assert_close(heat[1].sum(), torch.tensor(1.0))


@pytest.mark.wrong_shapes
def test_target_shapes_and_refusals():
    heat = heatmap_targets(torch.full((2, 5, 3, 2), 4.0), 8)
    assert heat.shape == (2, 5, 3, 8, 8)
    with pytest.raises(ValueError, match="sigma"):
        heatmap_targets(torch.zeros(1, 2), 8, sigma=0.1)
    with pytest.raises(ValueError, match="two coordinates"):
        heatmap_targets(torch.zeros(1, 3), 8)
