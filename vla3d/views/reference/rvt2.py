"""Views as the renderer of RVT-2 draws them, in plain torch; `vla3d.views.rvt2` says what that is.

Keys are those of `vla3d.views.reference.splat`, with a depth that was cut to thousandths before.
"""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from vla3d.views.projection import along
from vla3d.views.reference.splat import EMPTY_KEY, INDEX_BITS, Images, images_of
from vla3d.views.view_set import ViewSet, VirtualCamera

VIEWS = ViewSet(
    (
        VirtualCamera.looking("top", (0.0, 0.0, -1.0), up=(0.0, 1.0, 0.0)),
        VirtualCamera.looking("front", (-1.0, 0.0, 0.0)),
        VirtualCamera.looking("right", (0.0, -1.0, 0.0)),
    )
)
EYES = (1.0, 1.0, 0.5)  # distance of each camera from the cube's centre; the third stands inside the cube
UNITS = 1000.0  # depth is counted in whole thousandths of a cube unit
FARTHEST = 4_000_000.0  # of them; up to there different ones stay different when they are made floats again
SCAN = ((0, -1), (-1, 0), (0, 0), (1, 0), (0, 1))  # (row, column): left, up, the pixel itself, down, right


def splat(points: Float[Tensor, "B N 3"], colors: Float[Tensor, "B N 3"], lengths: Int[Tensor, "B"], resolution: int) -> Images:
    """Colours, depth, cube coordinates and point indices of each pixel."""
    return images_of(_spread(_z_buffer(points, lengths, resolution)), points, colors)


def to_position(coordinate: Tensor, resolution: int) -> Tensor:
    """Place of a coordinate along an image axis, pixels."""
    half = resolution / 2
    return coordinate * half + half


def _z_buffer(points: Float[Tensor, "B N 3"], lengths: Int[Tensor, "B"], resolution: int) -> Int64[Tensor, "B V R R"]:
    batch, count = points.shape[:2]
    x, y, z = points.unbind(-1)
    index = torch.arange(count, device=points.device)
    real = points.isfinite().all(-1) & (index < lengths[:, None])
    keys = torch.full((len(VIEWS), batch, resolution**2 + 1), EMPTY_KEY, device=points.device)
    for view, eye, image in zip(VIEWS, EYES, keys, strict=True):
        column, row = (to_position(along(x, y, z, axis), resolution) for axis in (view.right, view.down))
        seen = real & (column >= 0) & (column < resolution) & (row >= 0) & (row < resolution)
        cell = torch.where(seen, row.trunc() * resolution + column.trunc(), float(resolution**2)).long()
        # What is behind the camera gets depth 0, as of a conversion to unsigned numbers that saturates.
        steps = ((along(x, y, z, view.forward) + eye) * UNITS).clamp(0, FARTHEST).trunc()
        depth = torch.where(seen, steps, 0.0) * (1 / UNITS)
        image.scatter_reduce_(1, cell, (depth.view(torch.int32).long() << INDEX_BITS) | index, "amin")
    return keys[..., :-1].unflatten(-1, (resolution, resolution)).transpose(0, 1)


def _spread(keys: Int64[Tensor, "B V R R"]) -> Int64[Tensor, "B V R R"]:
    """Of a pixel and its four neighbours the nearest; of equally near ones the last in the order of the scan.

    A neighbour of depth 0 does not count.
    """
    size = keys.shape[-1]
    # Not torch's pad, which takes its value as a float.
    padded = keys.new_full((*keys.shape[:2], size + 2, size + 2), EMPTY_KEY)
    padded[..., 1:-1, 1:-1] = keys
    found = torch.full_like(keys, EMPTY_KEY)
    for dy, dx in SCAN:
        other = padded[..., 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size]
        depth = other >> INDEX_BITS
        takes = depth <= found >> INDEX_BITS
        if (dy, dx) != (0, 0):
            takes = takes & (depth != 0)
        found = torch.where(takes, other, found)
    return found
