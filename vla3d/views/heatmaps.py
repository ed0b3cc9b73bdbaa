"""Gaussian heatmaps: the targets that teach a policy where in each view the next keyframe is."""

import torch
from jaxtyping import Float
from torch import Tensor

_MIN_SIGMA = 0.25  # below, three sigma may miss every pixel centre
_CUT = 3.0


def heatmap_targets(pixels: Float[Tensor, "*batch 2"], resolution: int, sigma: float = 1.5) -> Float[Tensor, "*batch R R"]:
    """Gaussian around a pixel coordinate, cut at three sigma and normalised to sum to one (Goyal et al. 2023, RVT; BridgeVLA).

    Args:
        pixels: ``(x right, y down)``, pixel centres at half-integers, as `project_to_views` gives them.
        resolution: image side ``R``, pixels.
        sigma: standard deviation, pixels, at least 0.25.

    Returns:
        Heatmaps; all zero where the point is outside the image or not finite.

    Raises:
        ValueError: when ``sigma`` is too small or the last dimension is not 2.
    """
    if pixels.shape[-1] != 2:
        raise ValueError(f"pixels: got shape {tuple(pixels.shape)}, expected two coordinates (x, y) in the last dimension.")
    if not sigma >= _MIN_SIGMA:
        raise ValueError(f"sigma: got {sigma}, expected at least {_MIN_SIGMA} pixels.")
    centres = torch.arange(resolution, dtype=pixels.dtype, device=pixels.device) + 0.5
    inside = ((pixels >= 0) & (pixels <= resolution)).all(-1)
    near = torch.where(inside[..., None], pixels, 0.0)
    square_x = (centres - near[..., :1]) ** 2
    square_y = (centres - near[..., 1:]) ** 2
    gaussian = torch.exp(square_y / (-2 * sigma**2))[..., :, None] * torch.exp(square_x / (-2 * sigma**2))[..., None, :]
    distance = square_y[..., :, None] + square_x[..., None, :]
    cut = torch.where((distance <= (_CUT * sigma) ** 2) & inside[..., None, None], gaussian, 0.0)
    total = cut.sum((-2, -1), keepdim=True)
    return cut / torch.where(total > 0, total, 1.0)
