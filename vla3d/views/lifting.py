"""From heatmaps over the views to 3D points."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.views.lifting_operator import best_voxel
from vla3d.views.reference import lifting as reference
from vla3d.views.view_set import ViewSet

_MAX_GRID = 1024  # voxel numbers fit 32 bits


@torch.no_grad()
def lift_heatmaps(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, resolution_3d: int | None = None, refine: bool = False
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B"]]:
    """The point of the cube that the heatmaps agree on most (Goyal et al. 2023, RVT; BridgeVLA).

    Candidates are the centres of ``resolution_3d^3`` voxels; a candidate's score is the mean over views of the heat at its
    projection, interpolated between pixel centres. Equal scores go to the lowest voxel number (x slowest, z fastest). Gradients
    do not flow; see `vla3d.views.expectation.lift_expectation`.

    Args:
        heatmaps: probabilities, or any finite scores.
        views: the cameras, in the order of the heatmaps.
        resolution_3d: voxels per edge, at most 1024; the image resolution when None, and then candidates sit exactly on pixel
            centres.
        refine: move the winner to the centre of mass of the score around it, along each axis. On Gaussian targets this takes
            the error from about half a pixel to about a hundredth. Meant for probabilities.

    Returns:
        Points in cube coordinates, float32, and the winning voxels' scores. On a GPU, where looking for NaN or infinite heat
        would make the program wait, both are NaN for a sample that has any.

    Raises:
        ValueError: when shapes do not fit the views or a heatmap on a CPU is not finite.
    """
    heat, grid, finite = checked_heat(heatmaps.float(), views, resolution_3d)
    index, score = best_voxel(heat, views.numbers, grid, heat.new_empty(heat.shape[0], 0, dtype=torch.int64), 0)
    points = reference.voxel_centers(index, grid)
    points = reference.refine(heat, points, views, grid) if refine else points
    return points if finite is None else points.masked_fill(~finite[:, None], torch.nan), _kept(score, finite)


@torch.no_grad()
def lift_candidates(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, k: int, radius: int, resolution_3d: int | None = None
) -> tuple[Float[Tensor, "B k 3"], Float[Tensor, "B k"]]:
    """The ``k`` best points that are apart from each other: greedy non-maximum suppression.

    The first is what `lift_heatmaps` gives. Each further one is the best voxel of those that are more than ``radius`` voxels
    from every earlier one along at least one axis (Chebyshev distance); ties go to the lowest voxel number.

    Args:
        heatmaps: probabilities, or any finite scores.
        views: the cameras, in the order of the heatmaps.
        k: how many.
        radius: suppressed neighbourhood, voxels; 0 leaves out only the chosen voxel itself.
        resolution_3d: voxels per edge, at most 1024; the image resolution when None.

    Returns:
        Points in cube coordinates and their scores, best first. Where nothing is left the point is NaN and the score minus
        infinity. Non-finite heat as in `lift_heatmaps`.

    Raises:
        ValueError: when shapes or sizes do not fit, or a heatmap on a CPU is not finite.
    """
    for name, value in (("k", k), ("radius", radius)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{name}: got {value!r}, expected a whole number of at least 0.")
    heat, grid, finite = checked_heat(heatmaps.float(), views, resolution_3d)
    chosen = heat.new_empty(heat.shape[0], 0, dtype=torch.int64)
    scores = heat.new_empty(heat.shape[0], 0)
    for _ in range(k):
        index, score = best_voxel(heat, views.numbers, grid, chosen, radius)
        chosen, scores = torch.cat((chosen, index[:, None]), 1), torch.cat((scores, score[:, None]), 1)
    missing = chosen < 0 if finite is None else (chosen < 0) | ~finite[:, None]
    return reference.voxel_centers(chosen, grid).masked_fill(missing[..., None], torch.nan), _kept(scores, finite)


def checked_heat(
    heatmaps: Float[Tensor, "B V R R"], views: ViewSet, resolution_3d: int | None, least: float = -torch.inf
) -> tuple[Float[Tensor, "B V R R"], int, Bool[Tensor, "B"] | None]:
    """Check heatmaps.

    Args:
        heatmaps: at the door.
        views: the cameras.
        resolution_3d: voxels per edge, the image resolution when None.
        least: what heat may not be below.

    Returns:
        Heat as float32 or float64, voxels per edge, and, where values could not be looked at, which samples are right.

    Raises:
        ValueError: when a shape, a size or a value does not fit.
    """
    if heatmaps.ndim != 4 or heatmaps.shape[1] != len(views) or heatmaps.shape[2] != heatmaps.shape[3]:
        raise ValueError(
            f"heatmaps: got shape {tuple(heatmaps.shape)}, expected (batch, {len(views)}, side, side) for views {views.names}."
        )
    if not heatmaps.is_floating_point() or heatmaps.shape[-1] < 1:
        raise ValueError(
            f"heatmaps: got {heatmaps.dtype} of side {heatmaps.shape[-1]}, expected floating point and at least 1 pixel."
        )
    grid = heatmaps.shape[-1] if resolution_3d is None else resolution_3d
    if not 1 <= grid <= _MAX_GRID:
        raise ValueError(f"resolution_3d: got {grid}, expected at least 1 voxel per edge and at most {_MAX_GRID}.")
    heat = heatmaps if heatmaps.dtype == torch.float64 else heatmaps.float()
    right = heat.isfinite().flatten(1).all(1)
    if least > -torch.inf:
        right = right & (heat >= least).flatten(1).all(1)
    if not _readable(heat):
        return heat, grid, right
    if right.all():
        return heat, grid, None
    if heat.isfinite().all():
        raise ValueError(f"heatmaps: got values down to {heat.min().item()}, expected at least {least}. Take a softmax first.")
    raise ValueError(
        "heatmaps: got NaN or infinite values, expected finite ones. Look for a diverged model or a division by 0."
    )


def _readable(values: Tensor) -> bool:
    """Whether looking at the values neither waits for a GPU nor breaks a traced graph."""
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


def _kept(score: Tensor, finite: Tensor | None) -> Tensor:
    if finite is None:
        return score
    return score.masked_fill(~finite.view(-1, *(1 for _ in score.shape[1:])), torch.nan)
