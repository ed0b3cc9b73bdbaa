"""The workspace that a camera set suggests: what at least two cameras see on and above the dominant plane."""

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.calibration.camera_set import CameraSet
from vla3d.calibration.consistency import match
from vla3d.calibration.surfaces import surface_of
from vla3d.types import Workspace

_DRAWS = 300
_THICKNESS = 0.008
_MOST_POINTS = 20_000
_TAILS = (0.02, 0.98)
# The policies' cube reaches a little below the table, so that noise of its surface stays inside.
_BELOW = 0.03


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkspaceSuggestion:
    """A cube that holds what the cameras see in common.

    Attributes:
        workspace: edges rounded to centimetres.
        plane_height: of the dominant plane in the middle of the cube, metres.
        plane_tilt_degrees: between the plane's normal and the world's z axis.
        plane_share: of the points that lie on it.
    """

    workspace: Workspace
    plane_height: float
    plane_tilt_degrees: float
    plane_share: float


def suggest_workspace(cameras: CameraSet, generator: torch.Generator) -> WorkspaceSuggestion | None:
    """A cube around what is seen, None when fewer than three points are.

    Args:
        cameras: the set; of a single camera everything counts.
        generator: source of randomness of the plane's estimate.
    """
    points = _common_points(cameras)
    if len(points) > _MOST_POINTS:
        points = points[torch.randperm(len(points), generator=generator)[:_MOST_POINTS]]
    if len(points) < 3:
        return None
    normal, offset, on_plane = dominant_plane(points, generator)
    kept = points[points @ normal + offset > -_THICKNESS]
    low, high = torch.quantile(kept, kept.new_tensor(_TAILS), dim=0)
    middle = (low + high) / 2
    height = float(-(offset + normal[:2] @ middle[:2]) / normal[2]) if normal[2] > 0.5 else float(low[2])
    extent = torch.stack((high[0] - low[0], high[1] - low[1], high[2] - height + _BELOW))
    edge = math.ceil(100 * float(extent.max())) / 100
    corner = np.round([float(middle[0]) - edge / 2, float(middle[1]) - edge / 2, height - _BELOW], 2)
    return WorkspaceSuggestion(
        workspace=Workspace(low=corner, high=np.round(corner + edge, 2)),
        plane_height=height,
        plane_tilt_degrees=math.degrees(math.acos(min(1.0, abs(float(normal[2]))))),
        plane_share=float(on_plane.double().mean()),
    )


def dominant_plane(
    points: Float[Tensor, "N 3"], generator: torch.Generator
) -> tuple[Float[Tensor, "3"], Float[Tensor, ""], Bool[Tensor, "N"]]:
    """The plane that holds the most points (RANSAC; Fischler and Bolles 1981), refined by least squares.

    Returns:
        Unit normal with a positive z, offset with ``normal @ point + offset = 0``, and which points lie on it.
    """
    triples = points[torch.randint(len(points), (_DRAWS, 3), generator=generator)]
    normals = torch.linalg.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0], dim=-1)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    offsets = -(normals * triples[:, 0]).sum(-1)
    counts = ((normals @ points.T + offsets[:, None]).abs() < _THICKNESS).sum(-1)
    counts = torch.where(normals.norm(dim=-1) > 0.5, counts, -1)  # three points on a line span no plane
    best = int(counts.argmax())
    on_plane = (points @ normals[best] + offsets[best]).abs() < _THICKNESS
    middle = points[on_plane].mean(0)
    normal = torch.linalg.svd(points[on_plane] - middle, full_matrices=False).Vh[-1]
    normal = normal if normal[2] >= 0 else -normal
    offset = -(normal @ middle)
    return normal, offset, (points @ normal + offset).abs() < _THICKNESS


def _common_points(cameras: CameraSet) -> Float[Tensor, "N 3"]:
    found = []
    for frames in cameras.instants:
        surfaces = [surface_of(frame) for frame in frames.values()]
        if len(surfaces) == 1:
            found.append(surfaces[0].points[surfaces[0].measured])
        found += [match(first, second).points for first, second in permutations(surfaces, 2)]
    return torch.cat(found)
