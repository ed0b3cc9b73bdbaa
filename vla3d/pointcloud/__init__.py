"""Batched point clouds: fusing RGB-D frames, cropping, transforming, and choosing points."""

from vla3d.pointcloud.clouds import PointCloud, crop, fuse_frames, subsample, transform
from vla3d.pointcloud.sampling import farthest_point_sampling, random_first

__all__ = [
    "PointCloud",
    "crop",
    "farthest_point_sampling",
    "fuse_frames",
    "random_first",
    "subsample",
    "transform",
]
