"""Every operation on a GPU: the same bits as on a CPU, on any stream, in a graph, without waiting. Needs a CUDA device."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vla3d.kernels.clusters import cluster_kernels
from vla3d.pointcloud import ball_query, farthest_point_sampling, gather_points, knn, voxel_downsample
from vla3d.pointcloud.kernels import cluster_sampling
from vla3d.views import (
    RenderedViews,
    ViewSet,
    lift_candidates,
    lift_expectation,
    lift_heatmaps,
    lift_rvt2_heatmaps,
    render_frames,
    render_rvt2_views,
    render_views,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "pointcloud"))
from cloud_cases import CLOUDS

pytestmark = pytest.mark.gpu

GPU = torch.device("cuda")
COUNT = 900
Result = Tensor | tuple[Tensor, ...]

AXIS_ALIGNED = ViewSet.from_names()
OBLIQUE = ViewSet.from_names(("top", "front_left", "front_right"))


def _voxels(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    voxels = voxel_downsample(points, 0.25, lengths, values=points * 2)
    assert voxels.lengths is not None and voxels.values is not None
    return voxels.points, voxels.lengths, voxels.count, voxels.index, voxels.values


def _gather(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """Values of neighbours, and the gradient that they send back."""
    values = torch.ones_like(points, requires_grad=True)
    index = knn(points, points, 4, lengths, lengths)[1]
    gathered = gather_points(values, index)
    weight = torch.arange(gathered.numel(), device=points.device).view_as(gathered) % 7 / 3
    return gathered.detach(), torch.autograd.grad((gathered * weight).sum(), values)[0]


def _knn_gradient(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    queries, others = points.clone().requires_grad_(), points.clone().requires_grad_()
    distance, index = knn(queries, others, 4, lengths, lengths)
    near = distance.detach().isfinite() & (index >= 0)
    return torch.autograd.grad(torch.where(near, distance, 0.0).sum(), (queries, others))


def _voxel_gradient(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    leaf, values = points.clone().requires_grad_(), torch.ones_like(points, requires_grad=True)
    voxels = voxel_downsample(leaf, 0.25, lengths, values=values)
    assert voxels.values is not None
    weight = torch.arange(voxels.points.numel(), device=points.device).view_as(voxels.points) % 7 / 3
    return torch.autograd.grad((voxels.points * weight).sum() + (voxels.values * weight).sum(), (leaf, values))


def _packed(points: Tensor) -> tuple[Tensor, Tensor]:
    """The same clouds one after the other, with an empty one between them."""
    batch, size = points.shape[:2]
    offsets = torch.arange(batch + 2, device=points.device)
    return points.flatten(0, 1), (offsets - (offsets > 1).long()) * size


def _packed_voxels(points: Tensor) -> tuple[Tensor, ...]:
    flat, offsets = _packed(points)
    voxels = voxel_downsample(flat, 0.25, offsets=offsets)
    assert voxels.offsets is not None
    return voxels.points, voxels.offsets, voxels.count, voxels.index


def _packed_neighbours(points: Tensor) -> tuple[Tensor, ...]:
    flat, offsets = _packed(points)
    sets = {"query_offsets": offsets, "offsets": offsets}
    return *knn(flat, flat, 16, **sets), *ball_query(flat, flat, 0.3, 32, **sets)


def _images(seen: RenderedViews) -> tuple[Tensor, ...]:
    return seen.rgb, seen.depth, seen.xyz, seen.mask, seen.index


def _render(points: Tensor, lengths: Tensor, views: ViewSet, footprint: int = 1) -> tuple[Tensor, ...]:
    colors = points.nan_to_num(0.0, 0.0, 0.0).abs().clamp(max=1)
    return _images(render_views(points, colors, lengths, views, 32, footprint))


def _render_in_metres(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    return _images(render_views(points / 2, points, lengths, AXIS_ALIGNED, 32, radius_metres=0.2, scale=0.5))


def _render_gradient(points: Tensor, lengths: Tensor, views: ViewSet, footprint: int) -> tuple[Tensor, ...]:
    """What images send back to points and colours: summed by the points on CUDA, by the pixels on a CPU."""
    leaf, colors = points.clone().requires_grad_(), torch.ones_like(points, requires_grad=True)
    seen = render_views(leaf, colors, lengths, views, 32, footprint)
    weight = torch.arange(seen.rgb.numel(), device=points.device).view_as(seen.rgb) % 7 / 3
    total = ((seen.rgb + seen.xyz) * weight).sum() + (seen.depth * weight[:, :, 0]).sum()
    return torch.autograd.grad(total, (leaf, colors))


def _render_frames(points: Tensor) -> tuple[Tensor, ...]:
    """The coordinates as the depth image of one camera, three pixels wide."""
    depth, eye = points[:, None], torch.eye(4, device=points.device).expand(len(points), 1, 4, 4)
    rgb = torch.full((*depth.shape, 3), 200, dtype=torch.uint8, device=points.device)
    low, high = (torch.full((3,), bound, device=points.device) for bound in (0.0, 50.0))
    return _images(render_frames(rgb, depth, eye[..., :3, :3], eye, low, high, OBLIQUE, 8))


def _heatmaps(points: Tensor) -> Tensor:
    """Three maps of 16 pixels a side for each cloud, with equal values where the cloud has them."""
    return points.nan_to_num(0.0, 0.0, 0.0).flatten(1)[:, : 3 * 16 * 16].view(-1, 3, 16, 16)


# One line for each operation: of padded clouds with lengths.
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Result]] = {
    "farthest_point_sampling": lambda points, lengths: farthest_point_sampling(points, 100, lengths),
    "knn": lambda points, lengths: knn(points[:, ::3], points, 16, lengths // 3, lengths),
    "ball_query": lambda points, lengths: ball_query(points[:, ::3], points, 0.3, 32, lengths // 3, lengths),
    "ball_query, nearest": lambda points, lengths: ball_query(
        points[:, ::3], points, 0.3, 32, lengths // 3, lengths, order="nearest", pad="repeat"
    ),
    "voxel_downsample": _voxels,
    "gather_points": _gather,
    "voxel_downsample, gradient": _voxel_gradient,
    "farthest_point_sampling, packed": lambda points, lengths: farthest_point_sampling(
        _packed(points)[0], 50, offsets=_packed(points)[1]
    ),
    "knn and ball_query, packed": lambda points, lengths: _packed_neighbours(points),
    "voxel_downsample, packed": lambda points, lengths: _packed_voxels(points),
    "render_views": lambda points, lengths: _render(points, lengths, AXIS_ALIGNED),
    "render_views, footprint 3": lambda points, lengths: _render(points, lengths, AXIS_ALIGNED, 3),
    "render_views, oblique": lambda points, lengths: _render(points, lengths, OBLIQUE),
    "render_views, metres": _render_in_metres,
    "render_views, gradient": lambda points, lengths: _render_gradient(points, lengths, AXIS_ALIGNED, 1),
    "render_views, oblique gradient": lambda points, lengths: _render_gradient(points, lengths, OBLIQUE, 2),
    "render_rvt2_views": lambda points, lengths: _images(render_rvt2_views(points, points, lengths, 32)),
    "lift_rvt2_heatmaps": lambda points, lengths: lift_rvt2_heatmaps(_heatmaps(points)),
    "lift_heatmaps": lambda points, lengths: lift_heatmaps(_heatmaps(points), AXIS_ALIGNED),
    "lift_heatmaps, oblique": lambda points, lengths: lift_heatmaps(_heatmaps(points), OBLIQUE),
    "lift_candidates": lambda points, lengths: lift_candidates(_heatmaps(points), AXIS_ALIGNED, 3, 1),
    # These are made of torch's own sums and products, which round otherwise on another device.
    "render_frames": lambda points, lengths: _render_frames(points),
    "lift_expectation": lambda points, lengths: lift_expectation(_heatmaps(points).abs(), AXIS_ALIGNED),
    "knn, gradient": _knn_gradient,
}
ROUNDED = {"render_frames", "lift_expectation", "knn, gradient"}

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))


def clouds(name: str, device: torch.device, count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Three clouds of different lengths, one of them empty."""
    points = torch.stack([CLOUDS[name](count, seed) for seed in range(3)])
    size = points.shape[1]
    return points.to(device), torch.tensor([size, size // 2, 0], device=device)


def parts(result: Result) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def assert_same(one: Result, other: Result) -> None:
    for number, (a, b) in enumerate(zip(parts(one), parts(other), strict=True)):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=0, atol=0, equal_nan=True, msg=lambda text, n=number: f"{n}: {text}")


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in ROUNDED])
def test_gpu_equals_cpu(operation: str, name: str) -> None:
    run = OPERATIONS[operation]
    assert_same(run(*clouds(name, GPU)), run(*clouds(name, torch.device("cpu"))))


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("operation", sorted(ROUNDED))
def test_gpu_is_close_to_cpu(operation: str, name: str) -> None:
    """All but a few numbers: a point that is rounded over the border of a pixel is seen in another."""
    results = (OPERATIONS[operation](*clouds(name, torch.device(device))) for device in ("cuda", "cpu"))
    for one, other in zip(*map(parts, results), strict=True):
        close = torch.isclose(one.cpu().double(), other.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        assert close.numel() == 0 or close.double().mean() > 0.99


@every_operation
def test_repeats_are_identical(operation: Callable[[Tensor, Tensor], Result]) -> None:
    inputs = clouds("duplicates", GPU)
    expected = operation(*inputs)
    for _ in range(20):
        assert_same(operation(*inputs), expected)


@every_operation
def test_runs_in_the_current_stream(operation: Callable[[Tensor, Tensor], Result]) -> None:
    points, lengths = clouds("random", GPU)
    expected = operation(points, lengths)
    late = torch.full_like(points, torch.nan)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a tenth of a second, in which other streams would read what is not there yet
        late.copy_(points)
        result = operation(late, lengths)
    stream.synchronize()
    assert_same(result, expected)


@every_operation
def test_does_not_wait_for_the_gpu(operation: Callable[[Tensor, Tensor], Result]) -> None:
    inputs = clouds("random", GPU)
    expected = operation(*inputs)  # compiles, and fills caches
    with waiting_is_an_error():
        result = operation(*inputs)
    assert_same(result, expected)


@every_operation
def test_can_be_captured_in_a_graph(operation: Callable[[Tensor, Tensor], Result]) -> None:
    points, lengths = clouds("random", GPU)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        operation(points, lengths)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = operation(points, lengths)
    for name in ("random", "holes", "duplicates"):
        other, _ = clouds(name, GPU)
        points.copy_(other)
        graph.replay()
        assert_same(result, operation(other, lengths))


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("shape", cluster_sampling.SHAPES, ids=str)
def test_sampling_in_clusters_equals_sampling_without(name: str, shape: cluster_sampling.ClusterShape) -> None:
    if torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("thread-block clusters begin with compute capability 9.0")
    for count in (shape.capacity // 8, shape.capacity - 5):
        points, lengths = clouds(name, GPU, count)
        points = points[:, : shape.capacity].contiguous()  # a lattice rounds its size, maybe upward
        lengths = lengths.clamp(max=points.shape[1])
        first = torch.tensor([3, count, 5], device=GPU)
        for k in (1, 200, 1025):
            expected = farthest_point_sampling(points, k, lengths, first=first)
            with cluster_kernels():
                assert_same(farthest_point_sampling(points, k, lengths, first=first), expected)
