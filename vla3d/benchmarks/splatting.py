"""Rendering a cloud from three virtual cameras."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.benchmarks.cases import Case, Contestant, short, uniform
from vla3d.kernels.operators import reference_kernels
from vla3d.views import RenderedViews, ViewSet, render_views

FIXED = 100_000
RESOLUTION = 224
_FOOTPRINT = 1
_CHANNELS = 3 + 1 + 3  # colours, depth, coordinates
_EMPTY = torch.iinfo(torch.int64).max


def case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """The task for clouds of ``size`` points that fill the cube."""
    views = ViewSet.from_names()
    points, colors = uniform((batch, size, 3), seed, device) * 2 - 1, uniform((batch, size, 3), seed + 1, device)
    lengths = torch.full((batch,), size, device=device)

    def ours() -> RenderedViews:
        return render_views(points, colors, lengths, views, RESOLUTION, _FOOTPRINT)

    def by_reference() -> RenderedViews:
        with reference_kernels():
            return ours()

    return Case(
        op="splat",
        name=f"splat:{short(size)}x{len(views)}x{RESOLUTION}",
        size=size,
        ours=Contestant(name="vla3d", run=ours, answer=lambda images: images.index),
        peers=(
            Contestant(name="torch reference", run=by_reference, answer=lambda images: images.index),
            Contestant(
                name="torch scatter_reduce",
                run=lambda: [scatter_reduce(cloud, color, views) for cloud, color in zip(points, colors, strict=True)],
                answer=lambda clouds: torch.stack([index for index, *_ in clouds]),
            ),
        ),
        touched=batch * (24 * size + len(views) * RESOLUTION**2 * (4 * _CHANNELS + 8 + 1)),
    )


def scatter_reduce(points: Float[Tensor, "N 3"], colors: Float[Tensor, "N 3"], views: ViewSet) -> tuple[Tensor, ...]:
    """A z-buffer as one writes it in an afternoon: for each view one scattered minimum of depth above index.

    Returns:
        Indices, colours, depth and coordinates of the pixels.
    """
    images = []
    for view, axes in zip(views, views.axes(points.device), strict=True):
        right, down, forward = (points @ axes.T).unbind(1)
        column, row = (((c + 1) * (RESOLUTION / 2)).floor().clamp(max=RESOLUTION - 1).long() for c in (right, down))
        depth = (forward + view.near).clamp(min=0)
        key = (depth.view(torch.int32).long() << 32) | torch.arange(len(points), device=points.device)
        buffer = torch.full((RESOLUTION**2,), _EMPTY, device=points.device)
        buffer.scatter_reduce_(0, row * RESOLUTION + column, key, "amin")
        images.append(_widened(buffer.view(RESOLUTION, RESOLUTION)))
    keys = torch.stack(images)
    seen = keys < _EMPTY
    index = torch.where(seen, keys & 0xFFFFFFFF, 0)
    depth = torch.where(seen, (keys >> 32).to(torch.int32).view(torch.float32), -1.0)
    rgb, xyz = ((values[index] * seen[..., None]).movedim(-1, 1) for values in (colors, points))
    return torch.where(seen, index, -1), rgb, depth, xyz


def _widened(keys: Int64[Tensor, "R R"]) -> Int64[Tensor, "R R"]:
    """Each point covers a plus of five pixels."""
    wide = keys.clone()
    wide[1:] = torch.minimum(wide[1:], keys[:-1])
    wide[:-1] = torch.minimum(wide[:-1], keys[1:])
    wide[:, 1:] = torch.minimum(wide[:, 1:], keys[:, :-1])
    wide[:, :-1] = torch.minimum(wide[:, :-1], keys[:, 1:])
    return wide
