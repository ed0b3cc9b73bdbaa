"""Farthest point sampling, step by step."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def farthest_point_sampling(
    points: Float[Tensor, "T 3"],
    starts: Int64[Tensor, "B"],
    lengths: Int64[Tensor, "B"],
    first: Int64[Tensor, "B"],
    k: int,
    longest: int,
) -> Int64[Tensor, "B k"]:
    """Indices within each cloud; see `vla3d.pointcloud.sampling.farthest_point_sampling`. Kernels want to know ``longest``."""
    chosen = torch.full((len(starts), k), -1, device=points.device)
    for row, (start, length, begin) in enumerate(zip(starts.tolist(), lengths.tolist(), first.tolist(), strict=True)):
        picks = _sample(points[start : start + length], begin, k)
        chosen[row, : len(picks)] = picks
    return chosen


def _sample(points: Float[Tensor, "N 3"], first: int, k: int) -> Int64[Tensor, "K"]:
    valid = points.isfinite().all(1)
    points = torch.where(valid[:, None], points, 0.0)
    steps = min(k, int(valid.sum()))
    picks = torch.empty(steps, dtype=torch.int64, device=points.device)
    # Squared distance to the nearest chosen point; -1 marks what can no longer be chosen.
    nearest = torch.where(valid, torch.inf, -1.0).to(points.dtype)
    begins_well = 0 <= first < len(points) and bool(valid[first])
    pick = first if begins_well else int(valid.int().argmax()) if steps else 0
    for step in range(steps):
        picks[step] = pick
        nearest[pick] = -1
        difference = points - points[pick]
        x, y, z = (difference * difference).unbind(1)
        nearest = torch.minimum(nearest, (x + y) + z)
        pick = int(nearest.argmax())  # the first of the largest
    return picks
