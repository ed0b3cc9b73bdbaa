"""From cube coordinates to the pixels of orthographic views.

Every view, kernel and heatmap uses this one map: coordinate ``c`` in [-1, 1] along an image axis falls at pixel coordinate
``(c + 1) * resolution / 2``; the centre of pixel ``k`` is at ``k + 0.5``.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.views.view_set import Vector, ViewSet, coordinate_of, is_coordinate_axis


def along(x: Tensor, y: Tensor, z: Tensor, axis: Vector) -> Tensor:
    """Coordinate along an axis, in one fixed order of operations: every backend must round alike.

    The shortcut for coordinate axes gives the same bits: adding zeros and multiplying by one are exact.
    """
    if is_coordinate_axis(axis):
        number, rises = coordinate_of(axis)
        return (x, y, z)[number] if rises else -(x, y, z)[number]
    return (x * axis[0] + y * axis[1]) + z * axis[2]


def to_pixel(coordinate: Tensor, resolution: int) -> Tensor:
    """Pixel coordinate of a coordinate along an image axis."""
    return (coordinate + 1.0) * (resolution / 2)


def project_to_views(points: Float[Tensor, "B K 3"], views: ViewSet, resolution: int) -> Float[Tensor, "B K V 2"]:
    """Pixel coordinates of points in each view.

    Args:
        points: cube coordinates; a point outside the cube gets the coordinates at which it would be seen.
        views: the cameras.
        resolution: image side, pixels.

    Returns:
        ``(x right, y down)``, pixel centres at half-integers.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points: got shape {tuple(points.shape)}, expected (batch, points, 3).")
    x, y, z = points.unbind(-1)
    pixels = [
        torch.stack([to_pixel(along(x, y, z, axis), resolution) for axis in (view.right, view.down)], -1) for view in views
    ]
    return torch.stack(pixels, dim=-2)
