"""Z-buffered point splatting in plain torch, on any device, deterministic.

Each point of each view becomes one 64-bit key: the bits of its depth (a non-negative float32, whose bits are ordered as the
number is) above its index. The smallest key of a pixel is thus the nearest point, and among equally near ones the one of lowest
index. One scattered minimum per point fills the z-buffer; a wider footprint is the minimum of shifted copies of that image,
which equals splatting every pixel of the footprint (M. Schuetz et al. 2021, "Rendering point clouds with compute shaders").
"""

import math

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from vla3d.views.projection import along, to_pixel
from vla3d.views.view_set import ViewSet, VirtualCamera

EMPTY_KEY = torch.iinfo(torch.int64).max
BACKGROUND_DEPTH = -1.0
INDEX_BITS = 32

Images = tuple[Float[Tensor, "B V 3 R R"], Float[Tensor, "B V R R"], Float[Tensor, "B V 3 R R"], Int64[Tensor, "B V R R"]]


def splat(
    points: Float[Tensor, "B N 3"],
    colors: Float[Tensor, "B N 3"],
    lengths: Int[Tensor, "B"],
    views: ViewSet,
    resolution: int,
    squared_radius: int,
) -> Images:
    """Colours, depth, cube coordinates and point indices of each pixel; see `vla3d.views.splat.render_views`."""
    return images_of(z_buffer(points, lengths, views, resolution, squared_radius), points, colors)


def images_of(keys: Int64[Tensor, "B V R R"], points: Float[Tensor, "B N 3"], colors: Float[Tensor, "B N 3"]) -> Images:
    """What the points of the keys look like."""
    empty = keys == EMPTY_KEY
    depth = (keys >> INDEX_BITS).to(torch.int32).view(torch.float32).masked_fill(empty, BACKGROUND_DEPTH)
    # Empty pixels read one extra, black point behind the last one.
    index = (keys & ((1 << INDEX_BITS) - 1)).masked_fill(empty, points.shape[1])
    return _gather(colors, index), depth, _gather(points, index), index.masked_fill(empty, -1)


def pull_back(
    image_gradient: Float[Tensor, "B V 3 R R"],
    depth_gradient: Float[Tensor, "B V R R"] | None,
    points: Float[Tensor, "B N 3"],
    index: Int64[Tensor, "B V R R"],
    views: ViewSet,
    resolution: int,
    squared_radius: int,
) -> Float[Tensor, "B N 3"]:
    """Sum of the gradients of the pixels that show each point, in the order of views, rows and columns."""
    xyz = points.transpose(1, 2).contiguous()
    seen = (xyz.abs() <= 1).all(1)
    number = torch.arange(points.shape[1], device=points.device)
    total = torch.zeros_like(xyz)
    for at, view in enumerate(views):
        cell, _ = _cells(xyz, seen, view, resolution)
        row, column = cell // resolution, cell % resolution
        gradient = image_gradient[:, at]
        if depth_gradient is not None:
            forward = torch.tensor(view.forward, device=points.device)
            gradient = gradient + depth_gradient[:, at, None] * forward[:, None, None]
        for dy, dx in disc(squared_radius):
            y, x = row + dy, column + dx
            inside = (row < resolution) & (y >= 0) & (y < resolution) & (x >= 0) & (x < resolution)
            pixel = torch.where(inside, y * resolution + x, 0)
            shown = inside & (index[:, at].flatten(1).gather(1, pixel) == number)
            part = gradient.flatten(2).gather(2, pixel[:, None].expand(-1, 3, -1))
            total += torch.where(shown[:, None], part, 0.0)
    return total.transpose(1, 2).contiguous()


def disc(squared_radius: int) -> list[tuple[int, int]]:
    """Pixel offsets ``(row, column)`` whose squared length is at most this, row by row."""
    reach = math.isqrt(squared_radius)
    span = range(-reach, reach + 1)
    return [(dy, dx) for dy in span for dx in span if dy * dy + dx * dx <= squared_radius]


def z_buffer(
    points: Float[Tensor, "B N 3"], lengths: Int[Tensor, "B"], views: ViewSet, resolution: int, squared_radius: int
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
        image.scatter_reduce_(1, cell, (depth.view(torch.int32).long() << INDEX_BITS) | index, "amin")
    images = keys[..., :-1].unflatten(-1, (resolution, resolution)).transpose(0, 1)
    return _spread(images, squared_radius)


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


def _spread(keys: Int64[Tensor, "B V R R"], squared_radius: int) -> Int64[Tensor, "B V R R"]:
    """Minimum over the disc of pixels around each pixel."""
    spread = keys.clone(memory_format=torch.contiguous_format)
    size = keys.shape[-1]
    for dy, dx in disc(squared_radius):
        if (dy, dx) == (0, 0) or max(abs(dx), abs(dy)) >= size:
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
