"""The best point of the cube for a set of heatmaps, in plain torch, exact and deterministic.

Candidates are the centres of a grid of ``G^3`` voxels, numbered with x slowest and z fastest along the positive axes. The
score of a candidate is the mean over views of the heat at its projection (bilinear between pixel centres, constant beyond the
outermost centres); the first of the best candidates wins.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.views.projection import project_to_views, to_pixel
from vla3d.views.view_set import ViewSet, coordinate_of

PLANES = ((0, 1), (0, 2), (1, 2))
_REFINE_RADIUS = 3  # voxels; two sigma of the usual target
_REFINE_ROUNDS = 2  # the second starts from the first one's point: less truncation, and oblique views couple the axes

Best = tuple[Int64[Tensor, "B"], Float[Tensor, "B"]]
Planes = Float[Tensor, "3 B G G"]


def voxel_centers(index: Int64[Tensor, "*batch"], grid: int) -> Float[Tensor, "*batch 3"]:
    """Cube coordinates of numbered voxels."""
    return _centers(voxel_cells(index, grid), grid)


def voxel_cells(index: Int64[Tensor, "*batch"], grid: int) -> Int64[Tensor, "*batch 3"]:
    """Place of numbered voxels along each axis."""
    return torch.stack((index // (grid * grid), index // grid % grid, index % grid), dim=-1)


def best_voxel(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int, chosen: Int64[Tensor, "B K"], radius: int
) -> Best:
    """Best voxel and its score, leaving out those that are at most ``radius`` voxels from a chosen one along every axis.

    Args:
        heatmaps: of all views.
        views: the cameras.
        grid: voxels per edge.
        chosen: numbers of voxels, -1 for none.
        radius: in voxels.

    Returns:
        Voxel, -1 where none is left, and score, minus infinity there.
    """
    lift = lift_separable if views.axis_aligned else lift_general
    index, score = lift(heatmaps, views, grid, chosen, radius)
    return index.masked_fill(score == -torch.inf, -1), score


def lift_separable(
    heatmaps: Float[Tensor, "B V R R"],
    views: ViewSet,
    grid: int,
    chosen: Int64[Tensor, "B K"] | None = None,
    radius: int = 0,
) -> Best:
    """Best voxel and its score for views along coordinate axes.

    The heat of such a view depends on two coordinates only, so the score is ``xy(x, y) + xz(x, z) + yz(y, z)`` and its maximum
    a max-plus matrix product: no candidate is ever projected.
    """
    planes = plane_maps(heatmaps, views, grid)
    maxima = _slab_maxima(planes, chosen, radius)
    return first_of_slabs(maxima, planes, chosen, radius, len(views))


def _slab_maxima(planes: Planes, chosen: Int64[Tensor, "B K"] | None, radius: int) -> Float[Tensor, "B G"]:
    """Largest ``xy(x, y) + xz(x, z) + yz(y, z)`` for each ``x``."""
    grid = planes.shape[-1]
    samples = max(1, _chunk(planes) // grid**2)
    parts = []
    for begin in range(0, max(1, planes.shape[1]), samples):  # an empty batch is one empty part
        xy, xz, yz = planes[:, begin : begin + samples]
        step = max(1, _chunk(planes) // max(1, len(xy) * grid * grid))
        boxes = None if chosen is None else chosen[begin : begin + samples]
        slabs = []
        for x in range(0, grid, step):
            score = (xy[:, x : x + step, :, None] + xz[:, x : x + step, None, :]) + yz[:, None]
            number = torch.arange(x, min(x + step, grid), device=planes.device).expand(len(xy), -1)
            slabs.append(_suppress(score, number, boxes, radius).flatten(2).amax(-1))
        parts.append(torch.cat(slabs, dim=1))
    return torch.cat(parts)


def first_of_slabs(
    maxima: Float[Tensor, "B G"], planes: Planes, chosen: Int64[Tensor, "B K"] | None, radius: int, views: int
) -> Best:
    """The first voxel with the largest score, from the largest scores of the slabs of equal ``x``."""
    grid = planes.shape[-1]
    # The first x that reaches the maximum, then the first (y, z) in its slab: the first voxel of all.
    score, x = maxima.max(dim=1)
    row = x[:, None, None]
    xy, xz = (plane.gather(1, row.expand(-1, 1, grid)) for plane in planes[:2])
    slab = _suppress(((xy[..., None] + xz[..., None, :]) + planes[2][:, None]), x[:, None], chosen, radius)
    return x * (grid * grid) + slab.flatten(1).argmax(1), _divided(score, views)


def _suppress(
    score: Float[Tensor, "B X G G"], x: Int64[Tensor, "B X"], chosen: Int64[Tensor, "B K"] | None, radius: int
) -> Float[Tensor, "B X G G"]:
    """Minus infinity near chosen voxels."""
    if chosen is None or chosen.shape[1] == 0:
        return score
    grid = score.shape[-1]
    number = torch.arange(grid, device=score.device)
    at = voxel_cells(chosen, grid).masked_fill(chosen[..., None] < 0, -radius - 1)[..., None]  # (B, K, 3, 1)
    near_x, near_y, near_z = (x[:, None] - at[:, :, 0]).abs(), (number - at[:, :, 1]).abs(), (number - at[:, :, 2]).abs()
    far = torch.maximum(near_x[..., None], near_y[:, :, None])[..., None]
    return score.masked_fill((torch.maximum(far, near_z[:, :, None, None]) <= radius).any(1), -torch.inf)


def lift_general(
    heatmaps: Float[Tensor, "B V R R"],
    views: ViewSet,
    grid: int,
    chosen: Int64[Tensor, "B K"] | None = None,
    radius: int = 0,
) -> Best:
    """Best voxel and its score for any views, by scoring every voxel."""
    batch = heatmaps.shape[0]
    step = max(1, _chunk(heatmaps) // max(1, batch))
    scores, indices = [], []
    for start in range(0, grid**3, step):
        index = torch.arange(start, min(start + step, grid**3), device=heatmaps.device)
        every = score_voxels(heatmaps, voxel_centers(index, grid), views)
        if chosen is not None and chosen.shape[1]:
            apart = (voxel_cells(index, grid) - voxel_cells(chosen, grid)[:, :, None]).abs().amax(-1)
            every = every.masked_fill(((apart <= radius) & (chosen >= 0)[..., None]).any(1), -torch.inf)
        score, position = every.max(dim=1)
        scores.append(score)
        indices.append(start + position)
    score, chunk = torch.stack(scores, dim=1).max(dim=1)
    return torch.stack(indices, dim=1).gather(1, chunk[:, None]).squeeze(1), score


def score_voxels(
    heatmaps: Float[Tensor, "B V R R"], centers: Float[Tensor, "K 3"], views: ViewSet
) -> Float[Tensor, "B K"]:  # fmt: skip
    """`score_points` with every rounding spelt out, which ``grid_sample`` leaves to the machine."""
    resolution = heatmaps.shape[-1]
    total = heatmaps.new_zeros(len(heatmaps), len(centers))
    for heat, pixel in zip(heatmaps.unbind(1), project_to_views(centers[None], views, resolution)[0].unbind(1), strict=True):
        (x0, x1, x), (y0, y1, y) = (_neighbours(coordinate, resolution) for coordinate in pixel.unbind(-1))
        left = heat[:, y0, x0] * (1 - y) + heat[:, y1, x0] * y
        right = heat[:, y0, x1] * (1 - y) + heat[:, y1, x1] * y
        shown = ((pixel >= 0) & (pixel <= resolution)).all(-1)
        total += torch.where(shown, left * (1 - x) + right * x, heat.amin((1, 2))[:, None])
    return _divided(total, len(views))


def score_points(heatmaps: Float[Tensor, "B V R R"], points: Float[Tensor, "B K 3"], views: ViewSet) -> Float[Tensor, "B K"]:
    """Mean over views of the heat at each point's projection.

    A point that a view does not show (a corner of the cube in an oblique view) counts there as that view's lowest heat: it is
    not excluded, only not favoured, whether the heat is a probability or an unbounded score.
    """
    resolution = heatmaps.shape[-1]
    pixels = project_to_views(points, views, resolution).permute(2, 0, 1, 3)  # (V, B, K, 2)
    total = torch.zeros(points.shape[:2], dtype=heatmaps.dtype, device=heatmaps.device)
    for heat, pixel in zip(heatmaps.unbind(1), pixels, strict=True):
        sampled = torch.nn.functional.grid_sample(
            heat[:, None], (pixel * (2 / resolution) - 1)[:, None], padding_mode="border", align_corners=False
        )[:, 0, 0]
        shown = ((pixel >= 0) & (pixel <= resolution)).all(-1)
        total += torch.where(shown, sampled, heat.amin((1, 2))[:, None])
    return total / len(views)


def refine(
    heatmaps: Float[Tensor, "B V R R"], points: Float[Tensor, "B 3"], views: ViewSet, grid: int
) -> Float[Tensor, "B 3"]:  # fmt: skip
    """Move each point to the centre of mass of the score along the three axis lines through it, within three voxels; twice.

    The lowest score of a line is taken off first, so that what is constant along it (a view that does not see this axis, an
    even background) has no say. Mean error in pixels on noise-free targets (sigma 1.5, three axis-aligned views): 0.48 before,
    0.023 after one round, 0.004 after two; under 20 % noise in the heat 0.75, 0.15, 0.10.
    """
    offsets = torch.arange(-_REFINE_RADIUS, _REFINE_RADIUS + 1, dtype=points.dtype, device=points.device) * (2 / grid)
    shifts = torch.eye(3, dtype=points.dtype, device=points.device)[:, None] * offsets[:, None]  # (axis, offset, 3)
    for _ in range(_REFINE_ROUNDS):
        candidates = points[:, None, None] + shifts
        score = score_points(heatmaps, candidates.flatten(1, 2), views).unflatten(1, shifts.shape[:2])
        weight = score - score.amin(-1, keepdim=True)
        total = weight.sum(-1)
        points = (points + (weight * offsets).sum(-1) / torch.where(total > 0, total, 1.0)).clamp(-1, 1)
    return points


def _chunk(heatmaps: Tensor) -> int:
    """Candidates to score at once: what stays in a core's cache; a GPU wants many more."""
    return 1 << 16 if heatmaps.device.type == "cpu" else 1 << 24


def plane_maps(heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int) -> Planes:
    """Heat summed onto the planes xy, xz and yz at voxel centres, both indices along the positive axes."""
    maps = {plane: heatmaps.new_zeros(heatmaps.shape[0], grid, grid) for plane in PLANES}
    for plane, heat in _on_planes(heatmaps, views, grid):
        maps[plane] += heat
    return torch.stack(list(maps.values()))


def plane_products(heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int) -> Planes:
    """As `plane_maps`, multiplied: one where no view looks."""
    maps = {plane: heatmaps.new_ones(heatmaps.shape[0], grid, grid) for plane in PLANES}
    for plane, heat in _on_planes(heatmaps, views, grid):
        maps[plane] = maps[plane] * heat
    return torch.stack(list(maps.values()))


def _on_planes(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int
) -> Iterator[tuple[tuple[int, int], Float[Tensor, "B G G"]]]:
    """For each view its plane, and its heat at voxel centres, both indices along the positive axes."""
    for heat, view in zip(heatmaps.unbind(1), views, strict=True):
        (down, along_down), (right, along_right) = coordinate_of(view.down), coordinate_of(view.right)
        if not along_down:
            heat = heat.flip(1)
        if not along_right:
            heat = heat.flip(2)
        if down > right:
            heat = heat.transpose(1, 2)
        yield (
            (min(down, right), max(down, right)),
            _resample(_resample(heat, grid).transpose(1, 2), grid).transpose(1, 2),
        )


def _resample(heat: Float[Tensor, "B R W"], grid: int) -> Float[Tensor, "B G W"]:
    """Linear interpolation along the first image dimension at voxel centres; constant beyond the outermost pixel centres."""
    resolution = heat.shape[1]
    if grid == resolution:
        return heat
    low, high, weight = _neighbours(to_pixel(_centers(torch.arange(grid, device=heat.device), grid), resolution), resolution)
    weight = weight.to(heat.dtype)[:, None]
    return heat[:, low] * (1 - weight) + heat[:, high] * weight


def _neighbours(
    pixel: Float[Tensor, "K"], resolution: int
) -> tuple[Int64[Tensor, "K"], Int64[Tensor, "K"], Float[Tensor, "K"]]:  # fmt: skip
    """The pixels on both sides of a coordinate, and the share of the second."""
    position = (pixel - 0.5).clamp(0, resolution - 1)
    low = position.floor()
    return low.long(), (low + 1).clamp(max=resolution - 1).long(), position - low


def _centers(cell: Int64[Tensor, "*batch"], grid: int) -> Float[Tensor, "*batch"]:
    return _divided((2 * cell + 1).float(), grid) - 1


def _divided(values: Tensor, by: int) -> Tensor:
    """A quotient that is rounded alike everywhere: on CUDA, torch multiplies by the inverse of a plain number."""
    return values / values.new_full((), by)
