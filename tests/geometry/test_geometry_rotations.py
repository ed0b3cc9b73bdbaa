"""Laws of the rotation formats, with SciPy as the outside oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla3d.geometry import (
    axis_angle_to_matrix,
    canonical_gripper_quaternion,
    euler_bins_to_quaternion,
    geodesic_angle,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    quaternion_multiply,
    quaternion_to_euler_bins,
    quaternion_to_matrix,
    random_rotation,
    rotation_6d_to_matrix,
    wxyz_to_xyzw,
    xyzw_to_wxyz,
)

seeds = st.integers(0, 2**31 - 1)


def _random(seed: int, *batch: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return random_rotation(torch.Generator().manual_seed(seed), batch, dtype=dtype)


def _scipy(quaternion_wxyz: torch.Tensor) -> Rotation:
    return Rotation.from_quat(quaternion_wxyz.numpy(), scalar_first=True)


def _about(axis: str, degrees: float) -> torch.Tensor:
    return torch.from_numpy(Rotation.from_euler(axis, degrees, degrees=True).as_quat(scalar_first=True).copy())


@given(seeds)
def test_random_rotations_are_rotations(seed):
    matrix = _random(seed, 7)
    torch.testing.assert_close(matrix @ matrix.transpose(-1, -2), torch.eye(3, dtype=torch.float64).expand(7, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(7, dtype=torch.float64))


def test_random_rotation_is_uniform_and_seeded():
    # Haar measure: the mean matrix is zero and the mean angle is pi / 2 + 2 / pi.
    matrix = _random(0, 20000)
    assert matrix.mean(0).abs().max() < 0.02
    angle = geodesic_angle(torch.eye(3, dtype=torch.float64), matrix)
    assert angle.mean().item() == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)
    assert torch.equal(_random(3, 5), _random(3, 5))


@given(seeds)
def test_quaternion_matches_scipy(seed):
    quaternion = torch.randn(9, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    np.testing.assert_allclose(quaternion_to_matrix(quaternion).numpy(), _scipy(quaternion).as_matrix(), atol=1e-12)


@given(seeds)
def test_matrix_quaternion_round_trip(seed):
    matrix = _random(seed, 2, 3)
    quaternion = matrix_to_quaternion(matrix)
    assert (quaternion[..., 0] >= 0).all()
    torch.testing.assert_close(quaternion.norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(quaternion_to_matrix(quaternion), matrix)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [0, 179.9999, 180, -180, 90])
def test_matrix_to_quaternion_where_one_component_vanishes(axis, degrees):
    matrix = quaternion_to_matrix(_about(axis, degrees)).float()
    back = quaternion_to_matrix(matrix_to_quaternion(matrix))
    assert geodesic_angle(matrix, back) < 1e-3


@given(seeds)
def test_quaternion_product_is_matrix_product(seed):
    a, b = _random(seed, 5), _random(seed + 1, 5)
    product = quaternion_multiply(matrix_to_quaternion(a), matrix_to_quaternion(b))
    torch.testing.assert_close(quaternion_to_matrix(product), a @ b)


@given(seeds)
def test_orders_are_inverse_and_match_scipy(seed):
    wxyz = matrix_to_quaternion(_random(seed, 4))
    assert torch.equal(xyzw_to_wxyz(wxyz_to_xyzw(wxyz)), wxyz)
    from_scipy = Rotation.from_matrix(quaternion_to_matrix(wxyz).numpy()).as_quat(canonical=True)
    np.testing.assert_allclose(np.abs((wxyz_to_xyzw(wxyz).numpy() * from_scipy).sum(-1)), 1.0, atol=1e-9)


@given(seeds)
def test_rotation_6d_round_trip_and_scale_invariance(seed):
    matrix = _random(seed, 6)
    columns = matrix_to_rotation_6d(matrix)
    torch.testing.assert_close(columns[..., :3], matrix[..., 0])
    torch.testing.assert_close(rotation_6d_to_matrix(columns), matrix)
    skewed = torch.cat((3 * columns[..., :3], 0.5 * columns[..., 3:] - 2 * columns[..., :3]), dim=-1)
    torch.testing.assert_close(rotation_6d_to_matrix(skewed), matrix)


@given(seeds)
def test_any_6d_vector_gives_a_rotation(seed):
    matrix = rotation_6d_to_matrix(torch.randn(8, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.transpose(-1, -2), torch.eye(3, dtype=torch.float64).expand(8, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(8, dtype=torch.float64))


@given(seeds)
def test_axis_angle_matches_scipy(seed):
    vector = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    np.testing.assert_allclose(
        axis_angle_to_matrix(vector).numpy(), Rotation.from_rotvec(vector.numpy()).as_matrix(), atol=1e-12
    )


def test_axis_angle_is_differentiable_at_zero():
    vector = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    matrix = axis_angle_to_matrix(vector)
    torch.testing.assert_close(matrix, torch.eye(3, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(matrix[2, 1], vector)
    torch.testing.assert_close(gradient, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


@given(seeds, st.floats(0, math.pi))
def test_geodesic_angle_is_the_rotation_angle(seed, angle):
    axis = torch.nn.functional.normalize(
        torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1
    )
    base = _random(seed)
    measured = geodesic_angle(base, base @ axis_angle_to_matrix(axis * angle))
    assert measured.item() == pytest.approx(angle, abs=1e-7)


def test_geodesic_angle_keeps_small_angles_in_float32():
    turned = axis_angle_to_matrix(torch.tensor([1e-5, 0.0, 0.0]))
    assert geodesic_angle(torch.eye(3), turned).item() == pytest.approx(1e-5, rel=1e-3)


@pytest.mark.parametrize("num_bins", [72, 36, 7])
@given(seed=seeds)
def test_euler_bins_are_within_half_a_bin(num_bins, seed):
    quaternion = matrix_to_quaternion(_random(seed, 50))
    bins = quaternion_to_euler_bins(quaternion, num_bins)
    assert bins.dtype == torch.int64 and (bins >= 0).all() and (bins < num_bins).all()
    width = 360 / num_bins
    difference = (_scipy(quaternion).as_euler("xyz", degrees=True) - (bins.numpy() * width - 180) + 180) % 360 - 180
    assert np.abs(difference).max() <= width / 2 + 1e-6
    back = quaternion_to_matrix(euler_bins_to_quaternion(bins, num_bins)).double()
    assert (geodesic_angle(quaternion_to_matrix(quaternion), back).rad2deg() <= 1.5 * width + 1e-3).all()


@given(st.integers(0, 71), st.integers(19, 53), st.integers(0, 71))
def test_bins_survive_a_round_trip(roll, pitch, yaw):
    # Pitch bins strictly inside (-90, 90) degrees: outside, other angles name the same rotation.
    bins = torch.tensor([roll, pitch, yaw])
    assert torch.equal(quaternion_to_euler_bins(euler_bins_to_quaternion(bins)), bins)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
@pytest.mark.parametrize("yaw", [-120.0, 0.0, 35.0, 180.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_euler_bins_at_gimbal_lock(pitch, yaw, dtype):
    quaternion = quaternion_multiply(_about("z", yaw), _about("y", pitch)).to(dtype)
    bins = quaternion_to_euler_bins(quaternion)
    back = quaternion_to_matrix(euler_bins_to_quaternion(bins)).to(dtype)
    assert geodesic_angle(quaternion_to_matrix(quaternion), back).rad2deg() <= 7.5 + 0.1


def test_euler_bins_refuse_no_bins():
    with pytest.raises(ValueError, match="num_bins"):
        quaternion_to_euler_bins(torch.tensor([1.0, 0, 0, 0]), 0)


@given(seeds)
def test_canonical_gripper_is_one_choice_of_two(seed):
    quaternion = matrix_to_quaternion(_random(seed, 40))
    other = quaternion_multiply(quaternion, _about("z", 180))
    canonical = canonical_gripper_quaternion(quaternion)
    torch.testing.assert_close(canonical, canonical_gripper_quaternion(other), atol=1e-9, rtol=0)
    torch.testing.assert_close(canonical, canonical_gripper_quaternion(canonical), atol=1e-9, rtol=0)
    torch.testing.assert_close(canonical, canonical_gripper_quaternion(-quaternion), atol=1e-9, rtol=0)
    matrix, chosen = quaternion_to_matrix(quaternion), quaternion_to_matrix(canonical)
    torch.testing.assert_close(chosen[..., 2], matrix[..., 2])
    torch.testing.assert_close(chosen[..., 1].abs(), matrix[..., 1].abs())


@pytest.mark.parametrize("yaw", [-90.0, -45.0, 0.0, 89.9, 90.0, 135.0, 180.0, -135.0])
def test_canonical_yaw_of_a_hand_that_points_down(yaw):
    canonical = canonical_gripper_quaternion(quaternion_multiply(_about("z", yaw), _about("x", 180)))
    axis = quaternion_to_matrix(canonical)[:, 0]
    heading = math.degrees(math.atan2(axis[1], axis[0]))
    assert -90.001 <= heading < 90.001
    assert (heading - yaw + 90) % 180 == pytest.approx(90, abs=1e-6)


@given(seeds)
def test_canonical_choice_is_stable_for_a_hand_that_points_forward(seed):
    # Tool z forward, fingers side by side: the tool x axis is vertical and its yaw would be noise.
    generator = torch.Generator().manual_seed(seed)
    forward = torch.tensor([[0.0, 0, 1], [0, -1, 0], [1, 0, 0]], dtype=torch.float64)
    noise = axis_angle_to_matrix(0.1 * torch.randn(20, 3, generator=generator, dtype=torch.float64))
    canonical = quaternion_to_matrix(canonical_gripper_quaternion(matrix_to_quaternion(noise @ forward)))
    assert (canonical[:, 2, 0] > 0).all()
