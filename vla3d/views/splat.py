"""Rendering a point cloud from virtual cameras."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from vla3d.views.splat_operators import splat
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


def render_views(
    points: Float[Tensor, "B N 3"],
    colors: Float[Tensor, "B N 3"],
    lengths: Int[Tensor, "B"],
    views: ViewSet,
    resolution: int,
    footprint: int | None = None,
    *,
    radius: float | None = None,
) -> RenderedViews:
    """Render clouds from orthographic cameras; the nearest point wins a pixel, and of equally near ones that of lowest index.

    Points outside the cube [-1, 1]^3, non-finite points and padding are not drawn. A point on the far border of the image
    belongs to its last pixel. A point covers a disc: the pixels ``(dx, dy)`` away from its own for which
    ``dx^2 + dy^2 <= r^2``.

    Gradients flow through what is seen, not through what is hidden: from ``rgb`` to the colours, and from ``xyz`` and ``depth``
    to the points. They are summed in a fixed order. A second derivative is not offered.

    Args:
        points: cube coordinates, float32 or less.
        colors: in [0, 1], float32 or less.
        lengths: how many points of each cloud are real.
        views: the cameras.
        resolution: image side ``R``, pixels, at most 4096.
        footprint: ``r`` in pixels: 0 is one pixel, 1 a plus of five, 2 a disc of thirteen; 1 when neither is given.
        radius: ``r`` in cube units, ``radius * R / 2`` pixels, at most 2: what a point covers then does not shrink as the image
            grows. Give one of the two.

    Raises:
        ValueError: when shapes, types or sizes do not fit.
    """
    validate_clouds(points, colors, lengths, resolution)
    squared_radius = _squared_radius(footprint, radius, resolution)
    images = splat(points.float(), colors.float(), lengths.long(), views.numbers, resolution, squared_radius)
    rgb, depth, xyz, index = images
    return RenderedViews(rgb=rgb, depth=depth, xyz=xyz, mask=index >= 0, index=index)


def validate_clouds(
    points: Float[Tensor, "B N 3"], colors: Float[Tensor, "B N 3"], lengths: Int[Tensor, "B"], resolution: int
) -> None:
    """Refuse what cannot be drawn, with a ValueError that says what is wrong."""
    if points.ndim != 3 or points.shape[-1] != 3 or colors.shape != points.shape or lengths.shape != points.shape[:1]:
        raise ValueError(
            f"clouds: got points {tuple(points.shape)}, colors {tuple(colors.shape)}, lengths {tuple(lengths.shape)}, "
            "expected (B, N, 3), (B, N, 3) and (B,). Pad clouds to one size."
        )
    if not all(part.is_floating_point() and part.dtype != torch.float64 for part in (points, colors)):
        raise ValueError(
            f"clouds: got points {points.dtype} and colors {colors.dtype}, expected float32. Convert with .float()."
        )
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths: got {lengths.dtype}, expected whole numbers.")
    if not points.device == colors.device == lengths.device:
        raise ValueError(
            f"clouds: got points on {points.device}, colors on {colors.device}, lengths on {lengths.device}; "
            "expected one device."
        )
    if not 1 <= resolution <= _MAX_RESOLUTION:
        raise ValueError(f"resolution: got {resolution}, expected 1 to {_MAX_RESOLUTION} pixels.")


def _squared_radius(footprint: int | None, radius: float | None, resolution: int) -> int:
    """Largest squared length of a pixel offset that the disc holds."""
    if radius is None:
        pixels = 1 if footprint is None else footprint
        if not 0 <= pixels <= resolution:
            raise ValueError(f"footprint: got {pixels}, expected 0 (one pixel) to {resolution} (the image's side), in pixels.")
        return pixels * pixels
    if footprint is not None:
        raise ValueError(f"radius: got {radius} beside footprint {footprint}, expected one of the two.")
    if not 0 <= radius <= 2:
        raise ValueError(f"radius: got {radius}, expected 0 to 2 (the cube's edge), in cube units.")
    return math.floor((radius * resolution / 2) ** 2)
