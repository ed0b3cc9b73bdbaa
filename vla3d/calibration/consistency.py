"""Whether two cameras measure the same surfaces: what one sees is projected into the other and compared with its depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.calibration.camera_set import CameraSet
from vla3d.calibration.surfaces import Surface, sampled_depth, surface_of
from vla3d.geometry import project
from vla3d.pointcloud import knn

# Farther behind what the other camera measures, a point is hidden from it rather than misplaced.
_HIDDEN = 0.15
# Cosine of the angle to the other camera beyond which it sees a surface too flatly.
_GRAZING = 0.25
_MOST_POINTS = 4000
FEWEST_POINTS = 100
"""With fewer common points a pair of cameras is not judged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Points of one camera that another one sees as well.

    Attributes:
        source: index of each point's pixel in the first camera's image.
        points: of the first camera, world metres.
        normals: there, unit.
        pixels: where they fall in the second camera's image.
        difference: their depth in the second camera less the one it measured there, metres.
        offset: from what the second camera measured at that pixel to the point, world metres.
        candidates: points of the first camera that were looked at.
    """

    source: Int64[Tensor, "N"]
    points: Float[Tensor, "N 3"]
    normals: Float[Tensor, "N 3"]
    pixels: Float[Tensor, "N 2"]
    difference: Float[Tensor, "N"]
    offset: Float[Tensor, "N 3"]
    candidates: int


@dataclass(frozen=True, kw_only=True)
class PairConsistency:
    """How well two cameras agree, both ways together.

    Attributes:
        first, second: the cameras.
        overlap: share of the smooth points of one that the other sees too, the mean of both ways.
        points: how many were compared.
        depth_mm: median and 90 % of the absolute depth difference; NaN when too few points are common.
        surface_mm: of the distance to the nearest point of the other camera.
        pixels: of the distance in the image between where a point should fall and that nearest point's pixel.
    """

    first: str
    second: str
    overlap: float
    points: int
    depth_mm: tuple[float, float]
    surface_mm: tuple[float, float]
    pixels: tuple[float, float]

    @property
    def judged(self) -> bool:
        """Whether enough points are common."""
        return self.points >= FEWEST_POINTS


def match(first: Surface, second: Surface, most: int = _MOST_POINTS) -> Matches:
    """Project what one camera sees into another, and keep what that one sees too.

    Points at edges, seen too flatly, or far behind what the second camera measures are left out.

    Args:
        first: whose points are taken.
        second: which camera is asked.
        most: about how many points to look at.
    """
    usable = first.smooth.flatten().nonzero().squeeze(1)
    usable = usable[:: max(1, len(usable) // most)]
    points, normals = first.points.flatten(0, 1)[usable], first.normals.flatten(0, 1)[usable]
    pixels, depth = project(points, second.intrinsics, second.T_world_camera)
    measured, trusted = sampled_depth(second, pixels)
    ray = torch.nn.functional.normalize(second.center - points, dim=-1)
    difference = depth - measured
    kept = trusted & ((normals * ray).sum(-1) > _GRAZING) & (difference.abs() < _HIDDEN)
    return Matches(
        source=usable[kept],
        points=points[kept],
        normals=normals[kept],
        pixels=pixels[kept],
        difference=difference[kept],
        offset=((difference / depth)[:, None] * (points - second.center))[kept],
        candidates=len(usable),
    )


def pair_consistencies(cameras: CameraSet) -> list[PairConsistency]:
    """Compare every two cameras over all instants."""
    surfaces = [[surface_of(frame) for frame in frames.values()] for frames in cameras.instants]
    count = len(cameras.names)
    directed = {
        pair: [_compare(instant[pair[0]], instant[pair[1]]) for instant in surfaces] for pair in permutations(range(count), 2)
    }
    return [
        _summary(cameras.names[first], cameras.names[second], directed[first, second], directed[second, first])
        for first in range(count)
        for second in range(first + 1, count)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Comparison:
    depth: Tensor
    surface: Tensor
    pixels: Tensor
    candidates: int


def _compare(first: Surface, second: Surface) -> _Comparison:
    matches = match(first, second)
    if not len(matches.points):
        nothing = matches.difference
        return _Comparison(depth=nothing, surface=nothing, pixels=nothing, candidates=matches.candidates)
    there = second.measured.flatten().nonzero().squeeze(1)
    cloud = second.points.flatten(0, 1)[there]
    squared, nearest = knn(matches.points.float()[None], cloud.float()[None], 1)
    width = second.measured.shape[1]
    at = there[nearest[0, :, 0]]
    pixel = torch.stack((at % width, at // width), dim=-1) + 0.5
    return _Comparison(
        depth=matches.difference.abs(),
        surface=squared[0, :, 0].double().sqrt(),
        pixels=(pixel - matches.pixels).norm(dim=-1),
        candidates=matches.candidates,
    )


def _summary(first: str, second: str, there: Sequence[_Comparison], back: Sequence[_Comparison]) -> PairConsistency:
    both = [*there, *back]
    shares = [sum(len(one.depth) for one in way) / max(1, sum(one.candidates for one in way)) for way in (there, back)]
    depth, surface, pixels = (torch.cat([getattr(one, name) for one in both]) for name in ("depth", "surface", "pixels"))
    return PairConsistency(
        first=first,
        second=second,
        overlap=sum(shares) / 2,
        points=len(depth),
        depth_mm=_median_and_90(1000 * depth),
        surface_mm=_median_and_90(1000 * surface),
        pixels=_median_and_90(pixels),
    )


def _median_and_90(values: Float[Tensor, "N"]) -> tuple[float, float]:
    if len(values) < FEWEST_POINTS:
        return float("nan"), float("nan")
    median, most = torch.quantile(values, values.new_tensor([0.5, 0.9])).tolist()
    return median, most
