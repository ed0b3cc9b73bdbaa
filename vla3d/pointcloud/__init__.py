"""Batched point clouds: fusing RGB-D frames, cropping, subsampling, transforming."""

from vla3d.pointcloud.clouds import PointCloud, crop, fuse_frames, subsample, transform

__all__ = ["PointCloud", "crop", "fuse_frames", "subsample", "transform"]
