"""The expected point: the mean over all voxels of a product of views, by brute force, with its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla3d.views import ViewSet, heatmap_targets, lift_expectation, lifting, project_to_views
from vla3d.views.view_set import VIEW_PRESETS

seeds = st.integers(0, 2**31 - 1)
AXIS_ALIGNED = sorted(name for name, camera in VIEW_PRESETS.items() if camera.axis_aligned)
aligned_views = st.lists(st.sampled_from(AXIS_ALIGNED), min_size=1, max_size=5, unique=True)
VIEWS = ViewSet.from_names()


@given(seed=seeds, names=aligned_views, side=st.integers(1, 6))
def test_equals_a_walk_over_all_voxels(seed: int, names: list[str], side: int) -> None:
    views = ViewSet.from_names(names)
    heat = torch.rand(1, len(views), side, side, generator=torch.Generator().manual_seed(seed))
    total, mean = 0.0, np.zeros(3)
    for voxel in np.ndindex(side, side, side):
        center = (2 * np.array(voxel) + 1) / side - 1
        weight = 1.0
        for v, view in enumerate(views):
            column = int((np.dot(center, view.right) + 1) * side / 2)
            row = int((np.dot(center, view.down) + 1) * side / 2)
            weight *= heat[0, v, row, column].item()
        total, mean = total + weight, mean + weight * center
    np.testing.assert_allclose(lift_expectation(heat, views)[0].numpy(), mean / total, atol=1e-5)


@given(seed=seeds, grid=st.sampled_from([None, 24, 40]))
def test_the_targets_of_a_point_give_it_back(seed: int, grid: int | None) -> None:
    # Away from the border, where the cut Gaussian is not centred on the point.
    point = (torch.rand(3, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * 0.6
    targets = heatmap_targets(project_to_views(point[:, None], VIEWS, 32)[:, 0], 32, sigma=2.0)
    assert (lift_expectation(targets, VIEWS, grid) - point).abs().max() < 0.02


def test_the_scale_of_a_view_has_no_say_and_unlikely_voxels_keep_their_weight() -> None:
    heat = torch.rand(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = lift_expectation(heat, VIEWS)
    scale = torch.tensor([1e-20, 3.0, 1e20])[:, None, None]
    torch.testing.assert_close(lift_expectation(heat * scale, VIEWS), expected)
    # The views agree only where each is far below its peak: the product is 1e-90 of the peaks'.
    heat = torch.full((1, 3, 3, 3), 0.0)
    heat[0, 0, 0, 0] = heat[0, 1, 2, 2] = heat[0, 2, 0, 0] = 1.0
    heat[0, :, 1, 1] = 1e-30
    assert torch.equal(lift_expectation(heat, VIEWS), torch.zeros(1, 3))


def test_gradient() -> None:
    heat = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    for grid in (None, 3):
        torch.autograd.gradcheck(lambda maps, grid=grid: lift_expectation(maps, VIEWS, grid), heat.requires_grad_())


def test_a_step_along_the_gradient_moves_the_point_to_the_target() -> None:
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    target = torch.tensor([[0.3, -0.4, 0.5]])
    optimizer = torch.optim.Adam([logits], lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        error = (lift_expectation(logits.flatten(2).softmax(2).view(1, 3, 8, 8), VIEWS) - target).square().sum()
        error.backward()
        optimizer.step()
    assert error < 1e-3


def test_views_that_exclude_each_other_give_nan_and_no_gradient() -> None:
    heat = torch.zeros(2, 3, 4, 4)
    heat[1] = 1.0
    points = lift_expectation(heat.requires_grad_(), VIEWS)
    assert points[0].isnan().all() and torch.equal(points[1], torch.zeros(3))
    points[1].sum().backward()
    assert heat.grad is not None and heat.grad.isfinite().all() and (heat.grad[0] == 0).all()
    assert lift_expectation(heat[:0], VIEWS).shape == (0, 3)


@pytest.mark.wrong_shapes
def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = torch.ones(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"views: .*axes of the cube; .*'front_left'.* oblique"):
        lift_expectation(bad, ViewSet.from_names(("top", "front", "front_left")))
    bad[0, 0, 0, 0] = -1.0
    with pytest.raises(ValueError, match=r"heatmaps: got values down to -1.0, expected at least 0.0"):
        lift_expectation(bad, VIEWS)
    bad[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="heatmaps: got NaN"):
        lift_expectation(bad, VIEWS)
    monkeypatch.setattr(lifting, "_readable", lambda values: False)
    points = lift_expectation(bad, VIEWS)
    assert points[0].isnan().all() and torch.equal(points[1], torch.zeros(3))
