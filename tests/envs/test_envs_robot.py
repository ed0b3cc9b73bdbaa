"""The arm: published geometry, gripper, and the simulation around it."""

import mujoco
import numpy as np
import pytest
from arm_scenes import bare_model, cube_model

from vla3d.envs.tabletop.robot import HOME_Q, JOINT_HIGH, JOINT_LOW, PANDA
from vla3d.envs.tabletop.simulation import Simulation, SimulationError


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return cube_model()


def test_the_tool_points_down_at_home_with_the_fingers_opening_sideways(model):
    pose = Simulation(model).tcp_pose()
    np.testing.assert_allclose(pose[:3, 2], [0, 0, -1], atol=1e-9)
    np.testing.assert_allclose(np.abs(pose[:3, 1]), [0, 1, 0], atol=1e-9)


def test_fingers_slide_along_the_tool_y_axis(model):
    sim = Simulation(model)
    tool_y = sim.tcp_pose()[:3, 1]
    left, right = (sim.data.geom(name).xpos for name in PANDA.pads)
    offset = left - right
    assert offset @ tool_y == pytest.approx(np.linalg.norm(offset), rel=1e-9)
    np.testing.assert_allclose((left + right) / 2, sim.tcp_pose()[:3, 3], atol=1e-9)


def test_nothing_touches_at_home_and_gravity_does_not_move_the_arm(model):
    sim = Simulation(model)
    robot = {model.body(name).id for name in PANDA.bodies}
    assert not any(set(model.geom_bodyid[pair]) & robot for pair in sim.data.contact.geom)
    sim.step(500)
    np.testing.assert_allclose(sim.arm_q, HOME_Q, atol=1e-6)


def test_gripper_opens_and_closes_within_half_a_second(model):
    sim = Simulation(model)
    assert sim.gripper_open and sim.gripper_width == pytest.approx(0.08)
    sim.set_gripper(False)
    sim.step(250)
    assert not sim.gripper_open and sim.gripper_width < 0.001
    sim.set_gripper(True)
    sim.step(250)
    assert sim.gripper_open and sim.gripper_width > 0.079


def test_joint_ranges_are_the_published_ones(model):
    ranges = np.stack([model.joint(name).range for name in PANDA.arm_joints])
    np.testing.assert_array_equal(ranges, np.stack([JOINT_LOW, JOINT_HIGH], axis=1))


def test_saved_state_continues_bit_for_bit(model):
    sim = Simulation(model)
    sim.set_free_body("cube", [0.5, 0.1, 0.06], [np.cos(0.3), np.sin(0.3), 0, 0])
    sim.refresh()
    sim.set_joint_targets(HOME_Q + 0.1, velocity=np.full(7, 0.2))
    sim.set_gripper(False)
    sim.step(60)
    state = sim.save()
    observed = (sim.tcp_pose(), sim.data.xpos.copy(), sim.data.contact.dist.copy())
    sim.step(200)
    final = sim.save()

    other = Simulation(model)
    other.load(state)
    for before, after in zip(observed, (other.tcp_pose(), other.data.xpos, other.data.contact.dist), strict=True):
        np.testing.assert_array_equal(before, after)
    other.step(200)
    assert other.save() == final
    sim.load(state)
    sim.step(200)
    assert sim.save() == final


def test_a_state_of_another_scene_is_refused(model):
    state = Simulation(bare_model()).save()
    with pytest.raises(ValueError, match="saved from another task"):
        Simulation(model).load(state)


def test_only_free_bodies_can_be_placed(model):
    with pytest.raises(ValueError, match="free"):
        Simulation(model).set_free_body(PANDA.hand, [0, 0, 0], [1, 0, 0, 0])


def test_servos_hold_against_a_push_and_recover(model):
    sim = Simulation(model)
    hand = model.body(PANDA.hand).id
    sim.data.xfrc_applied[hand, :3] = [0.0, 20.0, 0.0]
    sim.step(500)
    pushed = sim.tcp_pose()[:3, 3]
    sim.data.xfrc_applied[hand] = 0.0
    sim.step(250)
    rest = Simulation(model).tcp_pose()[:3, 3]
    assert 0.0005 < np.linalg.norm(pushed - rest) < 0.01
    np.testing.assert_allclose(sim.tcp_pose()[:3, 3], rest, atol=2e-4)


def test_a_body_between_the_fingers_is_held_and_furniture_is_not():
    sim = Simulation(cube_model())
    sim.model.opt.gravity[:] = 0.0  # the cube is put between the open fingers and must wait for them
    assert sim.held_body() is None
    sim.set_free_body("cube", sim.tcp_pose()[:3, 3], sim.tcp_quaternion())
    sim.refresh()
    sim.set_gripper(False)
    sim.step(200)
    assert sim.model.body(sim.held_body()).name == "cube"
    assert sim.in_contact("cube", PANDA.fingers[0]) and not sim.in_contact("cube", "world")
    assert 0.036 < sim.gripper_width < 0.04
    sim.set_gripper(True)
    sim.step(100)
    assert sim.held_body() is None


def test_a_diverging_scene_is_an_error(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warning to a log file in the working directory
    sim = Simulation(model)
    sim.step(1)
    sim.data.qvel[:] = np.inf
    with pytest.raises(SimulationError, match="diverged"):
        sim.step(1)
