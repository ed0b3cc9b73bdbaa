"""The arm: published geometry, gripper, and the simulation around it."""

import mujoco
import numpy as np
import pytest

from vla3d.envs.tabletop.robot import HOME_Q, JOINT_HIGH, JOINT_LOW, PANDA, add_panda, configure_physics
from vla3d.envs.tabletop.simulation import Simulation


def build_model(*, cube_half: float | None = None) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    configure_physics(spec)
    add_panda(spec)
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0.4, 0, -0.02], size=[0.6, 0.8, 0.02])
    if cube_half is not None:
        cube = spec.worldbody.add_body(name="cube", pos=[0.5, 0, cube_half])
        cube.add_freejoint()
        cube.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[cube_half] * 3, mass=0.06, condim=4, solref=[0.01, 1])
    return spec.compile()


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_model(cube_half=0.02)


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
    state = Simulation(build_model()).save()
    with pytest.raises(ValueError, match="saved from another task"):
        Simulation(model).load(state)


def test_only_free_bodies_can_be_placed(model):
    with pytest.raises(ValueError, match="free"):
        Simulation(model).set_free_body(PANDA.hand, [0, 0, 0], [1, 0, 0, 0])
