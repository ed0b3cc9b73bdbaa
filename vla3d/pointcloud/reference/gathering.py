"""Adding up rows that belong together, one of each sum at a time."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.pointcloud.grouping import group_rows


def sum_rows(values: Float[Tensor, "R C"], index: Int64[Tensor, "R"], total: int, mean: bool) -> Float[Tensor, "total C"]:
    """See `vla3d.pointcloud.gathering.sum_rows`."""
    order, begin = group_rows(index, total)
    together = values.new_zeros(total, values.shape[1], dtype=torch.float64)
    count = begin.diff()
    for step in range(int(count.max()) if total > 0 else 0):
        more = (count > step).nonzero()[:, 0]
        together[more] += values[order[begin[more] + step]].double()
    if mean:
        together /= count.clamp(min=1)[:, None]
    return together.to(values.dtype)
