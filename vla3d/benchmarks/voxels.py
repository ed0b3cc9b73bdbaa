"""Thinning clouds to the mean of the points in each voxel."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.benchmarks.cases import Case, Contestant, short, uniform
from vla3d.optional import require, usable
from vla3d.pointcloud import voxel_downsample

FIXED = 100_000
_POINTS_OF_A_VOXEL = 8  # about


def case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """The task for clouds of ``size`` points."""
    points = uniform((batch, size, 3), seed, device)
    # A power of two, by which programs in single precision divide without rounding, too.
    edge = 2.0 ** round(math.log2(_POINTS_OF_A_VOXEL / size) / 3)
    return Case(
        op="voxels",
        name=f"voxels:{short(size)}",
        size=size,
        ours=Contestant(name="vla3d", run=lambda: voxel_downsample(points, edge), answer=lambda voxels: voxels.points),
        peers=tuple(_peers(points, edge)),
        touched=batch * size * 12,
        agree=lambda one, other: torch.allclose(one, other, rtol=1e-5, atol=1e-6),
    )


def _peers(points: Float[Tensor, "B N 3"], edge: float) -> Iterator[Contestant]:
    size = points.shape[1]
    yield Contestant(
        name="torch unique",
        run=lambda: [by_unique(cloud, edge) for cloud in points],
        answer=lambda clouds: torch.stack([in_order(cloud.cpu().numpy(), edge, size) for cloud in clouds]),
    )
    if usable("open3d") and points.device.type == "cpu":
        open3d, clouds = require("open3d"), points.numpy()

        def downsample(cloud: np.ndarray) -> np.ndarray:
            whole = open3d.t.geometry.PointCloud(open3d.core.Tensor(cloud))
            return whole.voxel_down_sample(edge).point.positions.numpy()

        yield Contestant(
            name="open3d",
            run=lambda: [downsample(cloud) for cloud in clouds],
            answer=lambda found: torch.stack([in_order(cloud, edge, size) for cloud in found]),
        )


def by_unique(points: Float[Tensor, "N 3"], edge: float) -> Float[Tensor, "V 3"]:
    """Means of the points in each voxel, as one writes it in torch."""
    cells = (points / edge).floor().long()
    cells = cells - cells.amin(0)
    side = cells.amax() + 1
    _, voxel, count = torch.unique(
        (cells[:, 0] * side + cells[:, 1]) * side + cells[:, 2], return_inverse=True, return_counts=True
    )
    return torch.zeros(len(count), 3, device=points.device).index_add_(0, voxel, points) / count[:, None]


def in_order(means: np.ndarray, edge: float, rows: int) -> Float[Tensor, "rows 3"]:
    """Means of voxels by their x, then y, then z, filled up with zeros as ours are."""
    x, y, z = np.floor(means / edge).T
    padded = np.zeros((rows, 3), dtype=np.float32)
    padded[: len(means)] = means[np.lexsort((z, y, x))]
    return torch.from_numpy(padded)
