"""Collision checks and RRT-Connect."""

import itertools

import numpy as np
from arm_scenes import bare_model, cube_model, top_down, wall_model

from vla3d.envs.tabletop.kinematics import forward, solve_ik
from vla3d.envs.tabletop.motion import MotionExecutor, action_pose
from vla3d.envs.tabletop.planner import CollisionChecker, plan_path
from vla3d.envs.tabletop.robot import HOME_Q
from vla3d.envs.tabletop.simulation import Simulation


def configuration(x: float, y: float, z: float, yaw: float = 0.0) -> np.ndarray:
    solution = solve_ik(action_pose(top_down(x, y, z, yaw=yaw)), HOME_Q)
    assert solution is not None
    return solution.q


def test_the_arm_does_not_collide_with_itself_over_the_workspace():
    checker = CollisionChecker(Simulation(bare_model()))
    assert checker.is_free(HOME_Q)
    rng = np.random.default_rng(0)
    for _ in range(100):
        x, y, z = rng.uniform([0.35, -0.3, 0.03], [0.65, 0.3, 0.35])
        assert checker.is_free(configuration(x, y, z, rng.uniform(-1.5, 1.5))), (x, y, z)


def test_a_folded_arm_collides_with_itself_and_a_low_one_with_the_table():
    checker = CollisionChecker(Simulation(bare_model()))
    assert not checker.is_free(np.array([0.0, -1.7, 0.0, -3.0, 0.0, 0.1, 0.0]))
    assert checker.is_free(configuration(0.5, 0.0, 0.02))
    assert not checker.is_free(configuration(0.5, 0.0, 0.005))


def test_checking_leaves_the_simulation_alone():
    sim = Simulation(cube_model())
    sim.step(10)
    before = sim.save()
    margins = sim.model.geom_margin.copy()
    CollisionChecker(sim).segment_is_free(HOME_Q, configuration(0.5, 0.2, 0.02))
    assert sim.save() == before
    np.testing.assert_array_equal(sim.model.geom_margin, margins)


def test_a_held_object_is_a_part_of_the_hand():
    sim = Simulation(wall_model(height=0.1, with_cube=True))
    executor = MotionExecutor(sim)
    above_wall = configuration(0.5, 0.0, 0.123)
    executor.execute(top_down(0.5, 0.25, 0.11))
    executor.execute(top_down(0.5, 0.25, 0.03, gripper_open=False, ignore=True))
    executor.execute(top_down(0.5, 0.25, 0.2, gripper_open=False, ignore=True))
    assert sim.held_body() is not None
    holding = CollisionChecker(sim)
    assert holding.is_free(sim.arm_q)
    assert not holding.is_free(above_wall), "the cube hangs 3 cm below the tool and would meet the wall"
    sim.reset()
    assert CollisionChecker(sim).is_free(above_wall), "the empty hand passes"


def test_what_touches_at_the_start_may_stay_but_not_press_deeper():
    sim = Simulation(bare_model())
    executor = MotionExecutor(sim)
    executor.execute(top_down(0.5, 0.0, 0.1))
    executor.execute(top_down(0.5, 0.0, 0.008, ignore=True))
    checker = CollisionChecker(sim)
    assert checker.is_free(sim.arm_q)
    assert checker.segment_is_free(sim.arm_q, configuration(0.5, 0.0, 0.1))
    assert not checker.is_free(configuration(0.5, 0.0, 0.002))


def test_direct_motion_is_taken_where_it_is_free():
    checker = CollisionChecker(Simulation(bare_model()))
    goal = configuration(0.5, 0.2, 0.2)
    np.testing.assert_array_equal(plan_path(checker, HOME_Q, [goal]), [HOME_Q, goal])


def test_paths_around_a_wall_are_free_short_and_repeatable():
    checker = CollisionChecker(Simulation(wall_model()))
    for index, y in enumerate((0.2, 0.25, 0.3)):
        start, goal = configuration(0.5, y, 0.1), configuration(0.55, -y, 0.1)
        assert not checker.segment_is_free(start, goal)
        path = plan_path(checker, start, [goal], seed=index)
        assert path is not None
        np.testing.assert_array_equal(path[0], start)
        np.testing.assert_array_equal(path[-1], goal)
        # Far finer than the planner checks: between its samples the clearance may shrink, but nothing may touch.
        for a, b in itertools.pairwise(path):
            pieces = int(np.ceil(np.abs(b - a).max() / 0.002))
            for fraction in np.linspace(0, 1, pieces + 1):
                assert all(distance > 0 for distance in checker.near_pairs(a + (b - a) * fraction).values())
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() < 3.0 * np.linalg.norm(goal - start)
        np.testing.assert_array_equal(plan_path(checker, start, [goal], seed=index), path)
        assert forward(path)[:, 2, 3].max() > 0.2


def test_no_path_into_an_obstacle():
    checker = CollisionChecker(Simulation(wall_model()))
    assert plan_path(checker, HOME_Q, [configuration(0.5, 0.0, 0.1)]) is None
