"""What one camera measured as a surface: points, normals, and where both can be trusted."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.geometry import unproject
from vla3d.types import RgbdFrame

# Over a plane, inverse depth is linear in the pixel. A bend of this share of the depth is an edge, not a surface.
_LARGEST_BEND = 0.015


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """One depth image in the world, double precision.

    Attributes:
        points: world metres; zero where nothing was measured.
        normals: unit, towards the camera; zero where there is none.
        measured: where there is a depth.
        smooth: where the surface has no edge, so that interpolating between pixels means something.
        inverse_depth: 1 / metres, 0 where nothing was measured.
    """

    points: Float[Tensor, "H W 3"]
    normals: Float[Tensor, "H W 3"]
    measured: Bool[Tensor, "H W"]
    smooth: Bool[Tensor, "H W"]
    inverse_depth: Float[Tensor, "H W"]
    intrinsics: Float[Tensor, "3 3"]
    T_world_camera: Float[Tensor, "4 4"]

    @property
    def center(self) -> Float[Tensor, "3"]:
        """Where the camera stands."""
        return self.T_world_camera[:3, 3]


def surface_of(frame: RgbdFrame, T_world_camera: Float[Tensor, "4 4"] | None = None) -> Surface:
    """The surface that a frame measured.

    Args:
        frame: one calibrated RGB-D image.
        T_world_camera: camera-to-world transform to use instead of the frame's own.
    """
    depth = torch.from_numpy(np.asarray(frame.depth, dtype=np.float64))
    intrinsics = torch.from_numpy(np.asarray(frame.intrinsics, dtype=np.float64))
    pose = torch.from_numpy(np.asarray(frame.T_world_camera, dtype=np.float64)) if T_world_camera is None else T_world_camera
    points, measured = unproject(depth, intrinsics, pose)
    inverse = torch.where(measured, 1 / torch.where(measured, depth, 1.0), 0.0)
    across, down = inverse[1:-1], inverse[:, 1:-1]
    bend = torch.full_like(depth, torch.inf)
    bend[1:-1, 1:-1] = torch.maximum(
        (across[:, 2:] + across[:, :-2] - 2 * across[:, 1:-1]).abs(), (down[2:] + down[:-2] - 2 * down[1:-1]).abs()
    ) / inverse[1:-1, 1:-1].clamp(min=1e-9)
    neighbours = -torch.nn.functional.max_pool2d(-measured.double()[None], 3, stride=1, padding=1)[0] > 0.5
    smooth = neighbours & (bend < _LARGEST_BEND)
    normals = torch.zeros_like(points)
    normals[1:-1, 1:-1] = torch.linalg.cross(points[2:, 1:-1] - points[:-2, 1:-1], points[1:-1, 2:] - points[1:-1, :-2], dim=-1)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    towards = ((pose[:3, 3] - points) * normals).sum(-1, keepdim=True)
    normals = torch.where(smooth[..., None], torch.where(towards < 0, -normals, normals), 0.0)
    return Surface(
        points=points,
        normals=normals,
        measured=measured,
        smooth=smooth,
        inverse_depth=inverse,
        intrinsics=intrinsics,
        T_world_camera=pose,
    )


def sampled_depth(surface: Surface, pixels: Float[Tensor, "N 2"]) -> tuple[Float[Tensor, "N"], Bool[Tensor, "N"]]:
    """Depth between pixels: inverse depth is interpolated, which is exact on planes.

    Args:
        surface: of the camera that is asked.
        pixels: ``(x, y)``, pixel centres at half-integers; NaN is nowhere.

    Returns:
        Metres, and where all four pixels around lie on one smooth surface.
    """
    height, width = surface.inverse_depth.shape
    size = pixels.new_tensor([width, height])
    inside = torch.isfinite(pixels).all(-1) & (pixels > 0.5).all(-1) & (pixels < size - 0.5).all(-1)
    at = torch.where(inside[:, None], 2 * pixels / size - 1, 2.0)
    layers = torch.stack((surface.inverse_depth, surface.smooth.double()))[None]
    inverse, smooth = torch.nn.functional.grid_sample(layers, at[None, None], align_corners=False)[0, :, 0]
    trusted = inside & (smooth > 0.999) & (inverse > 0)
    return 1 / torch.where(trusted, inverse, 1.0), trusted
