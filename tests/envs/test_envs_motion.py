"""Executing keyframes: limits, contact, failures by name, exact repetition."""

import itertools

import numpy as np
import pytest
from arm_scenes import bare_model, cube_model, drawer_model, top_down, wall_model
from scipy.spatial.transform import Rotation

from vla3d.envs.tabletop.kinematics import follow_line, forward
from vla3d.envs.tabletop.motion import MotionExecutor, time_path
from vla3d.envs.tabletop.robot import ACCELERATION_LIMIT, HOME_Q, JOINT_HIGH, JOINT_LOW, VELOCITY_LIMIT
from vla3d.envs.tabletop.simulation import Simulation
from vla3d.types import KeyframeAction

DT = 0.002


class RecordingSimulation(Simulation):
    """Keeps the joint targets of every time step."""

    def __init__(self, model) -> None:
        self.targets: list[np.ndarray] = []
        self.velocities: list[np.ndarray] = []
        super().__init__(model)

    def set_joint_targets(self, q, velocity=None) -> None:
        self._position = np.array(q)
        super().set_joint_targets(q, velocity)

    def step(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.targets.append(self._position)
            super().step(1)
            self.velocities.append(self.arm_velocity)


def pick(executor: MotionExecutor, x: float, y: float, yaw: float) -> list[str | None]:
    approach = top_down(x, y, 0.11, yaw=yaw)
    grasp = top_down(x, y, 0.02, yaw=yaw, gripper_open=False, ignore=True)
    lift = top_down(x, y, 0.17, yaw=yaw, gripper_open=False, ignore=True)
    return [executor.execute(action) for action in (approach, grasp, lift)]


def test_the_tool_arrives_where_it_was_sent():
    sim = Simulation(bare_model())
    executor = MotionExecutor(sim)
    for action in (top_down(0.5, 0.2, 0.1, yaw=0.6), top_down(0.45, 0.15, 0.05, yaw=0.3, ignore=True)):
        assert executor.execute(action) is None
        np.testing.assert_allclose(sim.tcp_pose()[:3, 3], action.position, atol=1e-3)
        turn = Rotation.from_matrix(sim.tcp_pose()[:3, :3]).inv() * Rotation.from_quat(action.quaternion, scalar_first=True)
        assert min(turn.magnitude(), abs(np.pi - turn.magnitude())) < 0.01
        assert np.abs(sim.arm_velocity).max() < 0.02


def test_limits_hold_over_many_random_motions():
    rng = np.random.default_rng(0)
    sim = RecordingSimulation(bare_model())
    executor = MotionExecutor(sim)
    done = 0
    for _ in range(40):
        x, y, z = rng.uniform([0.35, -0.3, 0.08], [0.65, 0.3, 0.4])
        yaw, ignore = rng.uniform(-np.pi / 2, np.pi / 2), bool(rng.random() < 0.5)
        done += executor.execute(top_down(x, y, z, yaw=yaw, ignore=ignore)) is None
    assert done >= 35
    targets = np.stack(sim.targets)
    speed = np.abs(np.diff(targets, axis=0)) / DT
    acceleration = np.abs(np.diff(targets, n=2, axis=0)) / DT**2
    assert (speed.max(axis=0) <= VELOCITY_LIMIT).all()
    assert (acceleration.max(axis=0) <= ACCELERATION_LIMIT).all()
    assert (targets >= JOINT_LOW).all() and (targets <= JOINT_HIGH).all()
    assert (np.abs(np.stack(sim.velocities)).max(axis=0) <= VELOCITY_LIMIT).all()


def test_timing_is_exact_at_both_ends_and_never_runs_backwards():
    goal = forward(HOME_Q)
    goal[:3, 3] += [0.1, 0.1, -0.2]
    waypoints = follow_line(HOME_Q, goal)
    trajectory = time_path(waypoints, DT)
    np.testing.assert_allclose(trajectory.positions[-1], waypoints[-1], atol=1e-9)
    assert np.abs(trajectory.velocities[-1]).max() < 1e-6
    heights = forward(trajectory.positions)[:, 2, 3]
    assert (np.diff(heights) <= 1e-9).all()
    slow = time_path(waypoints, DT, min_duration=3.0)
    assert len(slow.positions) * DT > 3.0 > len(trajectory.positions) * DT


def test_a_gripped_cube_creeps_at_most_two_millimetres_in_ten_seconds():
    sim = Simulation(cube_model())
    executor = MotionExecutor(sim)
    assert pick(executor, 0.5, 0.0, 0.2) == [None, None, None]

    def in_hand() -> tuple[np.ndarray, Rotation]:
        position, quaternion = sim.body_pose("cube")
        hand = Rotation.from_matrix(sim.tcp_pose()[:3, :3]).inv()
        return hand.apply(position - sim.tcp_pose()[:3, 3]), hand * Rotation.from_quat(quaternion, scalar_first=True)

    before, turned_before = in_hand()
    executor.wait(10.0)
    after, turned_after = in_hand()
    assert sim.body_pose("cube")[0][2] > 0.16
    assert np.linalg.norm(after - before) <= 0.002
    assert (turned_before.inv() * turned_after).magnitude() < 0.03
    assert sim.model.body(sim.held_body()).name == "cube"


def test_cubes_are_picked_from_anywhere_off_centre():
    rng = np.random.default_rng(1)
    sim = Simulation(cube_model())
    for _ in range(20):
        sim.reset()
        (x, y), yaw = rng.uniform([0.35, -0.25], [0.65, 0.25]), rng.uniform(-0.78, 0.78)
        sim.set_free_body("cube", [x, y, 0.02], Rotation.from_euler("z", yaw + rng.normal(0, 0.05)).as_quat(scalar_first=True))
        sim.refresh()
        assert pick(MotionExecutor(sim), x + rng.normal(0, 0.003), y + rng.normal(0, 0.003), yaw) == [None, None, None]
        assert sim.body_pose("cube")[0][2] > 0.16, (x, y, yaw)


@pytest.mark.parametrize("yaw", [0.0, 0.35])
def test_a_post_handle_is_pulled(yaw: float):
    sim = Simulation(drawer_model())
    executor = MotionExecutor(sim)
    assert executor.execute(top_down(0.56, 0.003, 0.2, yaw=yaw)) is None
    assert executor.execute(top_down(0.56, 0.003, 0.08, yaw=yaw, gripper_open=False, ignore=True)) is None
    assert sim.in_contact("drawer", "panda_left_finger") and sim.in_contact("drawer", "panda_right_finger")
    assert executor.execute(top_down(0.42, 0.003, 0.08, yaw=yaw, gripper_open=False, ignore=True)) is None
    assert sim.data.joint("slide").qpos[0] > 0.13


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("position", [(1.4, 0.0, 0.2), (0.5, 0.0, np.nan), (np.inf, 0.0, 0.2)])
def test_an_unreachable_target_moves_nothing(position: tuple[float, float, float], ignore: bool):
    sim = Simulation(bare_model())
    before = sim.save()
    assert MotionExecutor(sim).execute(top_down(*position, gripper_open=False, ignore=ignore)) == "unreachable"
    assert sim.save() == before


def test_a_quaternion_that_is_none_is_unreachable():
    sim = Simulation(bare_model())
    action = KeyframeAction(position=np.array([0.5, 0, 0.2]), quaternion=np.zeros(4), gripper_open=True)
    assert MotionExecutor(sim).execute(action) == "unreachable"


def test_a_wall_is_avoided_without_ignore_collisions_and_hit_with_it():
    sim = Simulation(wall_model())
    executor = MotionExecutor(sim)
    assert executor.execute(top_down(0.5, 0.25, 0.1)) is None
    before = sim.save()
    touched = []

    def watch() -> None:
        bodies = sim.model.geom_bodyid[sim.data.contact.geom]
        touched.append(bool(len(bodies)))

    assert executor.execute(top_down(0.5, -0.25, 0.1), watch) is None
    np.testing.assert_allclose(sim.tcp_pose()[:3, 3], [0.5, -0.25, 0.1], atol=2e-3)
    assert not any(touched)

    sim.load(before)
    assert executor.execute(top_down(0.5, -0.25, 0.1, gripper_open=False, ignore=True)) == "collision"
    assert sim.tcp_pose()[1, 3] > 0.0, "the arm stopped at the wall"
    assert sim.gripper_open, "a failed motion does not actuate the gripper"
    assert executor.execute(top_down(0.5, 0.25, 0.1)) is None, "and it can be driven away again"


def test_a_target_inside_an_obstacle_is_a_collision_and_moves_nothing():
    sim = Simulation(wall_model())
    before = sim.save()
    assert MotionExecutor(sim).execute(top_down(0.5, 0.0, 0.1)) == "collision"
    assert sim.save() == before


def test_ticks_come_at_every_tenth_of_a_second():
    sim = Simulation(bare_model())
    executor = MotionExecutor(sim)
    times: list[float] = []
    for action in (top_down(0.5, 0.1, 0.2), top_down(0.5, 0.1, 0.1, gripper_open=False, ignore=True)):
        executor.execute(action, lambda: times.append(sim.data.time))
    np.testing.assert_allclose(times, 0.1 * np.arange(1, len(times) + 1), atol=1e-6)
    assert sim.data.time - times[-1] < 0.1


def test_a_pick_takes_a_few_seconds():
    sim = Simulation(cube_model())
    pick(MotionExecutor(sim), 0.5, 0.0, 0.0)
    assert 2.0 < sim.data.time < 6.0


def test_same_world_same_motion_bit_for_bit_also_after_a_restore():
    model = wall_model(with_cube=True)
    actions = [
        top_down(0.5, 0.25, 0.11),
        top_down(0.5, 0.25, 0.02, gripper_open=False, ignore=True),
        top_down(0.5, 0.25, 0.2, gripper_open=False, ignore=True),
        top_down(0.5, -0.25, 0.1, gripper_open=False),
    ]
    sim = Simulation(model)
    states = [sim.save()]
    for action in actions:
        assert MotionExecutor(sim).execute(action) is None
        states.append(sim.save())
    assert sim.body_pose("cube")[0][1] < -0.2, "the cube was carried around the wall"
    other = Simulation(model)
    for (before, after), action in zip(itertools.pairwise(states), actions, strict=True):
        other.load(before)
        MotionExecutor(other).execute(action)
        assert other.save() == after
