"""Neighbours by sorting all distances."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# Distances at once.
_MOST = 1 << 22


def knn(
    queries: Float[Tensor, "Q 3"],
    query_starts: Int64[Tensor, "B"],
    query_lengths: Int64[Tensor, "B"],
    points: Float[Tensor, "T 3"],
    starts: Int64[Tensor, "B"],
    lengths: Int64[Tensor, "B"],
    k: int,
) -> tuple[Float[Tensor, "Q k"], Int64[Tensor, "Q k"]]:
    """Squared distances, and indices within each cloud; see `vla3d.pointcloud.neighbours.knn`."""
    squared_distance = queries.new_full((len(queries), k), torch.inf)
    index = torch.full((len(queries), k), -1, device=queries.device)
    for rows, distance in _distances(queries, query_starts, query_lengths, points, starts, lengths):
        nearest, order = distance.sort(dim=1, stable=True)
        taken = min(k, order.shape[1])
        squared_distance[rows, :taken] = nearest[:, :taken]
        index[rows, :taken] = torch.where(nearest.isfinite(), order, -1)[:, :taken]
    return squared_distance, index


def ball_query(
    queries: Float[Tensor, "Q 3"],
    query_starts: Int64[Tensor, "B"],
    query_lengths: Int64[Tensor, "B"],
    points: Float[Tensor, "T 3"],
    starts: Int64[Tensor, "B"],
    lengths: Int64[Tensor, "B"],
    radius: float,
    k: int,
    by_distance: bool,
) -> tuple[Int64[Tensor, "Q k"], Int64[Tensor, "Q"]]:
    """Indices within each cloud, and how many; see `vla3d.pointcloud.neighbours.ball_query`."""
    index = torch.full((len(queries), k), -1, device=queries.device)
    count = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    limit = torch.tensor(radius, dtype=points.dtype, device=points.device).square()
    for rows, distance in _distances(queries, query_starts, query_lengths, points, starts, lengths):
        inside = distance < limit
        keys = torch.where(inside, distance, torch.inf) if by_distance else (~inside).byte()
        order = keys.sort(dim=1, stable=True).indices
        taken = min(k, order.shape[1])
        index[rows, :taken] = torch.where(inside.gather(1, order), order, -1)[:, :taken]
        count[rows] = inside.sum(1).clamp(max=k)
    return index, count


def _distances(
    queries: Tensor, query_starts: Tensor, query_lengths: Tensor, points: Tensor, starts: Tensor, lengths: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances of some queries, which a slice tells, to all points of their cloud; infinite where one is invalid."""
    clouds = zip(*(each.tolist() for each in (query_starts, query_lengths, starts, lengths)), strict=True)
    for query_start, query_length, start, length in clouds:
        cloud = points[start : start + length]
        step = max(1, _MOST // max(1, length))
        for begin in range(query_start, query_start + query_length, step):
            rows = slice(begin, min(begin + step, query_start + query_length))
            x, y, z = (cloud - queries[rows, None]).square().unbind(-1)
            valid = cloud.isfinite().all(-1) & queries[rows, None].isfinite().all(-1)
            yield rows, torch.where(valid, (x + y) + z, torch.inf)
