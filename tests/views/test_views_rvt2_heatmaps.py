"""Heatmaps over the views of RVT-2: positions without the half pixel, targets, lifting against every candidate, sampling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.views import (
    RVT2_VIEWS,
    lift_candidates,
    lift_rvt2_heatmaps,
    project_to_rvt2_views,
    render_rvt2_views,
    rvt2_heatmap_targets,
    rvt2_votes,
    sample_by_inverse_distance,
)

seeds = st.integers(0, 2**31 - 1)


def test_positions() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -2.0]]])
    top, front, right = project_to_rvt2_views(points)[0].unbind(1)
    assert top.tolist() == [[112, 112], [224, 112], [112, 56], [112, 112]]
    assert front.tolist() == [[112, 112], [112, 112], [168, 112], [112, 336]]
    assert right.tolist() == [[112, 112], [0, 112], [112, 112], [112, 336]]


@given(seed=seeds)
def test_a_point_is_drawn_at_its_position_cut_to_whole_numbers(seed: int) -> None:
    point = torch.rand(1, 1, 3, generator=torch.Generator().manual_seed(seed)) * 0.9
    point[..., 1] = -point[..., 1]  # before every camera
    image = render_rvt2_views(point, torch.ones(1, 1, 3), torch.tensor([1]), 32)
    for view, (column, row) in enumerate(project_to_rvt2_views(point, 32)[0, 0].tolist()):
        seen = image.mask[0, view].nonzero().float()
        inside = 0 < int(column) < 31 and 0 < int(row) < 31
        assert not inside or seen.mean(0).tolist() == [int(row), int(column)]


def test_targets_lie_on_whole_numbers() -> None:
    heat = rvt2_heatmap_targets(torch.tensor([10.0, 20.0]), 32)
    row, column = divmod(int(heat.argmax()), 32)
    assert (column, row) == (10, 20)
    assert heat.sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(heat[20, 10:16], heat[20, 5:11].flip(0))
    assert (heat[20, 11] / heat[20, 10]).item() == pytest.approx(math.exp(-1 / 4.5))
    # 4 pixels away, and 4 across and 2 down (20 < 20.25), is within three sigma; 4 and 3 is not, nor are 5.
    assert heat[20, 14] > 0 and heat[22, 14] > 0 and heat[23, 14] == 0 and heat[20, 15] == 0


def test_targets_end_at_the_border() -> None:
    corner, outside, far, broken = rvt2_heatmap_targets(
        torch.tensor([[0.0, 0.0], [-2.0, 5.0], [-9.0, 5.0], [math.nan, 5.0]]), 16
    )
    assert corner.sum().item() == pytest.approx(1, abs=1e-5) and corner.argmax() == 0
    assert outside.sum().item() == pytest.approx(1, abs=1e-4) and outside.argmax() == 5 * 16
    assert (far == 0).all() and (broken == 0).all()
    half = rvt2_heatmap_targets(torch.tensor([3.25, 7.5], dtype=torch.float16), 16)
    assert torch.equal(half, rvt2_heatmap_targets(torch.tensor([3.25, 7.5]), 16))


def every_candidate(heat: np.ndarray) -> tuple[np.ndarray, float]:
    """Score all voxels one after the other, in double precision."""
    side = heat.shape[-1]
    centers = np.linspace(-1 + 1 / side, 1 - 1 / side, side)
    best, at = -math.inf, np.zeros(3)
    for x, y, z in np.stack(np.meshgrid(centers, centers, centers, indexing="ij"), -1).reshape(-1, 3):
        score = 0.0
        for view, (right, down) in enumerate(((x, -y), (y, -z), (-x, -z))):
            column, row = (round((coordinate + 1) * side, 6) / 2 for coordinate in (right, down))
            if not (0 <= column <= side - 1 and 0 <= row <= side - 1):
                continue
            weights, values = [], []
            for j in (math.floor(column), math.ceil(column)):
                for i in (math.floor(row), math.ceil(row)):
                    weights.append(1 / (math.hypot(j - column, i - row) + 1e-10))
                    values.append(heat[view, i, j])
            score += np.dot(weights, values) / sum(weights) / 3
        if score > best + 1e-9:
            best, at = score, np.array([x, y, z])
    return at, best


@pytest.mark.parametrize("kind", ["random", "ties", "border"])
@pytest.mark.parametrize("side", [1, 2, 5, 6])
def test_lifting_equals_scoring_every_candidate(side: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(side)
    heat = torch.rand(4, 3, side, side, generator=generator)
    if kind == "ties":
        heat = (heat * 3).floor() / 4
    if kind == "border":
        heat[..., -1, :] += 3
        heat[..., 0] += 3
    points, scores = lift_rvt2_heatmaps(heat)
    for sample, point, score in zip(heat.double().numpy(), points, scores, strict=True):
        expected, best = every_candidate(sample)
        np.testing.assert_allclose(point, expected, atol=1e-6)
        assert score.item() == pytest.approx(best, abs=1e-6)


@given(seed=seeds)
def test_targets_are_lifted_to_their_point(seed: int) -> None:
    point = torch.rand(2, 3, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    pixels = project_to_rvt2_views(point[:, None], 48)[:, 0]
    lifted, _ = lift_rvt2_heatmaps(rvt2_heatmap_targets(pixels, 48))
    assert (lifted - point).abs().max() <= 1.01 / 48, "half a voxel, which is two pixels of 48 to the cube's edge wide"


def test_votes_count_nothing_in_the_last_row_and_column() -> None:
    heat = torch.arange(27.0).view(1, 3, 3, 3)
    votes = rvt2_votes(heat)
    assert votes[0, 0].tolist() == [[2, 3, 0], [5, 6, 0], [0, 0, 0]]
    assert rvt2_votes(heat.half()).dtype == torch.float32
    candidates, scores = lift_candidates(votes, RVT2_VIEWS, 2, 0)
    assert torch.equal(candidates[:, 0], lift_rvt2_heatmaps(heat)[0]) and scores[0, 0] >= scores[0, 1]


def test_heat_that_is_no_number_is_refused() -> None:
    heat = torch.zeros(1, 3, 4, 4)
    heat[0, 1, 2, 2] = math.nan
    with pytest.raises(ValueError, match="heatmaps"):
        lift_rvt2_heatmaps(heat)


def sample(values: Tensor, *pixels: tuple[float, float]) -> Tensor:
    return sample_by_inverse_distance(values[None], torch.tensor([pixels]))[0]


def test_sampling_by_hand() -> None:
    values = torch.tensor([[[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    found = sample(
        values, (1.0, 0.0), (2.0, 1.0), (0.5, 0.5), (0.5, 1.0), (2.01, 0.0), (-0.01, 0.0), (0.0, 1.5), (math.nan, 0.0)
    )
    torch.testing.assert_close(found[0], torch.tensor([2.0, 1.0]), rtol=0, atol=0)
    torch.testing.assert_close(found[1], torch.tensor([32.0, 0.0]), rtol=0, atol=0)
    torch.testing.assert_close(found[2:4], torch.tensor([[6.75, 0.25], [12.0, 0.0]]))
    assert (found[4:] == 0).all(), "below 0, beyond the last value, or nowhere"
    # A quarter of the way along a row: 1 / 0.25 against 1 / 0.75, so 3 to 1. Bilinear would be 3 to 1 as well ...
    torch.testing.assert_close(sample(values, (0.25, 0.0))[0, 0], torch.tensor((3 * 1.0 + 2.0) / 4))
    # ... but not between four: sqrt(1/8), twice sqrt(5/8), sqrt(9/8), that is weights of 1, 1 / sqrt 5 and 1 / 3.
    side = 1 / math.sqrt(5)
    expected = (1 + side * (2 + 8) + 16 / 3) / (1 + 2 * side + 1 / 3)
    torch.testing.assert_close(sample(values, (0.25, 0.25))[0, 0], torch.tensor(expected))


def test_sampling_sends_gradients_to_the_maps() -> None:
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    pixels = torch.tensor([[[0.3, 2.6], [4.0, 3.0]], [[1.5, 0.0], [9.0, 0.0]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda values: sample_by_inverse_distance(values, pixels), maps)
    half = maps.detach().half(), pixels.half()
    assert torch.equal(sample_by_inverse_distance(*half), sample_by_inverse_distance(*(part.float() for part in half)))
    assert sample_by_inverse_distance(torch.zeros(0, 3, 4, 5), torch.zeros(0, 2, 2)).shape == (0, 2, 3)
    assert sample_by_inverse_distance(torch.zeros(2, 3, 4, 5), torch.zeros(2, 0, 2)).shape == (2, 0, 3)


@pytest.mark.wrong_shapes
def test_what_does_not_fit_is_named() -> None:
    for run, name in (
        (lambda: project_to_rvt2_views(torch.zeros(2, 3)), "points"),
        (lambda: rvt2_heatmap_targets(torch.zeros(2, 3)), "pixels"),
        (lambda: rvt2_heatmap_targets(torch.zeros(2, 2), sigma=0.0), "sigma"),
        (lambda: rvt2_votes(torch.zeros(2, 4, 5, 5)), "heatmaps"),
        (lambda: lift_rvt2_heatmaps(torch.zeros(2, 3, 5, 6)), "heatmaps"),
        (lambda: sample_by_inverse_distance(torch.zeros(2, 3, 5, 5), torch.zeros(3, 4, 2)), "maps and pixels"),
    ):
        with pytest.raises(ValueError, match=name):
            run()
