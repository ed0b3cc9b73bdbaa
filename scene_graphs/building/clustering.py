"""Instance masks from geometry alone: what stands out of the table, taken apart where nothing joins it.

What touches becomes one cluster, and nothing says what a cluster is: its label is ``"unknown"``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from vla3d.errors import ConfigError
from vla3d.scene_graphs.building.memory import FIRST_ID
from vla3d.scene_graphs.building.segments import world_points
from vla3d.scene_graphs.building.surfaces import table_box
from vla3d.types import RgbdFrame, Workspace

_MOST_MASKS = 32767


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """How points become clusters.

    Attributes:
        workspace: only points in it count; None takes all.
        voxel: points are thinned to one in a cell of this edge, metres.
        above: what is at most this high above the table joins nothing, metres: it may be the table, measured badly.
        noise: what is at most this high is the table; what is higher goes to a cluster nearer than ``gap``, metres.
        gap: points nearer than this to each other are one cluster, metres; wider than the distance of neighbouring pixels.
        least_points: smaller clusters, after thinning, are noise.
        longest: clusters longer than this are left out as furniture, robot or walls, metres.

    Raises:
        ConfigError: a number out of range.
    """

    workspace: Workspace | None = None
    voxel: float = 0.004
    above: float = 0.006
    noise: float = 0.0015
    gap: float = 0.012
    least_points: int = 15
    longest: float = 0.6

    def __post_init__(self) -> None:
        for name in ("voxel", "above", "noise", "gap", "longest"):
            if not 0 < getattr(self, name) < np.inf:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected metres above 0.")
        if self.least_points < 1:
            raise ConfigError(f"least_points: got {self.least_points}, expected at least 1.")


def with_clusters(frames: Mapping[str, RgbdFrame], config: ClusterConfig | None = None) -> dict[str, RgbdFrame]:
    """The frames with a segmentation whose ids are clusters of the fused cloud, the same in all views.

    Points of all views are fused, the table and what is below it is taken away, and the rest falls into connected components
    of near points (DBSCAN in which every point is a core point: M. Ester et al. 1996).

    Args:
        frames: of one instant, by camera name.
        config: see the class.
    """
    settings = config or ClusterConfig()
    clouds = {name: world_points(frame) for name, frame in frames.items()}
    kept = {name: _inside(points, settings.workspace) & valid for name, (points, valid) in clouds.items()}
    fused = np.concatenate([points[kept[name]] for name, (points, _) in clouds.items()] or [np.zeros((0, 3))])
    table = table_box(fused, np.zeros(0))
    top = -np.inf if table is None else float(table.corners[:, 2].max())
    points = _thinned(fused[fused[:, 2] > top + settings.above], settings.voxel)
    tree = cKDTree(points) if len(points) else None
    labels = np.zeros(0, dtype=np.int64) if tree is None else _components(tree, settings.gap)
    numbers = _numbered(points, labels, settings)
    result = {}
    for name, (world, _) in clouds.items():
        segmentation = np.zeros(kept[name].shape, dtype=np.int16)
        asked = kept[name] & (world[..., 2] > top + settings.noise)
        if tree is not None and asked.any():
            _, nearest = tree.query(world[asked], distance_upper_bound=settings.gap)
            segmentation[asked] = np.append(numbers, 0)[nearest]
        result[name] = replace(frames[name], segmentation=segmentation)
    return result


def _inside(points: Float[np.ndarray, "H W 3"], workspace: Workspace | None) -> np.ndarray:
    return np.ones(points.shape[:-1], dtype=bool) if workspace is None else workspace.contains(points)


def _thinned(points: Float[np.ndarray, "N 3"], voxel: float) -> Float[np.ndarray, "M 3"]:
    """The mean of the points in each cell of a grid."""
    cells, place = np.unique(np.floor(points / voxel).astype(np.int64), axis=0, return_inverse=True)
    counts = np.bincount(place.ravel(), minlength=len(cells))
    sums = [np.bincount(place.ravel(), weights=points[:, axis], minlength=len(cells)) for axis in range(3)]
    return np.stack(sums, axis=1) / counts[:, None]


def _components(tree: cKDTree, gap: float) -> Int[np.ndarray, "N"]:
    """Component of each point, where points nearer than ``gap`` are joined."""
    joined = tree.query_pairs(gap, output_type="ndarray")
    links = coo_array((np.ones(len(joined), dtype=np.int8), joined.T), shape=(tree.n, tree.n))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _numbered(points: Float[np.ndarray, "N 3"], labels: Int[np.ndarray, "N"], config: ClusterConfig) -> Int[np.ndarray, "N"]:
    """Id of each point's cluster, 0 for noise and for what is too long; the largest cluster first."""
    numbers = np.zeros(len(points), dtype=np.int64)
    found, counts = np.unique(labels, return_counts=True)
    number = FIRST_ID
    for label, count in sorted(zip(found, counts, strict=True), key=lambda pair: (-pair[1], pair[0])):
        mine = points[labels == label]
        if count >= config.least_points and np.ptp(mine, axis=0).max() <= config.longest and number <= _MOST_MASKS:
            numbers[labels == label] = number
            number += 1
    return numbers
