"""Clouds of frames at rest: NumPy images of any sizes in, one cloud for each camera out."""

from collections.abc import Sequence

import torch

from vla3d.pointcloud.clouds import PointCloud, fuse_frames
from vla3d.types import RgbdFrame, Workspace


def clouds_of_frames(frames: Sequence[RgbdFrame], workspace: Workspace) -> PointCloud:
    """What each camera sees inside a box, one row for each frame.

    Args:
        frames: at least one; their sizes may differ.
        workspace: the box to keep, world metres.
    """

    def single(frame: RgbdFrame) -> PointCloud:
        images = (frame.rgb, frame.depth, frame.intrinsics, frame.T_world_camera)
        rgb, depth, intrinsics, pose = (torch.from_numpy(image.copy())[None, None] for image in images)
        low, high = workspace.low.tolist(), workspace.high.tolist()
        return fuse_frames(rgb, depth.float(), intrinsics.float(), pose.float(), low, high)

    return PointCloud.stack([single(frame) for frame in frames])
