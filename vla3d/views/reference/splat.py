"""Z-buffered point splatting in plain torch, on any device, deterministic.

Each point of each view becomes one 64-bit key: the bits of its depth (a non-negative float32, whose bits are ordered as the
number is) above its index. The smallest key of a pixel is thus the nearest point, and among equally near ones the one of lowest
index. One scattered minimum per point fills the z-buffer; a wider footprint is the minimum of shifted copies of that image,
which equals splatting every pixel of the footprint (M. Schuetz et al. 2021, "Rendering point clouds with compute shaders").

Measured on one CPU core for 16 clouds x 20,000 points x 3 views: scattered minimum 1.4 ms, ``np.minimum.at`` 1.9, scatter and
repeat until nothing is nearer 20, sorting the keys 42.
"""

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from vla3d.views.projection import along, to_pixel
from vla3d.views.view_set import ViewSet, VirtualCamera

EMPTY_KEY = torch.iinfo(torch.int64).max
BACKGROUND_DEPTH = -1.0
_INDEX_BITS = 32


def splat(
    points: Float[Tensor, "B N 3"],
    colors: Float[Tensor, "B N 3"],
    lengths: Int[Tensor, "B"],
    views: ViewSet,
    resolution: int,
    footprint: int,
) -> tuple[
    Float[Tensor, "B V 3 R R"], Float[Tensor, "B V R R"], Float[Tensor, "B V 3 R R"], Int64[Tensor, "B V R R"]
]:  # fmt: skip
    """Colours, depth, cube coordinates and point indices of each pixel; see `vla3d.views.splat.render_views`."""
    keys = z_buffer(points, lengths, views, resolution, footprint)
    empty = keys == EMPTY_KEY
    depth = (keys >> _INDEX_BITS).to(torch.int32).view(torch.float32).masked_fill(empty, BACKGROUND_DEPTH)
    # Empty pixels read one extra, black point behind the last one.
    index = (keys & ((1 << _INDEX_BITS) - 1)).masked_fill(empty, points.shape[1])
    return _gather(colors, index), depth, _gather(points, index), index.masked_fill(empty, -1)


def z_buffer(
    points: Float[Tensor, "B N 3"], lengths: Int[Tensor, "B"], views: ViewSet, resolution: int, footprint: int
) -> Int64[Tensor, "B V R R"]:
    """Smallest key of each pixel, `EMPTY_KEY` where no point falls."""
    batch, count = points.shape[:2]
    xyz = points.transpose(1, 2).contiguous()
    index = torch.arange(count, device=points.device)
    # Comparisons with NaN are false, so non-finite points drop out here as well.
    seen = (xyz.abs() <= 1).all(1) & (index < lengths[:, None])
    keys = torch.full((len(views), batch, resolution**2 + 1), EMPTY_KEY, device=points.device)
    for view, image in zip(views, keys, strict=True):
        cell, depth = _cells(xyz, seen, view, resolution)
        image.scatter_reduce_(1, cell, (depth.view(torch.int32).long() << _INDEX_BITS) | index, "amin")
    images = keys[..., :-1].unflatten(-1, (resolution, resolution)).transpose(0, 1)
    return _spread(images, footprint)


def _cells(
    xyz: Float[Tensor, "B 3 N"], seen: Bool[Tensor, "B N"], view: VirtualCamera, resolution: int
) -> tuple[Int64[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Flat pixel of each point (one past the last for points that are not seen) and its depth."""
    x, y, z = xyz.unbind(1)
    right, down, forward = (along(x, y, z, axis) for axis in (view.right, view.down, view.forward))
    if not view.axis_aligned:  # the cube's corners reach beyond an oblique image
        seen = seen & (right.abs() <= 1) & (down.abs() <= 1)
    last = resolution - 1
    column = to_pixel(right, resolution).floor_().clamp_(max=last)
    row = to_pixel(down, resolution).floor_().clamp_(max=last)
    # Whole numbers below 2**24 are exact in float32, and float arithmetic is several times faster here than int64.
    cell = torch.where(seen, row.mul_(resolution).add_(column), float(resolution**2)).long()
    # Rounding may leave a point on the near plane a hair before it; the sign bit would break the order of the keys.
    return cell, (forward + view.near).clamp_(min=0)


def _spread(keys: Int64[Tensor, "B V R R"], footprint: int) -> Int64[Tensor, "B V R R"]:
    """Minimum over the disc of ``footprint`` pixels around each pixel."""
    spread = keys.contiguous() if footprint == 0 else keys.clone(memory_format=torch.contiguous_format)
    size = keys.shape[-1]
    for dy in range(-footprint, footprint + 1):
        for dx in range(-footprint, footprint + 1):
            if (dx, dy) == (0, 0) or dx * dx + dy * dy > footprint * footprint or max(abs(dx), abs(dy)) >= size:
                continue
            target = spread[..., max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)]
            source = keys[..., max(-dy, 0) : size + min(-dy, 0), max(-dx, 0) : size + min(-dx, 0)]
            torch.minimum(target, source, out=target)
    return spread


def _gather(values: Float[Tensor, "B N 3"], index: Int64[Tensor, "B V R R"]) -> Float[Tensor, "B V 3 R R"]:
    """Values of the indexed points as images; index ``N`` reads zero."""
    batch, count = values.shape[:2]
    views, resolution = index.shape[1:3]
    padded = values.new_zeros(batch, 3, count + 1)
    padded[..., :count] = values.transpose(1, 2)
    source = padded[:, None].expand(batch, views, 3, count + 1)
    flat = index.flatten(2)[:, :, None].expand(batch, views, 3, resolution**2)
    return source.gather(3, flat).view(batch, views, 3, resolution, resolution)
