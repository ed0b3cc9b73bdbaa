"""Clouds that are hard in one way each; every point operation is compared with its reference on all of them."""

from collections.abc import Callable

import torch
from torch import Tensor


def _random(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _lattice(count: int, seed: int) -> Tensor:
    """Whole-number points: nearly all distances are equal to others."""
    side = max(1, round(count ** (1 / 3)))
    axis = torch.arange(side).float()
    points = torch.cartesian_prod(axis, axis, axis)
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))]


def _depth_map(count: int, seed: int) -> Tensor:
    side = max(2, round(count**0.5))
    row, column = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    depth = 1 + 0.2 * torch.sin(row / 3 + seed) * torch.cos(column / 5)
    return torch.stack(((column - side / 2) / side * depth, (row - side / 2) / side * depth, depth), -1).flatten(0, 1)


def _with_holes(count: int, seed: int) -> Tensor:
    points = _random(count, seed)
    points[::3, 0] = torch.nan
    points[1::5, 1] = torch.inf
    points[2::7, 2] = -torch.inf
    return points


def _with_duplicates(count: int, seed: int) -> Tensor:
    points = _random(max(1, count // 4), seed)
    return points[torch.randint(len(points), (count,), generator=torch.Generator().manual_seed(seed))]


CLOUDS: dict[str, Callable[[int, int], Tensor]] = {
    "random": _random,
    "lattice": _lattice,
    "depth map": _depth_map,
    "identical": lambda count, seed: torch.full((count, 3), 0.3),
    "duplicates": _with_duplicates,
    "line": lambda count, seed: _random(count, seed)[:, :1].expand(-1, 3).contiguous(),
    "plane": lambda count, seed: _random(count, seed) * torch.tensor([1.0, 1.0, 0.0]),
    "far away": lambda count, seed: _random(count, seed) + 1e4,
    "millimetres": lambda count, seed: _random(count, seed) * 1e3,
    "tiny": lambda count, seed: _random(count, seed) * 1e-4,
    "holes": _with_holes,
    "all invalid": lambda count, seed: torch.full((count, 3), torch.nan),
}
