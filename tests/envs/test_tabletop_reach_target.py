"""reach_target: nothing touches the balls, they keep their distance, and 3 cm is the limit."""

from itertools import combinations

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.expert import top_down
from vla3d.envs.tabletop.objects import BALL_RADIUS
from vla3d.envs.tabletop.scene import WORKSPACE
from vla3d.envs.tabletop.tasks.reach_target import BALLS, HEIGHTS, ReachTarget
from vla3d.types import KeyframeAction


@pytest.fixture(scope="module")
def env() -> TabletopEnv:
    made = make_env("reach_target", renderer=None)
    assert isinstance(made, TabletopEnv)
    return made


def test_balls_are_apart_in_the_air_and_everywhere(env: TabletopEnv) -> None:
    rng = np.random.default_rng(0)
    places = np.array([[(p.x, p.y, p.z) for p in ReachTarget().draw(rng, 0).poses] for _ in range(300)])
    for one, other in combinations(range(len(BALLS)), 2):
        apart = np.linalg.norm((places[:, one] - places[:, other])[:, :2], axis=-1)
        assert apart.min() >= 0.10 + 2 * BALL_RADIUS - 1e-9
    assert WORKSPACE.contains(places.reshape(-1, 3)).all()
    heights = places[..., 2]
    assert HEIGHTS[0] <= heights.min() < 0.07 and 0.28 < heights.max() <= HEIGHTS[1]
    assert (np.ptp(places.reshape(-1, 3), axis=0)[:2] >= [0.25, 0.50]).all()


@pytest.mark.parametrize(("offset", "expected"), [(0.025, True), (0.035, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_three_centimetres(env: TabletopEnv, axis: int, offset: float, expected: bool) -> None:
    env.begin(seed=4)
    position = env.world.position(BALLS[env.episode.scenario.goal])
    position[axis] += offset
    result = env.step(KeyframeAction(position=position, quaternion=top_down(0.3), gripper_open=False))
    assert result.success is expected


def test_passing_by_is_not_reaching(env: TabletopEnv) -> None:
    env.begin(seed=4)
    ball = env.world.position(BALLS[env.episode.scenario.goal])
    for side in (-0.08, 0.08):  # the line between the two places goes through the ball
        action = KeyframeAction(
            position=np.add(ball, (0.0, side, 0.0)), quaternion=top_down(0.0), gripper_open=True, ignore_collisions=side > 0
        )
        result = env.step(action)
        assert result.failure is None and not result.terminated


def test_nothing_touches_a_ball(env: TabletopEnv) -> None:
    env.begin(seed=5)
    model = env.world.model
    assert all(model.geom(ball).contype[0] == model.geom(ball).conaffinity[0] == 0 for ball in BALLS)
    for goal in range(len(BALLS)):
        through = env.world.position(BALLS[goal]) - [0.0, 0.0, 0.03]
        action = KeyframeAction(position=through, quaternion=top_down(0.0), gripper_open=False)
        assert env.step(action).info["motion_failure"] is None
        names = {model.geom(int(geom)).name for geom in env.world.sim.data.contact.geom.ravel()}
        assert not names & set(BALLS)
        if env.episode.over:
            env.begin(seed=5)


def test_the_heights_survive_a_save(env: TabletopEnv) -> None:
    env.begin(seed=6)
    before = [env.world.position(ball) for ball in BALLS]
    state = env.save_state()
    env.begin(seed=7)
    assert not np.allclose(before, [env.world.position(ball) for ball in BALLS])
    env.load_state(state)
    np.testing.assert_array_equal(before, [env.world.position(ball) for ball in BALLS])
