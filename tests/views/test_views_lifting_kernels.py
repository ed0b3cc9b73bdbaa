"""The lifting kernels: bit for bit the torch reference, however the work is divided; candidates by their rule."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.kernels.operators import reference_kernels
from vla3d.views import ViewSet, lift_candidates, lift_heatmaps, lifting, lifting_operator
from vla3d.views.reference import lifting as reference
from vla3d.views.view_set import VIEW_PRESETS

seeds = st.integers(0, 2**31 - 1)
view_names = st.lists(st.sampled_from(sorted(VIEW_PRESETS)), min_size=1, max_size=4, unique=True)
ALIGNED, OBLIQUE = ViewSet.from_names(), ViewSet.from_names(("top", "front_left", "front_right"))


def heat(seed: int, batch: int, views: ViewSet, side: int, levels: int) -> Tensor:
    """Heat of few levels, of both signs, so that many voxels are equal."""
    drawn = torch.randint(-levels, levels + 1, (batch, len(views), side, side), generator=torch.Generator().manual_seed(seed))
    return drawn / 4


def assert_same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@given(seed=seeds, names=view_names, side=st.integers(1, 9), grid=st.integers(1, 12), levels=st.integers(0, 40))
def test_equals_the_reference(seed: int, names: list[str], side: int, grid: int, levels: int) -> None:
    views = ViewSet.from_names(names)
    maps = heat(seed, 3, views, side, levels)
    for resolution in (None, grid):
        found = lift_heatmaps(maps, views, resolution)
        with reference_kernels():
            assert_same(found, lift_heatmaps(maps, views, resolution))


@given(
    seed=seeds,
    names=view_names,
    side=st.integers(1, 6),
    k=st.integers(0, 4),
    radius=st.integers(0, 2),
    levels=st.integers(0, 40),
)
def test_candidates_equal_the_reference(seed: int, names: list[str], side: int, k: int, radius: int, levels: int) -> None:
    views = ViewSet.from_names(names)
    maps = heat(seed, 2, views, side, levels)
    found = lift_candidates(maps, views, k, radius)
    with reference_kernels():
        assert_same(found, lift_candidates(maps, views, k, radius))


@pytest.mark.parametrize("views", [ALIGNED, OBLIQUE], ids=["aligned", "oblique"])
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_candidates_are_those_of_a_greedy_search(views: ViewSet, radius: int) -> None:
    side, k = 8, 9
    maps = heat(4, 2, views, side, 5)
    points, scores = lift_candidates(maps, views, k, radius)
    every = reference.voxel_centers(torch.arange(side**3), side)
    cells = reference.voxel_cells(torch.arange(side**3), side).numpy()
    for sample in range(2):
        # Voxel centres are whole eighths, so that no step of the interpolation rounds.
        worth = reference.score_voxels(maps[sample : sample + 1], every, views)[0].numpy().copy()
        for step in range(k):
            best = int(worth.argmax())
            if worth[best] == -np.inf:
                assert scores[sample, step] == -np.inf and points[sample, step].isnan().all()
                continue
            assert torch.equal(points[sample, step], every[best]) and scores[sample, step] == worth[best]
            worth[np.abs(cells - cells[best]).max(1) <= radius] = -np.inf


def test_the_first_candidate_is_the_lifted_point() -> None:
    maps = heat(2, 4, ALIGNED, 12, 100)
    points, scores = lift_candidates(maps, ALIGNED, 3, 2)
    assert_same((points[:, 0], scores[:, 0]), lift_heatmaps(maps, ALIGNED))
    assert (scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("views", [ALIGNED, OBLIQUE], ids=["aligned", "oblique"])
def test_dividing_the_work_gives_the_same(views: ViewSet, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = heat(0, 3, views, 9, 6)
    expected = lift_heatmaps(maps, views), lift_candidates(maps, views, 4, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(lifting_operator, "work_of_a_thread", lambda device, grid: (1, 100))  # the grid of CUDA
    try:
        for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
            with mode():
                again = maps.clone().requires_grad_(mode is torch.enable_grad)
                found = lift_heatmaps(again, views), lift_candidates(again, views, 4, 1)
            for one, other in zip(expected, found, strict=True):
                assert_same(one, other)
    finally:
        torch.set_num_threads(before)


def test_heat_that_cannot_be_looked_at_gives_nan_for_its_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = heat(0, 4, ALIGNED, 8, 9)
    expected = lift_heatmaps(maps, ALIGNED, refine=True)
    maps[1, 2, 3, 3], maps[3, 0, 0, 0] = torch.nan, -torch.inf
    monkeypatch.setattr(lifting, "_readable", lambda values: False)
    for points, score in (
        lift_heatmaps(maps, ALIGNED, refine=True),
        [part[:, 0] for part in lift_candidates(maps, ALIGNED, 1, 0)],
    ):
        assert points[[1, 3]].isnan().all() and score[[1, 3]].isnan().all()
        assert torch.equal(score[[0, 2]], expected[1][[0, 2]]) and points[[0, 2]].isfinite().all()


def test_layouts_do_not_matter() -> None:
    maps = heat(0, 2, ALIGNED, 8, 9)
    expected = lift_heatmaps(maps, ALIGNED)
    wide = torch.zeros(2, 3, 8, 20)[..., 5:13].transpose(2, 3)
    wide.copy_(maps)
    assert_same(lift_heatmaps(wide, ALIGNED), expected)
    assert_same(
        lift_heatmaps(maps[:1].expand(3, -1, -1, -1), ALIGNED), tuple(part[:1].expand(3, *part.shape[1:]) for part in expected)
    )
    assert_same(lift_heatmaps(maps.half(), ALIGNED), expected)
    assert_same(lift_heatmaps(maps.double().requires_grad_(), ALIGNED), expected)


def test_empty_batches() -> None:
    for views in (ALIGNED, OBLIQUE):
        points, scores = lift_candidates(torch.zeros(0, 3, 5, 5), views, 2, 1)
        assert points.shape == (0, 2, 3) and scores.shape == (0, 2)


@pytest.mark.wrong_shapes
def test_refusals() -> None:
    maps = torch.zeros(1, 3, 4, 4)
    for arguments, message in (
        ({"k": -1}, "k: got -1, expected a whole number of at least 0"),
        ({"k": 1.5}, "k: got 1.5"),
        ({"radius": -1}, "radius: got -1"),
        ({"heatmaps": maps[:, :2]}, r"heatmaps: got shape \(1, 2, 4, 4\), expected \(batch, 3, side, side\)"),
        ({"heatmaps": maps[..., :0, :0]}, "heatmaps: .*side 0"),
        ({"resolution_3d": 2000}, "resolution_3d: got 2000, .* at most 1024"),
    ):
        with pytest.raises(ValueError, match=message):
            lift_candidates(**({"heatmaps": maps, "views": ALIGNED, "k": 1, "radius": 1} | arguments))


def test_operator_passes_torchs_checks() -> None:
    for views in (ALIGNED, OBLIQUE):
        arguments = heat(0, 2, views, 5, 9), views.numbers, 6, torch.tensor([[3], [-1]]), 1
        torch.library.opcheck(torch.ops.vla3d.best_voxel.default, arguments)
