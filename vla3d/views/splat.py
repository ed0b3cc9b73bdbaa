"""Rendering a point cloud from virtual cameras."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from vla3d.views.footprint import Scale, squared_radii
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
    radius_metres: float | None = None,
    scale: Scale | None = None,
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
            grows.
        radius_metres: ``r`` in metres of the world: what a point covers then depends neither on the image nor on how far the
            cube is magnified. Give one of the three.
        scale: cube units that a metre has, with ``radius_metres`` only: ``to_view.scale`` of the transform that brought the
            points into the cube, or one number. It is read by the program, which waits for a GPU where it lies on one; clouds
            of different scales are drawn one after the other.

    Raises:
        ValueError: when shapes, types or sizes do not fit.
    """
    validate_clouds(points, colors, lengths, resolution)
    discs = squared_radii(footprint, radius, radius_metres, scale, resolution)
    clouds = points.float(), colors.float(), lengths.long()
    if len(discs) == 1:
        rgb, depth, xyz, index = splat(*clouds, views.numbers, resolution, discs[0])
    else:
        if len(discs) != len(points):
            raise ValueError(f"scale: got {len(discs)} numbers, expected one, or one for each of {len(points)} clouds.")
        each = zip(*(part.split(1) for part in clouds), discs, strict=True)
        images = [splat(*cloud, views.numbers, resolution, disc) for *cloud, disc in each]
        rgb, depth, xyz, index = (torch.cat(parts) for parts in zip(*images, strict=True))
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
