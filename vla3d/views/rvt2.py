"""Views as the renderer of RVT-2 draws them, which the published checkpoints of RVT-2 and BridgeVLA were trained on.

Other cameras and another rule for what a pixel shows than `vla3d.views.splat.render_views`, so a function of its own. What the
heatmaps over these views mean is in `vla3d.views.rvt2_heatmaps`. Written from a description of what the official program does
and from numbers that it computed (`tests/views/test_views_rvt2_golden.py`); no line of it is used.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vla3d.views.rvt2_operator import splat_rvt2
from vla3d.views.splat import RenderedViews, validate_clouds

RVT2_RESOLUTION = 224


@torch.no_grad()
def render_rvt2_views(
    points: Float[Tensor, "B N 3"],
    colors: Float[Tensor, "B N 3"],
    lengths: Int[Tensor, "B"],
    resolution: int = RVT2_RESOLUTION,
) -> RenderedViews:
    """Render clouds from the three cameras `RVT2_VIEWS` by the rules of RVT-2 (Goyal et al. 2024).

    With ``f = resolution / 2``: the camera "top" has its columns at ``f x + f``, its rows at ``f - f y`` and the depth
    ``1 - z``; "front" has ``f y + f``, ``f - f z`` and ``1 - x``; "right" is mirrored and stands inside the cube, ``f - f x``,
    ``f - f z`` and ``0.5 - y``. A point falls into the pixel of its position cut to whole numbers; on the far
    border it falls outside.

    Depth is cut to whole thousandths. Points are drawn wherever they lie along the viewing direction: behind a camera they have
    depth 0 and hide all others. Of the points of one pixel the nearest wins, of equally near ones that of lowest index. Then a
    pixel shows the nearest of its own and its four neighbours' points, and of equally near ones the last in the order left, up,
    itself, down, right. Neighbours of depth 0 do not count there.

    Args:
        points: cube coordinates, float32 or less. Non-finite points are not drawn.
        colors: in [0, 1], float32 or less; see `rvt2_colors`.
        lengths: how many points of each cloud are real.
        resolution: image side, pixels. The program draws 224; its points cover five pixels at any other size too.

    Returns:
        Images, without gradients. ``depth`` is measured from the camera, in cube units, at most 4000.

    Raises:
        ValueError: when shapes, types or sizes do not fit.
    """
    validate_clouds(points, colors, lengths, resolution)
    rgb, depth, xyz, index = splat_rvt2(points.float(), colors.float(), lengths.long(), resolution)
    return RenderedViews(rgb=rgb, depth=depth, xyz=xyz, mask=index >= 0, index=index)


def rvt2_colors(rgb: UInt8[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Colours in [0, 1] as RVT-2 gets them: by way of [-1, 1], which rounds twice.

    Together with `rvt2_bytes` this is not the identity: many values come back one lower.
    """
    if rgb.dtype != torch.uint8:
        raise ValueError(f"rgb: got {rgb.dtype}, expected uint8.")
    return ((rgb.float() / 255 * 2 - 1) + 1) / 2


def rvt2_bytes(rgb: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Images in [0, 1] as the bytes that the vision-language model of BridgeVLA sees: cut, not rounded."""
    return (rgb * 255).to(torch.uint8)


def rvt2_channels(
    image: RenderedViews, points: Float[Tensor, "B N 3"], lengths: Int[Tensor, "B"]
) -> Float[Tensor, "B V 7 R R"]:  # fmt: skip
    """All that RVT-2 renders, as channels: place, colour and depth. BridgeVLA looks at the colour alone.

    Args:
        image: from `render_rvt2_views`.
        points: of the same call.
        lengths: of the same call.

    Returns:
        Cube coordinates divided by the largest absolute one of the whole cloud, in view or not; colours; depth less the mean
        depth of the view's observed pixels, -1 where nothing is seen.
    """
    points = points.float()
    real = (torch.arange(points.shape[1], device=points.device) < lengths[:, None]) & points.isfinite().all(-1)
    coordinates = torch.where(real[..., None], points.abs(), 0.0).flatten(1)
    largest = torch.nn.functional.pad(coordinates, (0, 1)).amax(1)  # a cloud without points has one as well
    place = image.xyz / torch.where(largest > 0, largest, 1.0)[:, None, None, None, None]
    observed = image.mask.sum((2, 3), keepdim=True)
    mean = (image.depth * image.mask).sum((2, 3), keepdim=True) / observed.clamp(min=1)
    depth = torch.where(image.mask, image.depth - mean, image.depth)
    return torch.cat((place, image.rgb, depth[:, :, None]), 2)
