"""The nearest neighbours of every point, and the neighbours of some points within a radius."""

import math
from collections.abc import Callable, Iterator
from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.spatial import cKDTree
from torch import Tensor

from vla3d.benchmarks.cases import Case, Contestant, same_neighbours, short, uniform
from vla3d.optional import require, usable
from vla3d.pointcloud.neighbours import ball_query, knn

FIXED = 100_000
_NEIGHBOURS = 16
_QUERIES = 4096
_MOST = 32
_INSIDE = 24  # points within the radius, on average, far from the border of the cube
_CHUNK = 1 << 24  # distances at once, for brute force on a CPU; a GPU takes 16 times as many
_BRUTE_LIMIT = 1 << 30  # distances that brute force is asked for; ten times as many take minutes on a CPU


def knn_case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """The 16 nearest points of each of ``size`` points, itself included."""
    points, k = uniform((batch, size, 3), seed, device), min(_NEIGHBOURS, size)
    return Case(
        op="knn",
        name=f"knn{k}:{short(size)}",
        size=size,
        ours=Contestant(name="vla3d", run=lambda: knn(points, points, k)[1]),
        peers=tuple(_knn_peers(points, k)),
        touched=batch * size * (12 + 12 * k),
        agree=same_neighbours(points.cpu(), points.cpu()),
    )


def ball_case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """Up to 32 points, those of lowest index, near each of at most 4096 of ``size`` points."""
    points = uniform((batch, size, 3), seed, device)
    query = points[:, : min(_QUERIES, size)].contiguous()
    radius = (_INSIDE / size * 3 / (4 * math.pi)) ** (1 / 3)
    return Case(
        op="ball_query",
        name=f"ball_query:{query.shape[1]}in{short(size)}",
        size=size,
        ours=Contestant(name="vla3d", run=lambda: ball_query(query, points, radius, _MOST)[0]),
        peers=tuple(_ball_peers(query, points, radius)),
        touched=batch * (12 * size + query.shape[1] * (12 + 8 * _MOST + 8)),
    )


def _knn_peers(points: Float[Tensor, "B N 3"], k: int) -> Iterator[Contestant]:
    if points.device.type == "cuda" or points.shape[1] ** 2 <= _BRUTE_LIMIT:
        yield Contestant(name="torch brute force", run=lambda: brute_force(points, points, lambda far: _nearest(far, k)))
    if points.device.type == "cuda":
        if usable("pytorch3d"):
            search = import_module("pytorch3d.ops").knn_points
            yield Contestant(name="pytorch3d", run=lambda: search(points, points, K=k).idx)
        return
    clouds, workers = points.numpy(), torch.get_num_threads()
    yield Contestant(
        name="scipy cKDTree",
        run=lambda: np.stack([cKDTree(cloud).query(cloud, k, workers=workers)[1] for cloud in clouds]),
        answer=lambda found: torch.from_numpy(found).view(len(clouds), -1, k),
    )
    if usable("open3d"):
        core = require("open3d").core

        def open3d(cloud: np.ndarray) -> Tensor:
            search = core.nns.NearestNeighborSearch(core.Tensor(cloud))
            search.knn_index()
            return torch.from_numpy(search.knn_search(core.Tensor(cloud), k)[0].numpy()).long()

        yield Contestant(name="open3d", run=lambda: torch.stack([open3d(cloud) for cloud in clouds]))


def _ball_peers(query: Float[Tensor, "B M 3"], points: Float[Tensor, "B N 3"], radius: float) -> Iterator[Contestant]:
    yield Contestant(name="torch brute force", run=lambda: brute_force(query, points, lambda far: _first_within(far, radius)))
    if points.device.type == "cuda":
        if usable("pytorch3d"):
            search = import_module("pytorch3d.ops").ball_query
            yield Contestant(name="pytorch3d", run=lambda: search(query, points, K=_MOST, radius=radius).idx)
        return
    pairs, workers = list(zip(query.numpy(), points.numpy(), strict=True)), torch.get_num_threads()
    yield Contestant(
        name="scipy cKDTree",
        run=lambda: [
            cKDTree(cloud).query_ball_point(near, radius, workers=workers, return_sorted=True) for near, cloud in pairs
        ],
        answer=lambda clouds: torch.stack([_padded(rows) for rows in clouds]),
    )
    if usable("open3d"):
        core = require("open3d").core

        def open3d(near: np.ndarray, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            search = core.nns.NearestNeighborSearch(core.Tensor(cloud))
            search.fixed_radius_index(radius)
            index, _, borders = search.fixed_radius_search(core.Tensor(near), radius)
            return index.numpy(), borders.numpy()

        yield Contestant(
            name="open3d",
            run=lambda: [open3d(*pair) for pair in pairs],
            answer=lambda clouds: torch.stack([_padded(np.split(index, borders[1:-1])) for index, borders in clouds]),
        )


def brute_force(
    query: Float[Tensor, "B M 3"], points: Float[Tensor, "B N 3"], choose: Callable[[Tensor], Tensor]
) -> Int64[Tensor, "B M K"]:
    """All distances, some queries at a time."""
    most = _CHUNK * (16 if points.device.type == "cuda" else 1)
    step = max(1, most // (points.shape[0] * points.shape[1]))
    # Multiplying out the square of the difference would be faster, and find others.
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cat([choose(torch.cdist(part, points, compute_mode=exact)) for part in query.split(step, dim=1)], dim=1)


def _nearest(distance: Float[Tensor, "B M N"], k: int) -> Int64[Tensor, "B M K"]:
    return distance.topk(k, largest=False).indices


def _first_within(distance: Float[Tensor, "B M N"], radius: float) -> Int64[Tensor, "B M K"]:
    count = distance.shape[-1]
    index = torch.arange(count, device=distance.device).where(distance < radius, count)
    first = index.topk(min(_MOST, count), largest=False).values
    first = torch.nn.functional.pad(first, (0, _MOST - first.shape[-1]), value=count)
    return first.masked_fill(first == count, -1)


def _padded(rows: list[list[int]] | list[np.ndarray] | np.ndarray) -> Int64[Tensor, "M K"]:
    """The lowest indices of each row, -1 where it has fewer."""
    table = np.full((len(rows), _MOST), -1, dtype=np.int64)
    for place, row in zip(table, rows, strict=True):
        lowest = np.sort(np.asarray(row, dtype=np.int64))[:_MOST]
        place[: len(lowest)] = lowest
    return torch.from_numpy(table)
