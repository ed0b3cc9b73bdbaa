"""The expected point of a set of heatmaps: lifting with a gradient."""

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.views.lifting import checked_heat
from vla3d.views.reference import lifting as reference
from vla3d.views.view_set import ViewSet


def lift_expectation(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, resolution_3d: int | None = None
) -> Float[Tensor, "B 3"]:
    """The mean point when the views are independent measurements of it (a product of experts, Hinton 2002).

    A voxel's weight is the product over views of the heat at its projection, interpolated between pixel centres; the result is
    the mean of the voxels' centres with these weights, in three dimensions what a soft arg-max is in two (Levine et al. 2016).
    It is one product of matrices for each plane, ``sum_z xy(x, y) xz(x, z) yz(y, z)``, never a grid of ``G^3`` voxels.

    The scale of a view's heat has no say. Weights are kept in float64: unlikely as three views may make a voxel, its weight is
    not rounded to zero. Gradients flow to the heatmaps.

    Args:
        heatmaps: heat of at least 0, as of a softmax over pixels.
        views: the cameras, in the order of the heatmaps; each along an axis of the cube.
        resolution_3d: voxels per edge, at most 1024; the image resolution when None.

    Returns:
        Points in cube coordinates, float32 (float64 for float64 heat). NaN where the views exclude each other, so that every
        product is zero, and, on a GPU, where values cannot be looked at without waiting, for heat that is negative, NaN or
        infinite.

    Raises:
        ValueError: when shapes do not fit, a view is oblique, or heat on a CPU is negative or not finite.
    """
    if not views.axis_aligned:
        oblique = [view.name for view in views if not view.axis_aligned]
        raise ValueError(f"views: got {views.names}, expected cameras along the axes of the cube; {oblique} are oblique.")
    heat, grid, usable = checked_heat(heatmaps, views, resolution_3d, least=0.0)
    wide = heat.double()
    # A constant factor of a view cancels out, so the gradient need not know of it.
    peak = wide.detach().amax((2, 3), keepdim=True)
    xy, xz, yz = reference.plane_products(wide / torch.where(peak > 0, peak, 1.0), views, grid)
    over_xy = xy * (xz @ yz.transpose(1, 2))
    over_z = (xz * (xy @ yz)).sum(1)
    total = over_z.sum(1, keepdim=True)
    marginals = torch.stack((over_xy.sum(2), over_xy.sum(1), over_z), 1)
    centers = reference.voxel_centers(torch.arange(grid, device=heat.device), grid)[:, 2].double()
    usable = (total > 0) if usable is None else (total > 0) & usable[:, None]
    mean = (marginals * centers).sum(2) / torch.where(total > 0, total, 1.0)
    return mean.masked_fill(~usable, torch.nan).to(heat.dtype)
