"""Features of sixteen points for each of at most 4096 queries."""

import torch

from vla3d.benchmarks.cases import Case, Contestant, short, uniform
from vla3d.pointcloud import gather_points

FIXED = 100_000
_QUERIES = 4096
_NEIGHBOURS = 16
_CHANNELS = 32


def case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """The task for clouds of ``size`` points."""
    queries = min(_QUERIES, size)
    values = uniform((batch, size, _CHANNELS), seed, device)
    index = (uniform((batch, queries, _NEIGHBOURS), seed + 1, device) * size).long().clamp(max=size - 1)
    taken = batch * queries * _NEIGHBOURS

    def by_torch() -> torch.Tensor:
        return values.gather(1, index.flatten(1)[..., None].expand(-1, -1, _CHANNELS)).view(*index.shape, _CHANNELS)

    return Case(
        op="gather",
        name=f"gather:{queries}x{_NEIGHBOURS}of{short(size)}",
        size=size,
        ours=Contestant(name="vla3d", run=lambda: gather_points(values, index)),
        peers=(Contestant(name="torch.gather", run=by_torch),),
        touched=taken * (8 + 2 * 4 * _CHANNELS),
    )
