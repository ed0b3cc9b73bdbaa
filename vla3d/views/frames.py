"""From the frames of RGB-D cameras to virtual views in one call."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vla3d.geometry.transforms import SimilarityTransform
from vla3d.pointcloud.clouds import Bounds, fuse_frames
from vla3d.views.splat import RenderedViews, render_views
from vla3d.views.view_set import ViewSet


def render_frames(
    rgb: UInt8[Tensor, "B C H W 3"],
    depth: Float[Tensor, "B C H W"],
    intrinsics: Float[Tensor, "B C 3 3"],
    T_world_camera: Float[Tensor, "B C 4 4"],
    low: Bounds,
    high: Bounds,
    views: ViewSet,
    resolution: int,
    footprint: int | None = None,
    *,
    radius: float | None = None,
    radius_metres: float | None = None,
    to_view: SimilarityTransform | None = None,
) -> RenderedViews:
    """Fuse what several cameras see inside a box and render it from virtual cameras.

    The images are those of `fuse_frames` followed by `render_views`, without the compaction in between that makes the program
    wait for a GPU. Gradients reach ``depth`` and the cameras through ``xyz`` and ``depth`` of the result.

    Args:
        rgb: colours.
        depth: planar z, metres; 0 or non-finite means no measurement.
        intrinsics: pinhole matrices, pixel centres at half-integers.
        T_world_camera: camera-to-world transforms.
        low: lower corner of the box to keep, metres, border included; a tensor on the device is not copied.
        high: upper corner.
        views: the virtual cameras.
        resolution: their image side, pixels.
        footprint: see `render_views`.
        radius: see `render_views`.
        radius_metres: how far a point reaches in the world, metres, whatever ``to_view`` magnifies. With it the program reads
            ``to_view.scale``, or else the bounds, and waits for a GPU where they lie on one.
        to_view: world to the cube [-1, 1]^3, for example of a second, magnified look; when None the box is put into the cube as
            `vla3d.geometry.workspace_to_cube` does.

    Returns:
        Images. Their ``index`` numbers the pixels of the frames: ``(camera * H + row) * W + column``.

    Raises:
        ValueError: when shapes, types or sizes do not fit.
    """
    cloud = fuse_frames(rgb, depth, intrinsics, T_world_camera, low, high, compact=False)
    transform = _box_to_cube(low, high, depth.device) if to_view is None else to_view
    scale = None if radius_metres is None else _scale(low, high) if to_view is None else to_view.scale
    size = {"radius": radius, "radius_metres": radius_metres}
    points = transform.apply(cloud.points)
    return render_views(points, cloud.colors, cloud.lengths, views, resolution, footprint, scale=scale, **size)


def _scale(low: Bounds, high: Bounds) -> float:
    """Of `_box_to_cube`, as a number, without a tensor where the bounds are numbers."""
    lower, upper = (bound.tolist() if isinstance(bound, Tensor) else bound for bound in (low, high))
    return 2.0 / max(float(end) - float(begin) for begin, end in zip(lower, upper, strict=True))


def _box_to_cube(low: Bounds, high: Bounds, device: torch.device) -> SimilarityTransform:
    """As `workspace_to_cube`, from bounds that may lie on a GPU."""
    lower, upper = (torch.as_tensor(bound, dtype=torch.float64, device=device) for bound in (low, high))
    cube = SimilarityTransform.about((lower + upper)[None] / 2, 2.0 / (upper - lower).amax()[None])
    return SimilarityTransform(scale=cube.scale.float(), translation=cube.translation.float())
