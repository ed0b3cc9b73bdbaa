"""Batched point clouds: fusing RGB-D frames, cropping, transforming, choosing points, and finding their neighbours."""

from vla3d.pointcloud.clouds import PointCloud, crop, fuse_frames, subsample, transform
from vla3d.pointcloud.frames import clouds_of_frames
from vla3d.pointcloud.gathering import gather_points
from vla3d.pointcloud.neighbours import ball_query, knn
from vla3d.pointcloud.sampling import farthest_point_sampling, random_first
from vla3d.pointcloud.voxels import Voxels, voxel_downsample

__all__ = [
    "PointCloud",
    "Voxels",
    "ball_query",
    "clouds_of_frames",
    "crop",
    "farthest_point_sampling",
    "fuse_frames",
    "gather_points",
    "knn",
    "random_first",
    "subsample",
    "transform",
    "voxel_downsample",
]
