"""Rendering against a slow loop that is obviously right, and the laws of a z-buffer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vla3d.views import RenderedViews, ViewSet, project_to_views, render_views
from vla3d.views.view_set import VIEW_PRESETS

seeds = st.integers(0, 2**31 - 1)
view_names = st.lists(st.sampled_from(sorted(VIEW_PRESETS)), min_size=1, max_size=4, unique=True)
FIELDS = ("rgb", "depth", "xyz", "mask", "index")


def _cloud(seed: int, batch: int, count: int, kind: str = "uniform"):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, count, 3, generator=generator) * 2.2 - 1.1
    if kind == "lattice":  # pixel borders, the cube's faces, and many exact ties
        points = (points * 4).round() / 4
    if kind == "duplicates":
        points = points[:, torch.randint(0, max(1, count // 4), (count,), generator=generator)]
    if kind == "broken":
        bad = torch.tensor([math.nan, math.inf, -math.inf, 1e30])
        hit = torch.rand(points.shape, generator=generator) < 0.1
        points[hit] = bad[torch.randint(0, 4, (int(hit.sum()),), generator=generator)]
    colors = torch.rand(batch, count, 3, generator=generator)
    lengths = torch.randint(0, count + 1, (batch,), generator=generator)
    return points, colors, lengths


def _oracle(points, colors, lengths, views, resolution, footprint):
    """One cloud, one view, one point, one pixel at a time, in float32 scalars."""
    batch = len(points)
    depth = np.full((batch, len(views), resolution, resolution), np.inf, dtype=np.float32)
    index = np.full(depth.shape, -1)
    f32 = np.float32
    for b in range(batch):
        for v, view in enumerate(views):
            axes = [tuple(map(f32, axis)) for axis in (view.right, view.down, view.forward)]
            for n in range(int(lengths[b])):
                x, y, z = (f32(c) for c in points[b, n].tolist())
                if not (abs(x) <= 1 and abs(y) <= 1 and abs(z) <= 1):
                    continue
                right, down, ahead = ((x * a[0] + y * a[1]) + z * a[2] for a in axes)
                if abs(right) > 1 or abs(down) > 1:
                    continue
                column = min(math.floor((right + f32(1)) * f32(resolution / 2)), resolution - 1)
                row = min(math.floor((down + f32(1)) * f32(resolution / 2)), resolution - 1)
                distance = max(ahead + f32(view.near), f32(0))
                for i in range(max(0, row - footprint), min(resolution, row + footprint + 1)):
                    for j in range(max(0, column - footprint), min(resolution, column + footprint + 1)):
                        near_enough = (i - row) ** 2 + (j - column) ** 2 <= footprint**2
                        if near_enough and distance < depth[b, v, i, j]:  # strict: the lowest index keeps a tie
                            depth[b, v, i, j], index[b, v, i, j] = distance, n
    mask = index >= 0
    rgb, xyz = (np.zeros((batch, len(views), 3, resolution, resolution), dtype=np.float32) for _ in range(2))
    for b, v, i, j in np.argwhere(mask):
        rgb[b, v, :, i, j] = colors[b, index[b, v, i, j]]
        xyz[b, v, :, i, j] = points[b, index[b, v, i, j]]
    depth[~mask] = -1
    return RenderedViews(**{k: torch.from_numpy(a) for k, a in zip(FIELDS, (rgb, depth, xyz, mask, index), strict=True)})


def _assert_equal(got: RenderedViews, expected: RenderedViews) -> None:
    for field in FIELDS:
        assert torch.equal(getattr(got, field), getattr(expected, field)), field


@pytest.mark.parametrize("kind", ["uniform", "lattice", "duplicates", "broken"])
@given(seed=seeds, names=view_names, resolution=st.integers(1, 12), footprint=st.integers(0, 3))
def test_equals_the_slow_loop(kind, seed, names, resolution, footprint):
    footprint = min(footprint, resolution)
    points, colors, lengths = _cloud(seed, 2, 30, kind)
    views = ViewSet.from_names(names)
    got = render_views(points, colors, lengths, views, resolution, footprint)
    _assert_equal(got, _oracle(points, colors, lengths, views, resolution, footprint))


@given(seeds, st.integers(0, 2))
def test_batch_is_a_stack_of_singles(seed, footprint):
    points, colors, lengths = _cloud(seed, 3, 60)
    views = ViewSet.from_names(("top", "front", "right", "front_left"))
    together = render_views(points, colors, lengths, views, 16, footprint)
    for b in range(3):
        alone = render_views(points[b : b + 1], colors[b : b + 1], lengths[b : b + 1], views, 16, footprint)
        for field in FIELDS:
            assert torch.equal(getattr(together, field)[b : b + 1], getattr(alone, field)), field


@given(seeds)
def test_order_of_points_does_not_matter_without_ties(seed):
    points, colors, _ = _cloud(seed, 1, 200)
    lengths = torch.tensor([200])
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    views = ViewSet.from_names()
    first = render_views(points, colors, lengths, views, 16)
    second = render_views(points[:, order], colors[:, order], lengths, views, 16)
    assert torch.equal(first.depth, second.depth) and torch.equal(first.mask, second.mask)
    # Two points may share a depth by chance; elsewhere the very same point must be seen.
    unique = _depths_are_unique(first.depth, points, views)
    assert torch.equal(first.rgb[unique], second.rgb[unique]) and torch.equal(first.xyz[unique], second.xyz[unique])
    assert unique.float().mean() > 0.5


def _depths_are_unique(depth, points, views):
    """Per view, pixels as (B, V, 3, R, R) whose depth belongs to one point only."""
    forward = views.axes()[:, 2]
    all_depths = torch.einsum("bnc,vc->bvn", points, forward) + 1
    counts = (all_depths[:, :, :, None, None] - depth[:, :, None]).abs().lt(1e-6).sum(2)
    return (counts <= 1)[:, :, None].expand(-1, -1, 3, -1, -1)


def test_padding_never_shows():
    points, colors, lengths = _cloud(0, 2, 40)
    views = ViewSet.from_names()
    first = render_views(points, colors, lengths, views, 16)
    garbage = torch.arange(40) >= lengths[:, None]
    second = render_views(points.masked_fill(garbage[..., None], 0.0), colors, lengths, views, 16)
    _assert_equal(first, second)


def test_nearest_wins_and_ties_go_to_the_lowest_index():
    points = torch.tensor([[[0.0, 0, 0.2], [0, 0, 0.5], [0.01, 0.01, 0.5], [0, 0, -0.9]]])
    colors = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]])
    top = render_views(points, colors, torch.tensor([4]), ViewSet.from_names(("top",)), 4, footprint=0)
    rows, columns = torch.nonzero(top.mask[0, 0], as_tuple=True)
    # Points at exactly 0 fall on the border of pixels 1 and 2: half-open pixels put them into the later one.
    assert top.index[0, 0, 2, 2] == 1 and top.depth[0, 0, 2, 2] == 0.5
    assert top.index[0, 0, 1, 1] == 2
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(1, 1), (2, 2)]


@pytest.mark.parametrize(("footprint", "pixels"), [(0, 1), (1, 5), (2, 13)])
def test_footprint_is_a_disc(footprint, pixels):
    views = ViewSet.from_names(("top",))
    image = render_views(torch.zeros(1, 1, 3), torch.ones(1, 1, 3), torch.tensor([1]), views, 9, footprint)
    assert image.mask.sum() == pixels and image.rgb.sum() == 3 * pixels
    assert (image.depth[image.mask] == 1).all() and (image.depth[~image.mask] == -1).all()


@given(seed=seeds, radius=st.floats(0, 2), resolution=st.integers(1, 9))
def test_a_radius_covers_the_pixels_within_it(seed, radius, resolution):
    points = torch.rand(1, 1, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    image = render_views(
        points, torch.ones_like(points), torch.tensor([1]), ViewSet.from_names(("top",)), resolution, radius=radius
    )
    column, row = (min(math.floor((-c + 1) * resolution / 2), resolution - 1) for c in points[0, 0, [1, 0]].tolist())
    i, j = np.mgrid[:resolution, :resolution]
    expected = (i - row) ** 2 + (j - column) ** 2 <= (radius * resolution / 2) ** 2
    np.testing.assert_array_equal(image.mask[0, 0].numpy(), expected)


def test_a_radius_keeps_its_size_as_the_image_grows():
    points, colors, lengths = _cloud(0, 1, 5)
    views = ViewSet.from_names()
    for resolution, footprint in ((100, 1), (200, 2), (300, 3)):
        by_radius = render_views(points, colors, lengths, views, resolution, radius=0.02)
        _assert_equal(by_radius, render_views(points, colors, lengths, views, resolution, footprint))


@pytest.mark.parametrize("scale", [0.8, 2.4])
@given(radius=st.floats(0, 0.4))
def test_a_radius_in_metres_covers_what_lies_within_it(scale, radius):
    """A point in the world's origin; pixels of 2 / (41 scale) metres, one in its middle."""
    views = ViewSet.from_names(("top",))
    image = render_views(
        torch.zeros(1, 1, 3), torch.ones(1, 1, 3), torch.tensor([1]), views, 41, radius_metres=radius, scale=scale
    )
    i, j = np.mgrid[-20:21, -20:21] * (2 / (41 * scale))  # metres
    mask = image.mask[0, 0].numpy()
    assert mask[np.hypot(i, j) <= radius].all() and not mask[np.hypot(i, j) > radius * 1.000001].any()


def test_a_size_may_be_said_for_each_cloud():
    points, colors, lengths = _cloud(3, 3, 40)
    scales, views = torch.tensor([1.0, 2.0, 1.0]), ViewSet.from_names()
    points, colors = points.requires_grad_(), colors.requires_grad_()
    image = render_views(points, colors, lengths, views, 20, radius_metres=0.1, scale=scales)
    for b, footprint in enumerate((1, 2, 1)):
        alone = render_views(points[b : b + 1], colors[b : b + 1], lengths[b : b + 1], views, 20, footprint)
        for field in FIELDS:
            assert torch.equal(getattr(image, field)[b], getattr(alone, field)[0]), field
    image.xyz.sum().backward()
    assert points.grad.abs().sum() == 3 * image.mask.sum()
    nothing = render_views(points[:0], colors[:0], lengths[:0], views, 20, radius_metres=0.1, scale=scales[:0])
    assert nothing.rgb.shape == (0, 3, 3, 20, 20)


def test_faces_of_the_cube_are_inside():
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)[None]
    views = ViewSet.from_names(("top", "front", "right", "left", "back"))
    image = render_views(corners, torch.ones_like(corners), torch.tensor([8]), views, 5, 0)
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[::4, ::4] = True
    assert (image.mask == expected).all() and (image.depth[image.mask] == 0).all()
    beyond = corners * torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert not render_views(beyond, torch.ones_like(corners), torch.tensor([8]), views, 5, 0).mask.any()


@given(seeds)
def test_seen_points_project_into_their_pixel(seed):
    points, colors, lengths = _cloud(seed, 2, 50)
    views = ViewSet.from_names(("top", "front", "right", "front_right"))
    image = render_views(points, colors, lengths, views, 10, footprint=0)
    for b, v, i, j in torch.nonzero(image.mask).tolist():
        x, y = project_to_views(image.xyz[b, v, :, i, j].view(1, 1, 3), views, 10)[0, 0, v].tolist()
        assert j <= x <= j + 1 and i <= y <= i + 1


@pytest.mark.parametrize(("batch", "count"), [(0, 5), (2, 0), (0, 0)])
def test_empty_clouds_are_black(batch, count):
    views = ViewSet.from_names()
    empty = torch.zeros(batch, count, 3)
    image = render_views(empty, empty, torch.zeros(batch, dtype=torch.long), views, 8)
    assert image.rgb.shape == (batch, 3, 3, 8, 8) and not image.mask.any()
    assert (image.depth == -1).all() and (image.index == -1).all() and (image.xyz == 0).all()


def test_layouts_and_types_do_not_matter():
    points, colors, lengths = _cloud(5, 2, 64)
    views = ViewSet.from_names()
    strided = points.transpose(0, 1).contiguous().transpose(0, 1)
    wide = torch.cat((colors, colors), -1)[..., 3:].requires_grad_()
    expected = render_views(points, colors, lengths, views, 16)
    _assert_equal(render_views(strided, wide, lengths.int(), views, 16), expected)
    twice = render_views(points[:1].expand(2, -1, -1), colors[:1].expand(2, -1, -1), lengths[:1].expand(2), views, 16)
    for field in FIELDS:
        assert torch.equal(getattr(twice, field)[1], getattr(expected, field)[0]), field
    for half in (torch.float16, torch.bfloat16):
        rounded = points.to(half), colors.to(half)
        widened = render_views(rounded[0].float(), rounded[1].float(), lengths, views, 16)
        _assert_equal(render_views(*rounded, lengths, views, 16), widened)


@pytest.mark.wrong_shapes
def test_refusals():
    points, lengths = torch.zeros(2, 4, 3), torch.tensor([4, 4])
    views = ViewSet.from_names()
    with pytest.raises(ValueError, match="expected \\(B, N, 3\\)"):
        render_views(points[0], points[0], lengths, views, 8)
    with pytest.raises(ValueError, match="expected \\(B, N, 3\\)"):
        render_views(points, points, torch.tensor([4]), views, 8)
    with pytest.raises(ValueError, match="float32"):
        render_views(points.double(), points, lengths, views, 8)
    with pytest.raises(ValueError, match="whole numbers"):
        render_views(points, points, lengths.float(), views, 8)
    with pytest.raises(ValueError, match="resolution"):
        render_views(points, points, lengths, views, 0)
    with pytest.raises(ValueError, match="footprint: got -1, expected 0"):
        render_views(points, points, lengths, views, 8, -1)
    with pytest.raises(ValueError, match=r"footprint: got 9, expected .* to 8"):
        render_views(points, points, lengths, views, 8, 9)
    with pytest.raises(ValueError, match=r"radius: got 0.1 beside footprint 1, expected one of the two"):
        render_views(points, points, lengths, views, 8, 1, radius=0.1)
    for radius in (-0.1, 2.1, math.nan):
        with pytest.raises(ValueError, match=r"radius: got .*, expected 0 to 2"):
            render_views(points, points, lengths, views, 8, radius=radius)
    for size, complaint in (
        ({"radius_metres": 0.1}, "radius_metres: got 0.1 without scale"),
        ({"scale": 1.0}, "scale: got one without radius_metres"),
        ({"radius_metres": 0.1, "radius": 0.1, "scale": 1.0}, "radius_metres: got 0.1 beside radius 0.1"),
        ({"radius_metres": math.nan, "scale": 1.0}, "radius_metres: got nan, expected 0 to 2 "),
        ({"radius_metres": 0.1, "scale": 0.0}, "scale: got 0.0, expected a positive"),
        ({"radius_metres": 0.1, "scale": torch.tensor([1.0, 2.0, 3.0])}, "scale: got 3 numbers, expected one"),
    ):
        with pytest.raises(ValueError, match=complaint):
            render_views(points, points, lengths, views, 8, **size)
    with pytest.raises(ValueError, match="lengths on meta; expected one device"):
        render_views(points, points, lengths.to("meta"), views, 8)
