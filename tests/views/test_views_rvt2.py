"""The renderer of RVT-2: its rules by hand, a slow loop that follows them, and the kernel bit for bit the torch reference."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.kernels.operators import reference_kernels
from vla3d.views import RVT2_VIEWS, RenderedViews, render_rvt2_views, rvt2_bytes, rvt2_channels, rvt2_colors, rvt2_operator

sys.path.insert(0, str(Path(__file__).parents[1] / "pointcloud"))
from cloud_cases import CLOUDS

seeds = st.integers(0, 2**31 - 1)
TOP, FRONT, RIGHT = range(3)
FIELDS = ("rgb", "depth", "xyz", "mask", "index")


def parts(image: RenderedViews) -> tuple[Tensor, ...]:
    return tuple(getattr(image, field) for field in FIELDS)


def assert_same(one: RenderedViews, other: RenderedViews) -> None:
    for field, a, b in zip(FIELDS, parts(one), parts(other), strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b), field


def render(points: list[list[float]], resolution: int = 224) -> RenderedViews:
    """One cloud; the colour tells the number of the point."""
    cloud = torch.tensor([points])
    colors = torch.arange(1, cloud.shape[1] + 1)[None, :, None].expand(-1, -1, 3) / 100
    return render_rvt2_views(cloud, colors, torch.tensor([cloud.shape[1]]), resolution)


def shown(image: RenderedViews, view: int) -> dict[tuple[int, int], int]:
    """Which point is seen at (column, row) of a view."""
    index = image.index[0, view]
    return {(column, row): int(index[row, column]) for row, column in (index >= 0).nonzero().tolist()}


def plus(column: int, row: int, point: int = 0) -> dict[tuple[int, int], int]:
    return {(column + x, row + y): point for x, y in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))}


def thousandths(count: int) -> float:
    return float(np.float32(count) * np.float32(0.001))


def test_one_point_in_three_views() -> None:
    image = render([[0.25, -0.5, 0.125]])
    # 112 x + 112 and 112 - 112 y; 112 y + 112 and 112 - 112 z; 112 - 112 x and 112 - 112 z.
    for view, (column, row), depth in ((TOP, (140, 168), 875), (FRONT, (56, 98), 750), (RIGHT, (84, 98), 1000)):
        assert shown(image, view) == plus(column, row)
        assert image.depth[0, view, row, column].item() == thousandths(depth)
        assert image.depth[0, view, 0, 0] == -1 and not image.mask[0, view, 0, 0]
        assert image.rgb[0, view, :, row, column].tolist() == pytest.approx([0.01] * 3)
        assert image.xyz[0, view, :, row, column].tolist() == [0.25, -0.5, 0.125]
    assert image.rgb[0, TOP, :, 0, 0].tolist() == [0.0] * 3


def test_the_near_border_is_in_and_the_far_one_is_out() -> None:
    # x = -1 is the column 0 of "top" and would be the column 224 of the mirrored "right".
    low, high = render([[-1.0, 0.0, 0.0]]), render([[1.0, 0.0, 0.0]])
    assert shown(low, TOP) == {place: 0 for place in plus(0, 112) if place[0] >= 0}
    assert shown(low, RIGHT) == {} and shown(high, TOP) == {}
    assert shown(high, RIGHT) == {place: 0 for place in plus(0, 112) if place[0] >= 0}
    # Cut to whole numbers, -0.5 would be pixel 0.
    assert shown(render([[-1.0 - 0.5 / 112, 0.0, 0.0]]), TOP) == {}


def test_points_behind_a_camera_hide_all_others_and_do_not_spread() -> None:
    # Seen from the right camera at y = 0.5: behind it, right before it, and before it beside the first one.
    image = render([[0.0, 0.5, 0.0], [0.0, 0.75, 0.0], [0.0, 0.25, 0.0], [-0.01, 0.375, 0.0]])
    assert shown(image, RIGHT)[112, 112] == 0, "equally near: the lowest index"
    assert image.depth[0, RIGHT, 112, 112] == 0
    # Point 3 lies one column to the right and covers its neighbours, but not the pixel of depth 0.
    assert shown(image, RIGHT) == {(112, 112): 0, **{place: 3 for place in plus(113, 112) if place != (112, 112)}}


def test_points_outside_the_cube_are_drawn() -> None:
    image = render([[0.0, 0.0, -5.0], [0.25, 0.0, 1.5]])
    assert shown(image, TOP) == {**plus(112, 112, 0), (140, 112): 1}
    assert image.depth[0, TOP, 112, 112].item() == thousandths(6000)
    assert shown(image, FRONT) == {}


def test_of_equally_near_neighbours_the_last_of_the_scan_is_seen() -> None:
    # Two pixels side by side: each point keeps its own pixel, save that the left one shows its right neighbour.
    image = render([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0]])
    assert shown(image, TOP) == {**plus(112, 112, 0), **plus(113, 112, 1)}
    # One above the other: down comes after the pixel itself, so the upper one shows the lower one.
    image = render([[0.0, 0.0, 0.0], [0.0, -0.01, 0.0]])
    assert shown(image, TOP) == {**plus(112, 112, 0), **plus(112, 113, 1)}
    # The same, whatever the order of the points.
    image = render([[0.0, -0.01, 0.0], [0.0, 0.0, 0.0]])
    assert shown(image, TOP) == {**plus(112, 112, 1), **plus(112, 113, 0)}
    # The nearer one wins against the order.
    image = render([[0.0, 0.0, 0.01], [0.01, 0.0, 0.0]])
    assert shown(image, TOP) == {**plus(113, 112, 1), **plus(112, 112, 0)}


def test_depth_is_compared_in_whole_thousandths() -> None:
    # 0.99951 and 0.9994 are both 999: the first wins though the second is nearer. 0.9989 is 998.
    image = render([[0.0, 0.0, 0.00049], [0.0, 0.0, 0.0006]])
    assert set(shown(image, TOP).values()) == {0}
    assert image.depth[0, TOP, 112, 112].item() == thousandths(999)
    image = render([[0.0, 0.0, 0.00049], [0.0, 0.0, 0.0011]])
    assert set(shown(image, TOP).values()) == {1}
    # A depth below one thousandth is 0, and does not spread.
    assert shown(render([[0.0, 0.0, 0.9995]]), TOP) == {(112, 112): 0}


def test_depth_ends_at_four_thousand() -> None:
    image = render([[0.0, 0.0, -9000.0], [0.0, 0.0, -5000.0], [0.5, 0.0, -3e38]])
    assert image.depth[0, TOP, 112, 112].item() == image.depth[0, TOP, 112, 168].item() == thousandths(4_000_000)
    assert shown(image, TOP)[112, 112] == 0
    # Up to there, different thousandths are different floats.
    assert (np.diff(np.arange(4_000_001, dtype=np.float32) * np.float32(0.001)) > 0).all()


Buffer = dict[tuple[int, int], tuple[int, int]]  # (column, row) to (thousandths, point)


def drawn(cloud: Tensor, resolution: int) -> tuple[Buffer, Buffer, Buffer]:
    """The nearest point of each pixel of each view, one point after the other, in float32 scalars."""
    f32, half = np.float32, np.float32(resolution / 2)
    buffers: tuple[Buffer, Buffer, Buffer] = ({}, {}, {})
    for n, point in enumerate(cloud.tolist()):
        if not all(map(math.isfinite, point)):
            continue
        x, y, z = map(f32, point)
        places = (x, -y, f32(1) - z), (y, -z, f32(1) - x), (-x, -z, f32(0.5) - y)
        for buffer, (right, down, ahead) in zip(buffers, places, strict=True):
            column, row = right * half + half, down * half + half
            if 0 <= column < resolution and 0 <= row < resolution:
                cell, key = (int(column), int(row)), (max(int(ahead * f32(1000)), 0), n)
                buffer[cell] = min(buffer.get(cell, key), key)
    return buffers


def seen_at(buffer: Buffer, column: int, row: int) -> tuple[int, int] | None:
    """What a pixel shows after a scan of the 25 pixels around it."""
    best = None
    for dx in (-2, -1, 0, 1, 2):
        for dy in (-2, -1, 0, 1, 2):
            key = buffer.get((column + dx, row + dy))
            if key is None or math.hypot(dx, dy) > 1.344 or (key[0] == 0 and (dx, dy) != (0, 0)):
                continue
            if best is None or key[0] <= best[0]:
                best = key
    return best


def oracle(points: Tensor, colors: Tensor, lengths: Tensor, resolution: int) -> RenderedViews:
    """One cloud, one view, one pixel at a time."""
    shape = len(points), 3, resolution, resolution
    rgb, xyz = (torch.zeros(len(points), 3, 3, resolution, resolution) for _ in range(2))
    depth, index = torch.full(shape, -1.0), torch.full(shape, -1)
    for b, length in enumerate(lengths.tolist()):
        for v, buffer in enumerate(drawn(points[b, :length], resolution)):
            for row, column in np.ndindex(resolution, resolution):
                if (best := seen_at(buffer, column, row)) is not None:
                    depth[b, v, row, column], index[b, v, row, column] = thousandths(best[0]), best[1]
                    rgb[b, v, :, row, column], xyz[b, v, :, row, column] = colors[b, best[1]], points[b, best[1]]
    return RenderedViews(rgb=rgb, depth=depth, xyz=xyz, mask=index >= 0, index=index)


@pytest.mark.parametrize("kind", ["uniform", "lattice", "broken"])
@given(seed=seeds, resolution=st.integers(1, 9))
def test_equals_the_slow_loop(kind: str, seed: int, resolution: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(2, 25, 3, generator=generator) * 2.4 - 1.2
    if kind == "lattice":  # pixel borders, cameras and ties
        points = (points * 4).round() / 4
    if kind == "broken":
        hit = torch.rand(points.shape, generator=generator) < 0.1
        bad = torch.tensor([math.nan, math.inf, -math.inf, -1000.0])
        points[hit] = bad[torch.randint(0, 4, (int(hit.sum()),), generator=generator)]
    colors = torch.rand(2, 25, 3, generator=generator)
    lengths = torch.randint(0, 26, (2,), generator=generator)
    expected = oracle(points, colors, lengths, resolution)
    assert_same(render_rvt2_views(points, colors, lengths, resolution), expected)
    with reference_kernels():
        assert_same(render_rvt2_views(points, colors, lengths, resolution), expected)


def clouds(name: str, count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Three clouds of different lengths, one of them empty."""
    points = torch.stack([CLOUDS[name](count, seed) for seed in range(3)])
    size = points.shape[1]
    if name in ("lattice", "millimetres"):
        points = points / (8 if name == "lattice" else 900)
    colors = torch.rand(points.shape, generator=torch.Generator().manual_seed(0))
    return points, colors, torch.tensor([size, size // 2, 0])


@pytest.mark.parametrize("name", CLOUDS)
def test_equals_the_reference(name: str) -> None:
    image = render_rvt2_views(*clouds(name), 19)
    with reference_kernels():
        assert_same(image, render_rvt2_views(*clouds(name), 19))


def test_one_thread_a_point_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # The grid of CUDA, run in the order of a CPU.
    expected = render_rvt2_views(*clouds("random"), 23)
    monkeypatch.setattr(rvt2_operator, "work_of_a_thread", lambda *sizes: (1, 1))
    assert_same(render_rvt2_views(*clouds("random"), 23), expected)


@pytest.mark.parametrize("most", [2**31 - 1, 1])
def test_sharing_the_batch_gives_the_same(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = render_rvt2_views(*clouds("random"), 23)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(rvt2_operator, "_MOST_ELEMENTS", most)
    try:
        assert_same(render_rvt2_views(*clouds("random"), 23), expected)
    finally:
        torch.set_num_threads(before)


def test_any_layout_and_precision() -> None:
    points, colors, lengths = clouds("random")
    expected = render_rvt2_views(points, colors, lengths, 16)
    wide = torch.zeros(3, 400, 7)
    wide[..., 1:4], wide[..., 4:] = points, colors
    assert_same(render_rvt2_views(wide[..., 1:4], wide[..., 4:], lengths.int(), 16), expected)
    for half in (torch.float16, torch.bfloat16):
        image = render_rvt2_views(points.to(half), colors.to(half), lengths, 16)
        assert_same(image, render_rvt2_views(points.to(half).float(), colors.to(half).float(), lengths, 16))
    one = render_rvt2_views(points[:1].expand(2, -1, -1), colors[:1].expand(2, -1, -1), lengths[:1].expand(2), 16)
    assert torch.equal(one.index, expected.index[:1].expand(2, -1, -1, -1))


@pytest.mark.parametrize(("batch", "count"), [(0, 5), (2, 0), (0, 0)])
def test_empty_clouds(batch: int, count: int) -> None:
    nothing = torch.zeros(batch, count, 3)
    lengths = torch.full((batch,), count)
    image = render_rvt2_views(nothing, nothing, lengths, 6)
    assert image.rgb.shape == (batch, 3, 3, 6, 6) and not image.mask.any() and (image.depth == -1).all()
    assert rvt2_channels(image, nothing, lengths).shape == (batch, 3, 7, 6, 6)


def test_channels() -> None:
    points = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.0, -3.0], [math.nan, 9.0, 0.0], [0.0, 0.0, 7.0]], [[0.0, 2.0, 2.0]] * 4])
    lengths = torch.tensor([3, 4])
    image = render_rvt2_views(points, torch.ones_like(points), lengths)
    channels = rvt2_channels(image, points, lengths)
    assert torch.equal(channels[:, :, 3:6], image.rgb)
    # The largest coordinate is the -3 of a point that only "top" shows; what is not a number or not real has no say.
    assert torch.equal(channels[0, :, :3], image.xyz[0] / 3)
    # "top" sees five pixels of depth 1 and five of depth 4; "front" sees a single depth; the second cloud is in no view.
    depth = channels[0, TOP, 6]
    assert depth[112, 168].item() == pytest.approx(-1.5) and depth[112, 112].item() == pytest.approx(1.5)
    assert channels[0, FRONT, 6, 112, 112].item() == pytest.approx(0) and depth[0, 0] == -1
    assert (channels[1, :, 6] == -1).all() and (channels[1, :, :6] == 0).all()


def test_colors_by_way_of_minus_one_to_one() -> None:
    values = torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, 3)
    colors = rvt2_colors(values)
    torch.testing.assert_close(colors, values / 255, rtol=0, atol=1e-7)
    lost = values.int() - rvt2_bytes(colors).int()
    assert set(lost.unique().tolist()) == {0, 1}, "cutting off what was rounded down loses one"
    assert lost[0, 0] == lost[255, 0] == 0


def test_the_views_are_right_handed_cameras() -> None:
    assert RVT2_VIEWS.names == ("top", "front", "right") and RVT2_VIEWS.axis_aligned
    assert [view.right for view in RVT2_VIEWS] == [(1, 0, 0), (0, 1, 0), (-1, 0, 0)]
    assert [view.forward for view in RVT2_VIEWS] == [(0, 0, -1), (-1, 0, 0), (0, -1, 0)]


def test_no_gradients() -> None:
    points, colors, lengths = clouds("random")
    assert not any(part.requires_grad for part in parts(render_rvt2_views(points, colors.requires_grad_(), lengths, 8)))


@pytest.mark.wrong_shapes
def test_what_does_not_fit_is_named() -> None:
    points, lengths = torch.zeros(2, 5, 3), torch.zeros(2, dtype=torch.int64)
    for arguments, name in (
        ((points[0], points[0], lengths), "clouds"),
        ((points, points[:, 1:], lengths), "clouds"),
        ((points.double(), points, lengths), "float32"),
        ((points, points, lengths.float()), "lengths"),
        ((points, points, lengths, 0), "resolution"),
    ):
        with pytest.raises(ValueError, match=name):
            render_rvt2_views(*arguments)
    with pytest.raises(ValueError, match="rgb"):
        rvt2_colors(points)


def test_the_operator_passes_torchs_checks() -> None:
    torch.library.opcheck(torch.ops.vla3d.splat_rvt2.default, (*clouds("random", 40), 7))
