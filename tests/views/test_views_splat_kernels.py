"""The renderer's kernels: bit for bit the torch reference, however the work is divided, with gradients through what is seen."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.kernels.operators import reference_kernels
from vla3d.views import RenderedViews, ViewSet, render_views, splat_operators
from vla3d.views.view_set import VIEW_PRESETS, view_set_of

sys.path.insert(0, str(Path(__file__).parents[1] / "pointcloud"))
from cloud_cases import CLOUDS

seeds = st.integers(0, 2**31 - 1)
VIEWS = {
    "aligned": ViewSet.from_names(("top", "front", "right", "left", "back")),
    "oblique": ViewSet.from_names(tuple(VIEW_PRESETS)),
}


def clouds(name: str, count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Three clouds of different lengths, one of them empty, the farther ones shrunk so that something is in the cube."""
    points = torch.stack([CLOUDS[name](count, seed) for seed in range(3)])
    size = points.shape[1]
    if name in ("lattice", "millimetres"):
        points = points / (8 if name == "lattice" else 900)
    colors = torch.rand(points.shape, generator=torch.Generator().manual_seed(0))
    return points, colors, torch.tensor([size, size // 2, 0])


def parts(image: RenderedViews) -> tuple[Tensor, ...]:
    return image.rgb, image.depth, image.xyz, image.mask, image.index


def assert_same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("views", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("name", CLOUDS)
def test_equals_the_reference(name: str, views: ViewSet) -> None:
    for footprint in (0, 1, 3):
        image = render_views(*clouds(name), views, 19, footprint)
        with reference_kernels():
            assert_same(parts(image), parts(render_views(*clouds(name), views, 19, footprint)))


@pytest.mark.parametrize("footprint", [0, 1, 2])
def test_one_thread_a_point_gives_the_same(footprint: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The grid of CUDA, run in the order of a CPU.
    views = VIEWS["oblique"]
    expected = parts(render_views(*clouds("random"), views, 23, footprint))
    monkeypatch.setattr(splat_operators, "work_of_a_thread", lambda *sizes: (1, 1))
    assert_same(parts(render_views(*clouds("random"), views, 23, footprint)), expected)


@pytest.mark.parametrize("most", [2**31 - 1, 1])
def test_sharing_the_batch_gives_the_same(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    views = VIEWS["aligned"]
    points, colors, lengths = clouds("random")
    expected = parts(render_views(points, colors, lengths, views, 23))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(splat_operators, "_MOST_ELEMENTS", most)
    try:
        assert_same(parts(render_views(points, colors, lengths, views, 23)), expected)
        with torch.inference_mode():
            assert_same(parts(render_views(points.clone(), colors, lengths, views, 23)), expected)
        leaf = colors.clone().requires_grad_()
        render_views(points, leaf, lengths, views, 23).rgb.sum().backward()
    finally:
        torch.set_num_threads(before)
    alone = colors.clone().requires_grad_()
    render_views(points, alone, lengths, views, 23).rgb.sum().backward()
    assert leaf.grad is not None and torch.equal(leaf.grad, alone.grad)


@given(seed=seeds, footprint=st.integers(0, 2), oblique=st.booleans())
def test_gradients_go_to_the_points_that_are_seen(seed: int, footprint: int, oblique: bool) -> None:
    """Against autograd through plain indexing of what the images show."""
    views = VIEWS["oblique" if oblique else "aligned"]
    generator = torch.Generator().manual_seed(seed)
    points = (torch.randint(-6, 7, (2, 30, 3), generator=generator) / 5).requires_grad_()
    colors = torch.rand(2, 30, 3, generator=generator, requires_grad=True)
    image = render_views(points, colors, torch.tensor([30, 11]), views, 6, footprint)
    weights = [torch.randn(part.shape, generator=generator) for part in (image.rgb, image.depth, image.xyz)]
    found = torch.autograd.grad(sum((w * p).sum() for w, p in zip(weights, parts(image)[:3], strict=True)), (points, colors))

    batch = torch.arange(2)[:, None, None, None]
    seen = image.mask[..., None]
    at = [torch.where(seen, values[batch, image.index.clamp(min=0)], 0.0) for values in (colors, points)]
    forward = views.axes()[:, 2][None, :, None, None]
    near = torch.tensor([view.near for view in views])[None, :, None, None]
    depth = torch.where(image.mask, (at[1] * forward).sum(-1) + near, -1.0)
    torch.testing.assert_close(depth, image.depth)
    plain = (at[0].movedim(-1, 2), depth, at[1].movedim(-1, 2))
    expected = torch.autograd.grad(sum((w * p).sum() for w, p in zip(weights, plain, strict=True)), (points, colors))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("by_points", [True, False])
@pytest.mark.parametrize("name", ["random", "lattice", "holes", "identical"])
def test_gradients_equal_the_references(name: str, by_points: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splat_operators, "points_look_for_pixels", lambda device: by_points)

    def gradients() -> tuple[Tensor, ...]:
        points, colors, lengths = clouds(name)
        leaves = points.requires_grad_(), colors.requires_grad_()
        image = render_views(*leaves, lengths, VIEWS["oblique"], 19, 2)
        generator = torch.Generator().manual_seed(1)
        loss = sum((torch.randn(part.shape, generator=generator) * part).sum() for part in parts(image)[:3])
        return torch.autograd.grad(loss, leaves)

    found = gradients()
    with reference_kernels():
        assert_same(found, gradients())
    assert any(gradient.abs().sum() > 0 for gradient in found)


def test_only_what_is_wanted_has_a_gradient() -> None:
    points, colors, lengths = clouds("random")
    image = render_views(points, colors.requires_grad_(), lengths, VIEWS["aligned"], 16)
    image.rgb.sum().backward()
    assert points.grad is None and colors.grad is not None
    assert colors.grad.sum() == 3 * image.mask.sum()
    with torch.no_grad():
        assert not render_views(points, colors, lengths, VIEWS["aligned"], 16).rgb.requires_grad


def test_operators_pass_torchs_checks() -> None:
    points, colors, lengths = clouds("random", 40)
    rest = (VIEWS["oblique"].numbers, 7, 2)
    arguments = points.requires_grad_(), colors.requires_grad_(), lengths, *rest
    torch.library.opcheck(torch.ops.vla3d.splat.default, arguments)
    rgb, depth, _, index = torch.ops.vla3d.splat(*arguments)
    pulled = rgb.detach(), depth.detach(), points.detach(), index, *rest
    torch.library.opcheck(torch.ops.vla3d.splat_backward.default, pulled)


def test_a_view_set_survives_as_numbers() -> None:
    views = VIEWS["oblique"]
    again = view_set_of(views.numbers)
    assert [(v.right, v.down, v.forward) for v in again] == [(v.right, v.down, v.forward) for v in views]
    assert again.axis_aligned == views.axis_aligned
