"""Latches: they catch while the world moves, keep their order, stay shut, and are part of a saved state."""

import mujoco
import numpy as np
import pytest

from vla3d.envs.tabletop.latches import CATCH_SHARE, add_latch
from vla3d.envs.tabletop.robot import add_panda, configure_physics
from vla3d.envs.tabletop.simulation import Simulation

TRAVEL = 0.02
NAMES = ("a", "b", "c")


def sliders() -> Simulation:
    """Three sprung sliders beside the robot."""
    spec = mujoco.MjSpec()
    configure_physics(spec)
    add_panda(spec)
    for index, name in enumerate(NAMES):
        body = spec.worldbody.add_body(name=name, pos=[0.5, 0.2 * index, 0.1], gravcomp=1)
        body.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, 0, -1],
            limited=True,
            range=[0, TRAVEL],
            stiffness=[100.0],
            damping=[3.0],
        )
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.02, 0, 0], mass=0.05)
        add_latch(spec, name)
    return Simulation(spec.compile())


def push(sim: Simulation, name: str, share: float) -> None:
    """Hold a slider at a share of its travel for 20 ms, then let go."""
    for _ in range(10):
        sim.data.joint(name).qpos[0] = share * TRAVEL
        sim.data.joint(name).qvel[0] = 0.0
        sim.refresh()
        sim.step()


def at(sim: Simulation, name: str) -> float:
    return float(sim.data.joint(name).qpos[0]) / TRAVEL


def test_caught_stays_and_released_returns() -> None:
    sim = sliders()
    push(sim, "b", CATCH_SHARE + 0.05)
    push(sim, "a", CATCH_SHARE - 0.05)
    sim.step(500)
    assert sim.latches.caught(sim.data) == ("b",)
    assert at(sim, "b") == pytest.approx(1.0, abs=0.05) and at(sim, "a") == pytest.approx(0.0, abs=0.05)
    sim.step(5000)
    assert at(sim, "b") == pytest.approx(1.0, abs=0.05), "for good"


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "a", "b"), ("b", "c")])
def test_order_is_kept(order: tuple[str, ...]) -> None:
    sim = sliders()
    for name in order:
        push(sim, name, 0.9)
        sim.step(50)
    assert sim.latches.caught(sim.data) == order
    sim.reset()
    assert sim.latches.caught(sim.data) == () and at(sim, order[0]) == 0.0
    sim.step(100)
    assert at(sim, order[0]) == pytest.approx(0.0, abs=1e-3)


def test_a_short_push_within_many_steps_is_seen() -> None:
    sim = sliders()
    sim.data.joint("a").qpos[0] = 0.9 * TRAVEL
    sim.refresh()
    sim.step(300)  # one call; without a latch the spring would have brought it back
    assert sim.latches.caught(sim.data) == ("a",)


def test_continues_exactly_from_every_step_around_the_catch() -> None:
    sim = sliders()
    push(sim, "c", 0.9)
    sim.data.joint("a").qvel[0] = 1.5
    sim.refresh()
    saved = []
    for _ in range(60):
        saved.append(sim.save())
        sim.step()
    assert sim.latches.caught(sim.data) == ("c", "a")
    for index, state in enumerate(saved):
        sim.load(state)
        sim.step(60 - index)
        assert sim.latches.caught(sim.data) == ("c", "a")
        again = sim.save()
        if index == 0:
            end = again
        assert again == end, index


def test_a_scene_without_latches_has_none() -> None:
    spec = mujoco.MjSpec()
    configure_physics(spec)
    add_panda(spec)
    sim = Simulation(spec.compile())
    sim.step(2)
    assert len(sim.latches) == 0 and sim.latches.caught(sim.data) == ()
    np.testing.assert_array_equal(sim.data.userdata, [])
