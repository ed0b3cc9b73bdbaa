"""The operators behind `vla3d.views.splat.render_views`: drawing clouds, and bringing gradients of images back to points."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.kernels.launching import launch
from vla3d.kernels.operators import Operator, register
from vla3d.kernels.sharing import in_shares
from vla3d.views.reference import splat as reference
from vla3d.views.view_set import ViewSet, view_set_of

_NUMBERS_OF_A_VIEW = 9
_MOST_ELEMENTS = 2**31 - 1  # the kernels count in 32 bits

Images = tuple[Tensor, Tensor, Tensor, Tensor]


@lru_cache(maxsize=64)
def _cameras(views: ViewSet, device: torch.device) -> Float[Tensor, "numbers"]:
    """Axes and near plane of each view. Kept, since a copy from the host makes the program wait for a GPU."""
    numbers = [[*view.right, *view.down, *view.forward, view.near] for view in views]
    return torch.tensor(numbers, dtype=torch.float32, device=device).flatten()


def _shape(points: Tensor, axes: Sequence[float], resolution: int) -> tuple[int, int, int, int]:
    return points.shape[0], len(axes) // _NUMBERS_OF_A_VIEW, resolution, resolution


def work_of_a_thread(device: torch.device, size: int, resolution: int) -> tuple[int, int]:
    """Points and pixels: one of each on CUDA; on a CPU, where threads are the turns of a slow loop, as many as it can."""
    return (1, 1) if device.type == "cuda" else (max(size, 1), resolution)


def _splat(
    points: Tensor, colors: Tensor, lengths: Tensor, axes: Sequence[float], resolution: int, squared_radius: int
) -> Images:
    from vla3d.views.kernels import splat as kernels

    size, device, cameras = points.shape[1], points.device, _cameras(view_set_of(tuple(axes)), points.device)
    shape = batch, views, _, _ = _shape(points, axes, resolution)
    points, colors, lengths = points.contiguous(), colors.contiguous(), lengths.contiguous()
    rgb, xyz = (points.new_empty(batch, views, 3, resolution, resolution) for _ in range(2))
    depth, index = points.new_empty(shape), torch.empty(shape, dtype=torch.int64, device=device)
    keys = torch.full(shape, reference.EMPTY_KEY, device=device)
    disc = squared_radius, math.isqrt(squared_radius)
    points_each, pixels_each = work_of_a_thread(device, size, resolution)

    def draw(rows: slice) -> None:
        clouds = rows.stop - rows.start
        xyz_of, color_of = points[rows].view(-1, 3), colors[rows].view(-1, 3)
        buffer, images = keys[rows].view(-1), [part[rows].view(-1) for part in (rgb, depth, xyz, index)]
        sizes = size, views, resolution
        grid = clouds, -(-size // points_each)
        launch(kernels.fill, grid, xyz_of, lengths[rows], cameras, *sizes, resolution / 2, points_each, buffer)
        grid_of_pixels = clouds * views, resolution, resolution // pixels_each
        launch(kernels.resolve, grid_of_pixels, buffer, xyz_of, color_of, *sizes, *disc, pixels_each, *images)

    in_shares(batch, device, draw, _MOST_ELEMENTS // (3 * max(views * resolution**2, size)))
    return rgb, depth, xyz, index


def _splat_reference(
    points: Tensor, colors: Tensor, lengths: Tensor, axes: Sequence[float], resolution: int, squared_radius: int
) -> Images:
    return reference.splat(points, colors, lengths, view_set_of(tuple(axes)), resolution, squared_radius)


def _splat_fake(
    points: Tensor, colors: Tensor, lengths: Tensor, axes: Sequence[float], resolution: int, squared_radius: int
) -> Images:
    shape = batch, views, _, _ = _shape(points, axes, resolution)
    colored = batch, views, 3, resolution, resolution
    index = points.new_empty(shape, dtype=torch.int64)
    return points.new_empty(colored), points.new_empty(shape), points.new_empty(colored), index


def _save(ctx: Any, inputs: tuple[Any, ...], output: Images) -> None:
    points, _, _, *ctx.sizes = inputs
    ctx.save_for_backward(points, output[3])


def _backward(ctx: Any, rgb: Tensor, depth: Tensor, xyz: Tensor, index: Any) -> tuple[Tensor | None, ...]:
    points, shown = ctx.saved_tensors
    to_points, to_colors = ctx.needs_input_grad[:2]
    return (
        pull_back(xyz, depth, points, shown, *ctx.sizes) if to_points else None,
        pull_back(rgb, None, points, shown, *ctx.sizes) if to_colors else None,
        *[None] * 4,
    )


def points_look_for_pixels(device: torch.device) -> bool:
    """Whether gradients are summed by the points; otherwise pixels send theirs, which takes one thread for each cloud."""
    return device.type == "cuda"


def _pull_back(
    image_gradient: Tensor,
    depth_gradient: Tensor | None,
    points: Tensor,
    index: Tensor,
    axes: Sequence[float],
    resolution: int,
    squared_radius: int,
) -> Tensor:
    from vla3d.views.kernels import splat as kernels

    batch, views, _, _ = _shape(points, axes, resolution)
    size, device, cameras = points.shape[1], points.device, _cameras(view_set_of(tuple(axes)), points.device)
    with_depth = depth_gradient is not None
    depth_gradient = image_gradient.new_empty(batch, 0) if depth_gradient is None else depth_gradient.contiguous()
    image_gradient, points, index = image_gradient.contiguous(), points.contiguous(), index.contiguous()
    gradient = torch.zeros_like(points)

    def pull(rows: slice) -> None:
        images = image_gradient[rows].view(-1), depth_gradient[rows].view(-1)
        shown, xyz, result = index[rows].view(-1), points[rows].view(-1, 3), gradient[rows].view(-1, 3)
        clouds, sizes = rows.stop - rows.start, (size, views, resolution)
        if points_look_for_pixels(device):
            disc = resolution / 2, squared_radius, math.isqrt(squared_radius)
            launch(kernels.pull_back, (clouds, size), *images, xyz, shown, cameras, *sizes, *disc, int(with_depth), result)
        else:
            launch(kernels.push_back, clouds, *images, shown, cameras, *sizes, int(with_depth), result)

    in_shares(batch, device, pull, _MOST_ELEMENTS // (3 * max(views * resolution**2, size)))
    return gradient


def _pull_back_reference(
    image_gradient: Tensor,
    depth_gradient: Tensor | None,
    points: Tensor,
    index: Tensor,
    axes: Sequence[float],
    resolution: int,
    squared_radius: int,
) -> Tensor:
    views = view_set_of(tuple(axes))
    return reference.pull_back(image_gradient, depth_gradient, points, index, views, resolution, squared_radius)


def _pull_back_fake(image_gradient: Tensor, depth_gradient: Tensor | None, points: Tensor, *rest: Any) -> Tensor:
    return points.new_empty(points.shape)


splat = register(
    Operator(
        schema="splat(Tensor points, Tensor colors, Tensor lengths, float[] axes, int resolution, int squared_radius)"
        " -> (Tensor, Tensor, Tensor, Tensor)",
        kernel=_splat,
        reference=_splat_reference,
        fake=_splat_fake,
        save=_save,
        backward=_backward,
    )
)
pull_back = register(
    Operator(
        schema="splat_backward(Tensor image_gradient, Tensor? depth_gradient, Tensor points, Tensor index, float[] axes,"
        " int resolution, int squared_radius) -> Tensor",
        kernel=_pull_back,
        reference=_pull_back_reference,
        fake=_pull_back_fake,
    )
)
