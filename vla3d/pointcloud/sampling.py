"""Choosing points that cover a cloud."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from vla3d.kernels.clusters import uses_clusters
from vla3d.kernels.launching import launch
from vla3d.kernels.operators import Operator, register
from vla3d.kernels.sharing import in_shares
from vla3d.pointcloud.reference import sampling as reference
from vla3d.pointcloud.rows import check_count, check_device, cloud_of_points, rows_of, valid_points

_BLOCK = 512
_MORTON_BITS = 10


def farthest_point_sampling(
    points: Float[Tensor, "*shape 3"],
    k: int,
    lengths: Int[Tensor, "B"] | None = None,
    *,
    offsets: Int[Tensor, "B_plus_1"] | None = None,
    first: Int[Tensor, "B"] | None = None,
) -> Int64[Tensor, "B k"]:
    """Choose ``k`` points of each cloud, each one the farthest from all chosen before (Eldar et al. 1997; Qi et al. 2017).

    No point is chosen twice, equally far ones in the order of their indices, duplicates of a chosen point last. Points with a
    non-finite coordinate are never chosen. Distances are computed in float32 (float64 for float64 points), with the same result
    on every device.

    Args:
        points: clouds, padded ``(B, N, 3)`` or packed ``(T, 3)``.
        k: how many to choose.
        lengths: real points of each padded cloud; all when None.
        offsets: borders of packed clouds.
        first: index of each cloud's first choice, within the cloud; 0 when None, see `random_first`. Where that is no valid
            point, the first valid one is taken.

    Returns:
        Indices, padded with -1 where a cloud has fewer valid points. They count within the cloud, or, for packed clouds, in the
        flat tensor.

    Raises:
        ValueError: when shapes, types, devices or sizes do not fit.
    """
    check_count("k", k)
    rows = rows_of("points", points, lengths, offsets)
    if first is None:
        first = torch.zeros_like(rows.lengths)
    if first.shape != rows.lengths.shape or first.is_floating_point():
        raise ValueError(
            f"first: got {first.dtype} of shape {tuple(first.shape)}, expected whole numbers {tuple(rows.lengths.shape)}."
        )
    check_device("first", first, points)
    # Of packed clouds only the sum is known without looking at the values.
    longest = points.shape[-2]
    return rows.outward(_operator(rows.points.detach(), rows.starts, rows.lengths, first.long(), k, longest))


def random_first(lengths: Int[Tensor, "B"], generator: torch.Generator) -> Int64[Tensor, "B"]:
    """A random point of each cloud to begin with.

    Args:
        lengths: points of each cloud.
        generator: source of randomness, on the same device.
    """
    share = torch.rand(lengths.shape, dtype=torch.float64, device=lengths.device, generator=generator)
    return (share * lengths).long()


def _kernel(points: Tensor, starts: Tensor, lengths: Tensor, first: Tensor, k: int, longest: int) -> Tensor:
    chosen = torch.full((len(starts), k), -1, device=points.device)
    if 0 in (len(starts), len(points), k):
        return chosen
    if uses_clusters(points.device) and _sample_in_clusters(points, starts, lengths, first, chosen, longest):
        return chosen
    sample = _sample_serially if points.device.type == "cpu" else _sample_in_blocks
    sample(points, starts, lengths, first, chosen)
    return chosen


def _sample_serially(points: Tensor, starts: Tensor, lengths: Tensor, first: Tensor, chosen: Tensor) -> None:
    """Fill in ``chosen``, each thread some of the clouds: the form for a CPU."""
    from vla3d.pointcloud.kernels import serial_sampling as kernels

    tree = kernels.LEAF * kernels.BRANCH
    trees = max(1, -(-int(lengths.max()) // tree))
    # The boxes of trees are looked at as many at a time as those of the leaves of a tree.
    nodes = trees * kernels.BRANCH + -(-trees // kernels.BRANCH) * kernels.BRANCH

    def sample(clouds: slice) -> None:
        workspace = (
            points.new_empty(3, trees * tree),
            points.new_empty(kernels.ROWS, trees * tree, dtype=torch.int32),
            points.new_empty(6, nodes),
            points.new_empty(2, nodes, dtype=torch.int32),
        )
        launch(kernels.farthest_points, 1, points, starts, lengths, first, clouds.start, clouds.stop, *workspace, chosen)

    in_shares(len(starts), points.device, sample, len(starts))


def _sample_in_blocks(points: Tensor, starts: Tensor, lengths: Tensor, first: Tensor, chosen: Tensor) -> None:
    """Fill in ``chosen``, a block of threads each cloud: the form for CUDA."""
    from vla3d.pointcloud.kernels import sampling as kernels

    batch, total = len(starts), len(points)
    cloud = cloud_of_points(starts, total)
    valid = valid_points(points, starts, lengths, cloud)
    count, first = _choosable(valid, starts, lengths, first, cloud)
    order = _neighbours_together(points, valid, cloud, batch)
    position = torch.empty_like(order)
    position[order] = torch.arange(total, device=points.device)
    sorted_points = points[order]
    buckets = total // kernels.BUCKET + batch + 1
    box_low, box_high = points.new_empty(buckets, 3), points.new_empty(buckets, 3)
    best = torch.empty(buckets, dtype=torch.int64, device=points.device)
    launch(kernels.bound_buckets, batch, sorted_points, order, starts, count, box_low, box_high, best, block=_BLOCK)
    nearest = torch.full((total,), torch.inf, device=points.device)
    bounds = (nearest, box_low, box_high, best)
    launch(kernels.farthest_points, batch, sorted_points, order, position, starts, count, first, *bounds, chosen, block=_BLOCK)


def _sample_in_clusters(points: Tensor, starts: Tensor, lengths: Tensor, first: Tensor, chosen: Tensor, longest: int) -> bool:
    """Fill in ``chosen`` where a cluster of thread blocks can hold every cloud; whether it could."""
    from vla3d.pointcloud.kernels import cluster_sampling as kernels

    if longest > kernels.CAPACITY:
        return False
    cloud = cloud_of_points(starts, len(points))
    count, first = _choosable(valid_points(points, starts, lengths, cloud), starts, lengths, first, cloud)
    shape = kernels.shape_for(longest)
    launch(
        kernels.KERNELS[shape], len(starts) * shape.blocks, points, starts, lengths, count, first, chosen, block=shape.threads
    )
    return True


def _choosable(
    valid: Tensor, starts: Tensor, lengths: Tensor, first: Tensor, cloud: Tensor
) -> tuple[Int64[Tensor, "B"], Int64[Tensor, "B"]]:
    """How many points of each cloud can be chosen, and the first: the one asked for where it is one of them, else the first."""
    total = len(valid)
    index = torch.arange(total, device=valid.device) - starts[cloud]
    earliest = torch.full_like(starts, total).scatter_reduce_(0, cloud, index.masked_fill(~valid, total), "amin")
    inside = (first >= 0) & (first < lengths)
    wanted = (starts + first).clamp(0, total - 1)
    count = torch.zeros_like(starts).index_add_(0, cloud, valid.long())
    return count, torch.where(inside & valid[wanted], first, earliest)


def _neighbours_together(points: Tensor, valid: Tensor, cloud: Tensor, batch: int) -> Tensor:
    """Order of the points by cloud, then along a space-filling curve (Morton 1966) through it, invalid points last."""
    corner = [
        points.new_full((batch, 3), -sign * torch.inf).scatter_reduce_(
            0, cloud[:, None].expand(-1, 3), points.masked_fill(~valid[:, None], -sign * torch.inf), operation
        )
        for operation, sign in (("amin", -1), ("amax", 1))
    ]
    extent = (corner[1] - corner[0]).amax(1)
    scale = (1 << _MORTON_BITS) / torch.where((extent > 0) & extent.isfinite(), extent, 1.0)
    cells = ((points - corner[0][cloud]) * scale[cloud][:, None]).nan_to_num(0.0).clamp(0, (1 << _MORTON_BITS) - 1).long()
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cells = (cells | (cells << shift)) & mask
    code = cells[:, 0] | (cells[:, 1] << 1) | (cells[:, 2] << 2) | (~valid).long() << (3 * _MORTON_BITS)
    return torch.argsort(cloud << (3 * _MORTON_BITS + 1) | code, stable=True)


def _fake(points: Tensor, starts: Tensor, lengths: Tensor, first: Tensor, k: int, longest: int) -> Tensor:
    return points.new_empty((starts.shape[0], k), dtype=torch.int64)


_operator = register(
    Operator(
        schema=(
            "farthest_point_sampling(Tensor points, Tensor starts, Tensor lengths, Tensor first, SymInt k, SymInt longest)"
            " -> Tensor"
        ),
        kernel=_kernel,
        reference=reference.farthest_point_sampling,
        fake=_fake,
    )
)
