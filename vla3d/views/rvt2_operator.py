"""The operator behind `vla3d.views.rvt2.render_rvt2_views`."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.kernels.launching import launch
from vla3d.kernels.operators import Operator, register
from vla3d.kernels.sharing import in_shares
from vla3d.views.reference import rvt2 as reference
from vla3d.views.reference.splat import EMPTY_KEY
from vla3d.views.splat_operators import Images, work_of_a_thread

_MOST_ELEMENTS = 2**31 - 1  # the kernels count in 32 bits
_VIEWS = len(reference.VIEWS)
_DISC = (1, 1)  # squared radius and reach, pixels


@lru_cache(maxsize=64)
def _cameras(device: torch.device) -> Float[Tensor, "numbers"]:
    """Axes of each view and where its camera stands. Kept, since a copy from the host makes the program wait for a GPU."""
    numbers = [[*view.right, *view.down, *view.forward, eye] for view, eye in zip(reference.VIEWS, reference.EYES, strict=True)]
    return torch.tensor(numbers, dtype=torch.float32, device=device).flatten()


def _empty_images(points: Tensor, resolution: int) -> Images:
    shape = points.shape[0], _VIEWS, resolution, resolution
    rgb, xyz = (points.new_empty(*shape[:2], 3, *shape[2:]) for _ in range(2))
    return rgb, points.new_empty(shape), xyz, points.new_empty(shape, dtype=torch.int64)


def _splat(points: Tensor, colors: Tensor, lengths: Tensor, resolution: int) -> Images:
    from vla3d.views.kernels import rvt2 as kernels

    batch, size, device = points.shape[0], points.shape[1], points.device
    points, colors, lengths = points.contiguous(), colors.contiguous(), lengths.contiguous()
    results = _empty_images(points, resolution)
    keys = torch.full(results[3].shape, EMPTY_KEY, device=device)
    points_each, pixels_each = work_of_a_thread(device, size, resolution)

    def draw(rows: slice) -> None:
        clouds = rows.stop - rows.start
        xyz_of, color_of = points[rows].view(-1, 3), colors[rows].view(-1, 3)
        buffer, images = keys[rows].view(-1), [part[rows].view(-1) for part in results]
        sizes = size, _VIEWS, resolution
        grid = clouds, -(-size // points_each)
        launch(kernels.fill, grid, xyz_of, lengths[rows], _cameras(device), *sizes, resolution / 2, points_each, buffer)
        grid_of_pixels = clouds * _VIEWS, resolution, resolution // pixels_each
        launch(kernels.resolve, grid_of_pixels, buffer, xyz_of, color_of, *sizes, *_DISC, pixels_each, *images)

    in_shares(batch, device, draw, _MOST_ELEMENTS // (3 * max(_VIEWS * resolution**2, size)))
    return results


splat_rvt2 = register(
    Operator(
        schema="splat_rvt2(Tensor points, Tensor colors, Tensor lengths, int resolution) -> (Tensor, Tensor, Tensor, Tensor)",
        kernel=_splat,
        reference=reference.splat,
        fake=lambda points, colors, lengths, resolution: _empty_images(points, resolution),
    )
)
