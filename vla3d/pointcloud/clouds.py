"""A batch of coloured point clouds, padded to one size, and what is done to it before it is rendered."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from vla3d.geometry import SimilarityTransform, transform_points, unproject

Bounds = Sequence[float] | Float[Tensor, "3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointCloud:
    """Coloured points, padded with zeros at the end of each row.

    Attributes:
        points: metres or cube coordinates.
        colors: in [0, 1].
        lengths: how many points of each row are real.
    """

    points: Float32[Tensor, "B N 3"]
    colors: Float32[Tensor, "B N 3"]
    lengths: Int[Tensor, "B"]

    def __post_init__(self) -> None:
        shape = self.points.shape
        if len(shape) != 3 or shape[-1] != 3 or self.colors.shape != shape or self.lengths.shape != shape[:1]:
            raise ValueError(
                f"PointCloud: got points {tuple(shape)}, colors {tuple(self.colors.shape)}, lengths "
                f"{tuple(self.lengths.shape)}, expected (B, N, 3), (B, N, 3) and (B,)."
            )

    @property
    def mask(self) -> Bool[Tensor, "B N"]:
        """Which entries are points rather than padding."""
        return torch.arange(self.points.shape[1], device=self.points.device) < self.lengths[:, None]

    def to(self, device: torch.device | str) -> "PointCloud":
        """The same clouds on another device."""
        return PointCloud(points=self.points.to(device), colors=self.colors.to(device), lengths=self.lengths.to(device))

    @classmethod
    def stack(cls, clouds: Sequence["PointCloud"]) -> "PointCloud":
        """Join batches of any sizes into one, padded to the largest.

        Raises:
            ValueError: when there is nothing to join.
        """
        if not clouds:
            raise ValueError("PointCloud.stack: got no clouds, expected at least one.")
        size = max(cloud.points.shape[1] for cloud in clouds)

        def pad(values: Tensor) -> Tensor:
            return torch.nn.functional.pad(values, (0, 0, 0, size - values.shape[1]))

        return cls(
            points=torch.cat([pad(cloud.points) for cloud in clouds]),
            colors=torch.cat([pad(cloud.colors) for cloud in clouds]),
            lengths=torch.cat([cloud.lengths for cloud in clouds]),
        )


def fuse_frames(
    rgb: UInt8[Tensor, "B C H W 3"],
    depth: Float[Tensor, "B C H W"],
    intrinsics: Float[Tensor, "B C 3 3"],
    T_world_camera: Float[Tensor, "B C 4 4"],
    low: Bounds,
    high: Bounds,
    *,
    compact: bool = True,
) -> PointCloud:
    """The points that several calibrated cameras see inside a box.

    Args:
        rgb: colours.
        depth: planar z, metres; 0 or non-finite means no measurement.
        intrinsics: pinhole matrices, pixel centres at half-integers.
        T_world_camera: camera-to-world transforms.
        low: lower corner of the box to keep, metres, border included. A tensor on the device is not copied.
        high: upper corner.
        compact: leave out pixels that have no measurement or fall outside the box. Otherwise they stay as points of NaN, which
            every point operation and the renderer pass over; then nothing waits for a GPU, whose clouds' sizes are not known
            here.

    Returns:
        World points, ordered by camera, row, column.

    Raises:
        ValueError: when the images' shapes do not fit each other.
    """
    if depth.ndim != 4 or rgb.shape != (*depth.shape, 3):
        raise ValueError(
            f"frames: got rgb {tuple(rgb.shape)} and depth {tuple(depth.shape)}, expected (B, C, H, W, 3), (B, C, H, W)."
        )
    points, valid = unproject(depth.float(), intrinsics.float(), T_world_camera.float())
    flat = points.flatten(1, 3)
    keep = valid.flatten(1) & _inside(flat, low, high)
    return (_compact if compact else _in_place)(flat, rgb.flatten(1, 3), keep)


def crop(cloud: PointCloud, low: Bounds, high: Bounds, *, compact: bool = True) -> PointCloud:
    """The points inside a box, border included, in their order.

    Args:
        cloud: any clouds.
        low: lower corner, metres.
        high: upper corner.
        compact: leave the others out; otherwise they stay as points of NaN, see `fuse_frames`.
    """
    keep = cloud.mask & _inside(cloud.points, low, high)
    return (_compact if compact else _in_place)(cloud.points, cloud.colors, keep)


def subsample(cloud: PointCloud, max_points: int, generator: torch.Generator) -> PointCloud:
    """At most ``max_points`` points of each cloud, drawn uniformly without replacement and kept in their order.

    Clouds that are small enough stay whole. What is drawn depends on the padded size of the batch too.

    Args:
        cloud: any clouds.
        max_points: at least 1.
        generator: source of randomness, on the clouds' device.

    Raises:
        ValueError: when ``max_points`` is not positive.
    """
    if max_points < 1:
        raise ValueError(f"max_points: got {max_points}, expected at least 1.")
    if cloud.points.shape[1] <= max_points:
        return cloud
    # Keep the points whose random 62-bit numbers are the smallest; padding draws the largest. Should two numbers be equal, the
    # running count keeps the size right.
    ticket = torch.randint(2**62, cloud.points.shape[:2], generator=generator, device=cloud.points.device)
    ticket = ticket.masked_fill(~cloud.mask, torch.iinfo(torch.int64).max)
    kept = ticket <= ticket.kthvalue(max_points, dim=1, keepdim=True).values
    return _compact(cloud.points, cloud.colors, kept & (kept.cumsum(1) <= max_points) & cloud.mask)


def transform(cloud: PointCloud, by: SimilarityTransform | Float[Tensor, "B 4 4"]) -> PointCloud:
    """The clouds after a similarity transform or a rigid one (4x4); padding stays zero.

    Args:
        cloud: any clouds.
        by: one transform per cloud, or one for all (leading dimension 1).
    """
    moved = by.apply(cloud.points) if isinstance(by, SimilarityTransform) else transform_points(by, cloud.points)
    points = torch.where(cloud.mask[..., None], moved, 0.0).to(cloud.points.dtype)
    return PointCloud(points=points, colors=cloud.colors, lengths=cloud.lengths)


def _inside(points: Float[Tensor, "B N 3"], low: Bounds, high: Bounds) -> Bool[Tensor, "B N"]:
    lower, upper = (torch.as_tensor(bound, dtype=points.dtype, device=points.device) for bound in (low, high))
    inside = [(c >= lower[axis]) & (c <= upper[axis]) for axis, c in enumerate(points.unbind(-1))]
    return inside[0] & inside[1] & inside[2]


def _compact(points: Float[Tensor, "B N 3"], colors: Tensor, keep: Bool[Tensor, "B N"]) -> PointCloud:
    """Move the kept points to the front of each row, in their order; uint8 colours become floats."""
    lengths = keep.sum(1)
    size = int(lengths.max()) if len(lengths) else 0
    source = keep.flatten().nonzero().squeeze(1)
    position = torch.arange(len(source), device=points.device)
    row = torch.repeat_interleave(torch.arange(len(lengths), device=points.device), lengths, output_size=len(source))
    target = row * size + (position - (lengths.cumsum(0) - lengths)[row])
    packed_points = points.new_zeros(len(lengths) * size, 3)
    packed_colors = points.new_zeros(len(lengths) * size, 3)
    packed_points[target] = points.flatten(0, 1)[source]
    taken = colors.flatten(0, 1)[source]
    packed_colors[target] = _unit_colors(taken)
    shape = (len(lengths), size, 3)
    return PointCloud(points=packed_points.view(shape), colors=packed_colors.view(shape), lengths=lengths)


def _in_place(points: Float[Tensor, "B N 3"], colors: Tensor, keep: Bool[Tensor, "B N"]) -> PointCloud:
    """Every point where it was, NaN for those not kept; uint8 colours become floats."""
    lengths = torch.full(keep.shape[:1], keep.shape[1], device=points.device)
    return PointCloud(points=torch.where(keep[..., None], points, torch.nan), colors=_unit_colors(colors), lengths=lengths)


def _unit_colors(colors: Tensor) -> Tensor:
    return colors.float() / 255 if colors.dtype == torch.uint8 else colors
