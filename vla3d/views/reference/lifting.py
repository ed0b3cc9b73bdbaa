"""The best point of the cube for a set of heatmaps, in plain torch, exact and deterministic.

Candidates are the centres of a grid of ``G^3`` voxels, numbered with x slowest and z fastest along the positive axes. The
score of a candidate is the mean over views of the heat at its projection (bilinear between pixel centres, constant beyond the
outermost centres); the first of the best candidates wins.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.views.projection import project_to_views, to_pixel
from vla3d.views.view_set import Vector, ViewSet

_PLANES = ((0, 1), (0, 2), (1, 2))
_REFINE_RADIUS = 3  # voxels; two sigma of the usual target
_REFINE_ROUNDS = 2  # the second starts from the first one's point: less truncation, and oblique views couple the axes

Best = tuple[Int64[Tensor, "B"], Float[Tensor, "B"]]


def voxel_centers(index: Int64[Tensor, "*batch"], grid: int) -> Float[Tensor, "*batch 3"]:
    """Cube coordinates of numbered voxels."""
    cell = torch.stack((index // (grid * grid), index // grid % grid, index % grid), dim=-1)
    return (2 * cell + 1).float() / grid - 1


def lift_separable(heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int) -> Best:
    """Best voxel and its score for views along coordinate axes.

    The heat of such a view depends on two coordinates only, so the score is ``xy(x, y) + xz(x, z) + yz(y, z)`` and its maximum
    a max-plus matrix product: no candidate is ever projected.
    """
    planes = _plane_maps(heatmaps, views, grid)
    samples = max(1, _chunk(heatmaps) // grid**2)
    parts = [_max_plus(*part) for part in zip(*(plane.split(samples) for plane in planes), strict=True)]
    return torch.cat([index for index, _ in parts]), torch.cat([score for _, score in parts]) / len(views)


def _max_plus(xy: Float[Tensor, "B G G"], xz: Float[Tensor, "B G G"], yz: Float[Tensor, "B G G"]) -> Best:
    """First voxel with the largest ``xy(x, y) + xz(x, z) + yz(y, z)``, and that sum."""
    batch, grid = xy.shape[:2]
    step = max(1, _chunk(xy) // max(1, batch * grid * grid))
    slabs = [
        ((xy[:, x : x + step, :, None] + xz[:, x : x + step, None, :]) + yz[:, None]).flatten(2).amax(-1)
        for x in range(0, grid, step)
    ]
    # The first x that reaches the maximum, then the first (y, z) in its slab: the first voxel of all.
    score, x = torch.cat(slabs, dim=1).max(dim=1)
    rows = torch.arange(batch, device=x.device)
    slab = (xy[rows, x, :, None] + xz[rows, x, None, :]) + yz
    return x * (grid * grid) + slab.flatten(1).argmax(1), score


def lift_general(heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int) -> Best:
    """Best voxel and its score for any views, by scoring every voxel."""
    batch = heatmaps.shape[0]
    step = max(1, _chunk(heatmaps) // max(1, batch))
    scores, indices = [], []
    for start in range(0, grid**3, step):
        index = torch.arange(start, min(start + step, grid**3), device=heatmaps.device)
        candidates = voxel_centers(index, grid).expand(batch, -1, 3)
        score, position = score_points(heatmaps, candidates, views).max(dim=1)
        scores.append(score)
        indices.append(start + position)
    score, chunk = torch.stack(scores, dim=1).max(dim=1)
    return torch.stack(indices, dim=1).gather(1, chunk[:, None]).squeeze(1), score


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


def _plane_maps(heatmaps: Float[Tensor, "B V R R"], views: ViewSet, grid: int) -> list[Float[Tensor, "B G G"]]:
    """Heat summed onto the planes xy, xz and yz at voxel centres, both indices along the positive axes."""
    maps = {plane: heatmaps.new_zeros(heatmaps.shape[0], grid, grid) for plane in _PLANES}
    for heat, view in zip(heatmaps.unbind(1), views, strict=True):
        (down, along_down), (right, along_right) = _coordinate(view.down), _coordinate(view.right)
        if not along_down:
            heat = heat.flip(1)
        if not along_right:
            heat = heat.flip(2)
        if down > right:
            heat = heat.transpose(1, 2)
        heat = _resample(_resample(heat, grid).transpose(1, 2), grid).transpose(1, 2)
        maps[(min(down, right), max(down, right))] += heat
    return list(maps.values())


def _coordinate(axis: Vector) -> tuple[int, bool]:
    """Which coordinate an axis is, and whether it points in its positive direction."""
    number = [abs(component) for component in axis].index(1.0)
    return number, axis[number] > 0


def _resample(heat: Float[Tensor, "B R W"], grid: int) -> Float[Tensor, "B G W"]:
    """Linear interpolation along the first image dimension at voxel centres; constant beyond the outermost pixel centres."""
    resolution = heat.shape[1]
    if grid == resolution:
        return heat
    centers = voxel_centers(torch.arange(grid, device=heat.device), grid)[:, 2]
    position = (to_pixel(centers, resolution) - 0.5).clamp(0, resolution - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=resolution - 1)
    weight = (position - low).to(heat.dtype)[:, None]
    return heat[:, low] * (1 - weight) + heat[:, high] * weight
