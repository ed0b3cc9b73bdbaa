"""Farthest point sampling of a sixteenth of each cloud."""

from collections.abc import Iterator
from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.benchmarks.cases import Case, Contestant, short, uniform
from vla3d.kernels.operators import reference_kernels
from vla3d.optional import require, usable
from vla3d.pointcloud import farthest_point_sampling

FIXED = 16384
_SHARE = 16
_BUCKET_HEIGHT = 7  # what the authors of fpsample advise for clouds of medium size; it takes no higher tree than has points


def case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """The task for clouds of ``size`` points."""
    points, k = uniform((batch, size, 3), seed, device), max(1, size // _SHARE)
    return Case(
        op="fps",
        name=f"fps:{short(size)}->{k}",
        size=size,
        ours=Contestant(name="vla3d", run=lambda: farthest_point_sampling(points, k)),
        peers=tuple(_peers(points, k)),
        touched=batch * (12 * size + 8 * k),
    )


def _peers(points: Float[Tensor, "B N 3"], k: int) -> Iterator[Contestant]:
    def plain_torch() -> Tensor:
        with reference_kernels():
            return farthest_point_sampling(points, k)

    yield Contestant(name="torch", run=plain_torch)
    if points.device.type == "cuda":
        if usable("pytorch3d"):
            sample = import_module("pytorch3d.ops").sample_farthest_points
            yield Contestant(name="pytorch3d", run=lambda: sample(points, K=k)[1])
        return
    clouds = points.numpy()

    yield Contestant(
        name="numpy",
        run=lambda: np.stack([numpy_loop(cloud, k) for cloud in clouds]),
        answer=torch.from_numpy,
    )
    if usable("fpsample"):
        yield from _fpsample(points, clouds, k)
    if usable("torch_quickfps"):
        quick = require("torch_quickfps")
        yield Contestant(name="torch_quickfps", run=lambda: quick.sample_idx(points, k, start_idx=0))


def _fpsample(points: Float[Tensor, "B N 3"], clouds: np.ndarray, k: int) -> Iterator[Contestant]:
    fpsample, height = require("fpsample"), max(1, min(_BUCKET_HEIGHT, points.shape[1].bit_length() - 1))

    def answer(found: np.ndarray) -> Int64[Tensor, "B k"]:
        return torch.from_numpy(found.astype(np.int64))

    # Both take another of equally far points than the first. The second looks up its start after it has reordered the cloud,
    # and so begins with another than it was told.
    def right(found: Int64[Tensor, "B k"], first: Int64[Tensor, "B"]) -> bool:
        expected = farthest_point_sampling(points, k, first=first)
        return torch.equal(found.sort(1).values, expected.sort(1).values) and torch.allclose(
            gaps(points, found), gaps(points, expected)
        )

    yield Contestant(
        name="fpsample vanilla",
        run=lambda: np.stack([fpsample.fps_sampling(cloud, k, start_idx=0) for cloud in clouds]),
        answer=answer,
        right=lambda found: right(found, torch.zeros_like(found[:, 0])),
    )
    yield Contestant(
        name="fpsample kdline",
        run=lambda: np.stack([fpsample.bucket_fps_kdline_sampling(cloud, k, h=height, start_idx=0) for cloud in clouds]),
        answer=answer,
        right=lambda found: right(found, found[:, 0]),
    )


def gaps(points: Float[Tensor, "B N 3"], picks: Int64[Tensor, "B k"]) -> Float[Tensor, "B k"]:
    """Distance of each pick to the nearest one before it; infinite for the first."""
    chosen = points.gather(1, picks[..., None].expand(-1, -1, 3))
    distance = torch.cdist(chosen, chosen, compute_mode="donot_use_mm_for_euclid_dist")
    later = torch.ones_like(distance[0], dtype=torch.bool).triu()
    return distance.masked_fill_(later, torch.inf).amin(2)


def numpy_loop(points: np.ndarray, k: int) -> np.ndarray:
    """Farthest point sampling as one writes it in an afternoon."""
    picks = np.zeros(k, dtype=np.int64)
    nearest = np.full(len(points), np.inf, dtype=points.dtype)
    for step in range(1, k):
        difference = points - points[picks[step - 1]]
        x, y, z = (difference * difference).T
        nearest = np.minimum(nearest, (x + y) + z)
        picks[step] = nearest.argmax()
    return picks
