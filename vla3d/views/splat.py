"""Rendering a point cloud from virtual cameras.

This is the door: it validates and calls the torch reference, and faster kernels go behind it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from vla3d.views.reference import splat as reference
from vla3d.views.view_set import ViewSet

_MAX_RESOLUTION = 4096  # pixel numbers up to its square are exact in float32


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedViews:
    """What the virtual cameras see.

    Attributes:
        rgb: colours in [0, 1], black where nothing is seen.
        depth: distance from the plane that touches the cube on the camera's side, in cube units: [0, 2] for a camera along an
            axis; -1 where nothing is seen.
        xyz: cube coordinates of the seen point itself (not of the pixel's centre), zero where nothing is seen.
        mask: where something is seen.
        index: which point is seen, -1 for none.
    """

    rgb: Float[Tensor, "B V 3 R R"]
    depth: Float[Tensor, "B V R R"]
    xyz: Float[Tensor, "B V 3 R R"]
    mask: Bool[Tensor, "B V R R"]
    index: Int64[Tensor, "B V R R"]


@torch.no_grad()
def render_views(
    points: Float[Tensor, "B N 3"],
    colors: Float[Tensor, "B N 3"],
    lengths: Int[Tensor, "B"],
    views: ViewSet,
    resolution: int,
    footprint: int = 1,
) -> RenderedViews:
    """Render clouds from orthographic cameras; the nearest point wins a pixel, and of equally near ones that of lowest index.

    Points outside the cube [-1, 1]^3, non-finite points and padding are not drawn. A point on the far border of the image
    belongs to its last pixel. Gradients do not flow.

    Args:
        points: cube coordinates, float32.
        colors: in [0, 1], float32.
        lengths: how many points of each cloud are real.
        views: the cameras.
        resolution: image side ``R``, pixels, at most 4096.
        footprint: radius in pixels of the disc that a point covers: 0 is one pixel, 1 a plus of five, 2 a disc of thirteen.

    Raises:
        ValueError: when shapes, types or sizes do not fit.
    """
    _validate(points, colors, lengths, resolution, footprint)
    rgb, depth, xyz, index = reference.splat(points, colors, lengths, views, resolution, footprint)
    return RenderedViews(rgb=rgb, depth=depth, xyz=xyz, mask=index >= 0, index=index)


def _validate(points: Tensor, colors: Tensor, lengths: Tensor, resolution: int, footprint: int) -> None:
    if points.ndim != 3 or points.shape[-1] != 3 or colors.shape != points.shape or lengths.shape != points.shape[:1]:
        raise ValueError(
            f"clouds: got points {tuple(points.shape)}, colors {tuple(colors.shape)}, lengths {tuple(lengths.shape)}, "
            "expected (B, N, 3), (B, N, 3) and (B,). Pad clouds to one size."
        )
    if points.dtype != torch.float32 or colors.dtype != torch.float32:
        raise ValueError(
            f"clouds: got points {points.dtype} and colors {colors.dtype}, expected float32. Convert with .float()."
        )
    if lengths.is_floating_point():
        raise ValueError(f"lengths: got {lengths.dtype}, expected whole numbers.")
    if not 1 <= resolution <= _MAX_RESOLUTION:
        raise ValueError(f"resolution: got {resolution}, expected 1 to {_MAX_RESOLUTION} pixels.")
    if not 0 <= footprint <= resolution:
        raise ValueError(f"footprint: got {footprint}, expected 0 (one pixel) to {resolution} (the image's side), in pixels.")
