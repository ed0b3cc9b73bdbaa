"""Kinematics against C MuJoCo and against themselves."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla3d.envs.tabletop import kinematics
from vla3d.envs.tabletop.robot import HOME_Q, JOINT_HIGH, JOINT_LOW, PANDA, add_panda

HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


def random_configurations(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(JOINT_LOW + 0.05, JOINT_HIGH - 0.05, (count, 7))


def top_down(x: float, y: float, z: float, yaw: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xz", [np.pi, yaw]).as_matrix()
    pose[:3, 3] = x, y, z
    return pose


def pose_distance(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    angle = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(angle)


def test_forward_equals_mujoco():
    spec = mujoco.MjSpec()
    add_panda(spec)
    model = spec.compile()
    data = mujoco.MjData(model)
    address = [model.joint(name).qposadr[0] for name in PANDA.arm_joints]
    for q in random_configurations(0, 50):
        data.qpos[address] = q
        mujoco.mj_kinematics(model, data)
        pose = kinematics.forward(q)
        np.testing.assert_allclose(pose[:3, 3], data.site("tcp").xpos, atol=1e-12)
        np.testing.assert_allclose(pose[:3, :3].ravel(), data.site("tcp").xmat, atol=1e-12)
        frames = kinematics.joint_frames(q[None])[0]
        np.testing.assert_allclose(frames[:, :3, 3], [data.body(name).xpos for name in PANDA.links[1:]], atol=1e-12)


def test_jacobian_equals_finite_differences():
    q = random_configurations(1, 20)
    frames, tcp, step = kinematics.joint_frames(q), kinematics.forward(q), 1e-6
    exact = kinematics.jacobian(frames, tcp)
    for joint in range(7):
        moved = q.copy()
        moved[:, joint] += step
        np.testing.assert_allclose(kinematics.pose_error(kinematics.forward(moved), tcp) / step, exact[:, :, joint], atol=1e-5)


def test_batch_equals_singles():
    q = random_configurations(2, 6).reshape(2, 3, 7)
    batch = kinematics.forward(q)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(kinematics.forward(q[index]), batch[index], atol=1e-14)


def test_inverse_solves_random_reachable_poses():
    solved = 0
    for index, q in enumerate(random_configurations(3, 100)):
        target = kinematics.forward(q)
        solution = kinematics.solve_ik(target, HOME_Q, rng_seed=index, symmetric=False)
        if solution is None:
            continue
        solved += 1
        distance, angle = pose_distance(kinematics.forward(solution.q), target)
        assert distance <= 0.001 and angle <= 0.01
        assert (solution.q >= JOINT_LOW).all() and (solution.q <= JOINT_HIGH).all()
    assert solved >= 98


@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(0.35, 0.65),
    y=st.floats(-0.3, 0.3),
    z=st.floats(0.02, 0.3),
    yaw=st.floats(-np.pi / 2, np.pi / 2),
)
def test_every_top_down_pose_over_the_table_is_reached(x: float, y: float, z: float, yaw: float):
    target = top_down(x, y, z, yaw)
    solution = kinematics.solve_ik(target, HOME_Q)
    assert solution is not None
    distance, angle = pose_distance(kinematics.forward(solution.q), target @ HALF_TURN if solution.flipped else target)
    assert distance <= 0.001 and angle <= 0.01


def test_the_nearer_of_the_two_symmetric_grasps_is_taken():
    target = kinematics.forward(HOME_Q)
    solution = kinematics.solve_ik(target @ HALF_TURN, HOME_Q)
    assert solution is not None and solution.flipped
    np.testing.assert_allclose(solution.q, HOME_Q, atol=1e-3)
    strict = kinematics.solve_ik(target @ HALF_TURN, HOME_Q, symmetric=False)
    assert strict is not None and not strict.flipped and np.abs(strict.q - HOME_Q).max() > 1.0


def test_unreachable_and_repeatable():
    assert kinematics.solve_ik(top_down(1.5, 0.0, 0.2), HOME_Q) is None
    target = kinematics.forward(random_configurations(5, 1)[0])
    first, second = (kinematics.ik_candidates(target, HOME_Q, rng_seed=7, exhaustive=True) for _ in range(2))
    assert len(first) > 1
    np.testing.assert_array_equal([s.q for s in first], [s.q for s in second])


def test_a_followed_line_is_straight_and_continuous():
    q = kinematics.solve_ik(top_down(0.5, 0.1, 0.2, 0.4), HOME_Q).q
    goal = kinematics.forward(q)
    goal[:3, 3] += [0.05, -0.08, -0.15]
    goal[:3, :3] = Rotation.from_euler("z", 0.5).as_matrix() @ goal[:3, :3]
    waypoints = kinematics.follow_line(q, goal)
    assert waypoints is not None and np.abs(np.diff(waypoints, axis=0)).max() < 0.15
    poses = kinematics.forward(waypoints)
    assert pose_distance(poses[-1], goal)[0] < 1e-4
    line = goal[:3, 3] - poses[0, :3, 3]
    offsets = poses[:, :3, 3] - poses[0, :3, 3]
    across = offsets - np.outer(offsets @ line, line) / (line @ line)
    assert np.linalg.norm(across, axis=1).max() < 1e-4


@pytest.mark.parametrize("goal", [top_down(1.2, 0.0, 0.2), top_down(0.48, 0.0, -0.7)])
def test_a_line_that_leaves_the_reach_is_refused(goal: np.ndarray):
    assert kinematics.follow_line(HOME_Q, goal) is None
