"""Rotations, rigid and similarity transforms, pinhole cameras, workspace <-> cube. Torch, batched over leading dimensions."""

from vla3d.geometry.cameras import pinhole_intrinsics, project, unproject
from vla3d.geometry.euler_bins import euler_bins_to_quaternion, quaternion_to_euler_bins
from vla3d.geometry.rotations import (
    axis_angle_to_matrix,
    canonical_gripper_quaternion,
    geodesic_angle,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    quaternion_multiply,
    quaternion_to_matrix,
    random_rotation,
    rotation_6d_to_matrix,
    wxyz_to_xyzw,
    xyzw_to_wxyz,
)
from vla3d.geometry.transforms import SimilarityTransform, invert_transform, make_transform, transform_points
from vla3d.geometry.workspace import workspace_to_cube

__all__ = [
    "SimilarityTransform",
    "axis_angle_to_matrix",
    "canonical_gripper_quaternion",
    "euler_bins_to_quaternion",
    "geodesic_angle",
    "invert_transform",
    "make_transform",
    "matrix_to_quaternion",
    "matrix_to_rotation_6d",
    "pinhole_intrinsics",
    "project",
    "quaternion_multiply",
    "quaternion_to_euler_bins",
    "quaternion_to_matrix",
    "random_rotation",
    "rotation_6d_to_matrix",
    "transform_points",
    "unproject",
    "workspace_to_cube",
    "wxyz_to_xyzw",
    "xyzw_to_wxyz",
]
