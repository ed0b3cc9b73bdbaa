"""From heatmaps over the views to one 3D point.

This is the door: it validates and calls the torch reference, and faster kernels go behind it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.views.reference import lifting as reference
from vla3d.views.view_set import ViewSet


@torch.no_grad()
def lift_heatmaps(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, resolution_3d: int | None = None, refine: bool = False
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B"]]:
    """The point of the cube that the heatmaps agree on most (Goyal et al. 2023, RVT; BridgeVLA).

    Candidates are the centres of ``resolution_3d^3`` voxels; a candidate's score is the mean over views of the heat at its
    projection, interpolated between pixel centres. Equal scores go to the lowest voxel number (x slowest, z fastest). Gradients
    do not flow.

    Args:
        heatmaps: probabilities, or any finite scores.
        views: the cameras, in the order of the heatmaps.
        resolution_3d: voxels per edge; the image resolution when None, and then candidates sit exactly on pixel centres.
        refine: move the winner to the centre of mass of the score around it, along each axis. On Gaussian targets this takes
            the error from about half a pixel to about a hundredth. Meant for probabilities.

    Returns:
        Points in cube coordinates, float32, and the winning voxels' scores.

    Raises:
        ValueError: when shapes do not fit the views or a heatmap is not finite.
    """
    if heatmaps.ndim != 4 or heatmaps.shape[1] != len(views) or heatmaps.shape[2] != heatmaps.shape[3]:
        raise ValueError(
            f"heatmaps: got shape {tuple(heatmaps.shape)}, expected (batch, {len(views)}, side, side) for views {views.names}."
        )
    grid = heatmaps.shape[-1] if resolution_3d is None else resolution_3d
    if grid < 1:
        raise ValueError(f"resolution_3d: got {grid}, expected at least 1 voxel per edge.")
    heat = heatmaps.float()
    if not torch.isfinite(heat).all():
        raise ValueError(
            "heatmaps: got NaN or infinite values, expected finite ones. Look for a diverged model or a division by 0."
        )
    if heat.shape[0] == 0:
        return heat.new_zeros(0, 3), heat.new_zeros(0)
    lift = reference.lift_separable if views.axis_aligned else reference.lift_general
    index, score = lift(heat, views, grid)
    points = reference.voxel_centers(index, grid)
    return (reference.refine(heat, points, views, grid) if refine else points), score
