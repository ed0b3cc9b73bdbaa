"""Heatmaps over the views of `vla3d.views.rvt2`: where points fall, targets, lifting, and reading features at a pixel.

Here a value of row ``i`` lies at coordinate ``i``, without the half pixel that everything else in `vla3d.views` adds, although
a point at ``i + 0.3`` is drawn into pixel ``i``. The published checkpoints learned it so.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.views.lifting import lift_heatmaps
from vla3d.views.projection import along
from vla3d.views.reference.rvt2 import VIEWS as RVT2_VIEWS
from vla3d.views.reference.rvt2 import to_position
from vla3d.views.rvt2 import RVT2_RESOLUTION

_CUT = 3.0
_LEAST_SUM = 1e-6
_LEAST_DISTANCE = 1e-10


def project_to_rvt2_views(
    points: Float[Tensor, "B K 3"], resolution: int = RVT2_RESOLUTION
) -> Float[Tensor, "B K V 2"]:  # fmt: skip
    """Positions of points in each view.

    Args:
        points: cube coordinates; a point that is not in the picture gets the position that it would have.
        resolution: image side, pixels.

    Returns:
        ``(column, row)``, values at whole numbers.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points: got shape {tuple(points.shape)}, expected (batch, points, 3).")
    x, y, z = points.unbind(-1)
    positions = [
        torch.stack([to_position(along(x, y, z, axis), resolution) for axis in (view.right, view.down)], -1)
        for view in RVT2_VIEWS
    ]
    return torch.stack(positions, dim=-2)


def rvt2_heatmap_targets(
    pixels: Float[Tensor, "*batch 2"], resolution: int = RVT2_RESOLUTION, sigma: float = 1.5
) -> Float[Tensor, "*batch R R"]:
    """Gaussian around a position, zero beyond three sigma, divided by its sum plus 1e-6.

    What lies beyond the image's border is cut off before the division, so the rest sums to one.

    Args:
        pixels: ``(column, row)`` from `project_to_rvt2_views`.
        resolution: image side ``R``, pixels.
        sigma: standard deviation, pixels.

    Returns:
        Heatmaps, float32 or float64; all zero where no pixel is within three sigma or the position is not finite.

    Raises:
        ValueError: when ``sigma`` is not positive or the last dimension is not 2.
    """
    if pixels.shape[-1] != 2:
        raise ValueError(f"pixels: got shape {tuple(pixels.shape)}, expected (column, row) in the last dimension.")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma: got {sigma}, expected a positive number of pixels.")
    wide = pixels if pixels.dtype == torch.float64 else pixels.float()
    at = torch.arange(resolution, dtype=wide.dtype, device=wide.device)
    across, down = ((at - wide[..., number, None]) ** 2 for number in (0, 1))
    distance = down[..., :, None] + across[..., None, :]
    heat = torch.where(distance <= (_CUT * sigma) ** 2, torch.exp(distance / (-2 * sigma**2)), 0.0)
    return heat / (heat.sum((-2, -1), keepdim=True) + _LEAST_SUM)


def rvt2_votes(heatmaps: Float[Tensor, "B 3 R R"]) -> Float[Tensor, "B 3 R R"]:
    """Heat at ``(column + 0.5, row + 0.5)``, where the candidates of RVT-2's lifting fall: the mean of four values.

    Each of the four is equally far, so their mean by inverse distance is the plain mean. The last column and the last row reach
    beyond the last value and count 0.

    Args:
        heatmaps: of the views top, front and right, probabilities.

    Returns:
        Heat for `vla3d.views.lifting.lift_heatmaps`, `lift_candidates` and `lift_expectation`, beside `RVT2_VIEWS`.

    Raises:
        ValueError: when the shape is another.
    """
    if heatmaps.ndim != 4 or heatmaps.shape[1] != len(RVT2_VIEWS) or heatmaps.shape[2] != heatmaps.shape[3]:
        raise ValueError(
            f"heatmaps: got shape {tuple(heatmaps.shape)}, expected (batch, {len(RVT2_VIEWS)}, side, side) "
            f"for views {RVT2_VIEWS.names}."
        )
    heat = heatmaps if heatmaps.dtype == torch.float64 else heatmaps.float()
    pairs = heat[..., :-1] + heat[..., 1:]
    return torch.nn.functional.pad((pairs[..., :-1, :] + pairs[..., 1:, :]) * 0.25, (0, 1, 0, 1))


def lift_rvt2_heatmaps(heatmaps: Float[Tensor, "B 3 R R"]) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B"]]:
    """The point that the heatmaps agree on most, as RVT-2 decodes it.

    Candidates are the centres of ``R^3`` voxels; a candidate's score is the mean over views of the heat at its position,
    between four values by inverse distance, and 0 in a view in which that is beyond the last value. Equal scores go to the
    lowest voxel number (x slowest). `vla3d.views.lifting.lift_heatmaps` on `rvt2_votes`; see there for gradients and errors.

    Args:
        heatmaps: of the views top, front and right, probabilities.

    Returns:
        Points in cube coordinates, float32, and their scores.

    Raises:
        ValueError: when the shape is another, or a heatmap on a CPU is not finite.
    """
    return lift_heatmaps(rvt2_votes(heatmaps), RVT2_VIEWS)


def sample_by_inverse_distance(
    maps: Float[Tensor, "B C H W"], pixels: Float[Tensor, "B K 2"]
) -> Float[Tensor, "B K C"]:  # fmt: skip
    """Values of maps at positions: the mean of the four values around, with weights ``1 / (distance + 1e-10)``.

    BridgeVLA reads the features of its action head so, at a heatmap's position divided by the size of a patch.

    Args:
        maps: a value of row ``i`` and column ``j`` lies at ``(j, i)``.
        pixels: ``(column, row)``.

    Returns:
        Values, float32 or float64, zero where a position is below 0 or beyond the last row or column. Gradients flow to the
        maps.

    Raises:
        ValueError: when shapes do not fit.
    """
    if maps.ndim != 4 or pixels.ndim != 3 or pixels.shape[-1] != 2 or pixels.shape[0] != maps.shape[0]:
        raise ValueError(
            f"maps and pixels: got shapes {tuple(maps.shape)} and {tuple(pixels.shape)}, expected (B, C, H, W) and (B, K, 2)."
        )
    height, width = maps.shape[-2:]
    wide = pixels if pixels.dtype == torch.float64 else pixels.float()
    inside = (wide >= 0).all(-1) & (wide[..., 0] <= width - 1) & (wide[..., 1] <= height - 1)
    column, row = torch.where(inside[..., None], wide, 0.0).unbind(-1)
    weights, values = [], []
    for x in (column.floor(), column.ceil()):
        for y in (row.floor(), row.ceil()):
            weight = 1 / (torch.hypot(x - column, y - row) + _LEAST_DISTANCE)
            cell = (y.long() * width + x.long())[:, None].expand(-1, maps.shape[1], -1)
            values.append(maps.flatten(2).gather(2, cell) * weight[:, None])
            weights.append(weight)
    mean = torch.stack(values).sum(0) / torch.stack(weights).sum(0)[:, None]
    return torch.where(inside[:, None], mean, 0.0).transpose(1, 2)
