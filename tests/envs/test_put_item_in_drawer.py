"""A cube counts when it rests in the named drawer, let go; no drawer runs into a cube, and the hand has room at each."""

from collections.abc import Iterator

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.objects import (
    CUBE_EDGE,
    DRAWER_LENGTH,
    DRAWER_PITCH,
    DRAWER_RIM,
    DRAWER_TRAVEL,
    handle_position,
    inside_drawer,
)
from vla3d.envs.tabletop.placement import rectangle_gap
from vla3d.envs.tabletop.robot import HAND_HALF
from vla3d.envs.tabletop.tasks.cubes import CUBES
from vla3d.envs.tabletop.tasks.drawers import CABINET, DRAWERS, GOAL_OPENING
from vla3d.envs.tabletop.tasks.put_item_in_drawer import CUBE_SPAWN, PutItemInDrawer, taken_by_cabinet

NUM_COLORS = len(COLOR_NAMES)
IN_THE_DRAWER = (0.06, 0.0, 0.012 + CUBE_EDGE / 2)


@pytest.fixture(scope="module")
def made() -> Iterator[TabletopEnv]:
    env = make_env("put_item_in_drawer", renderer=None)
    assert isinstance(env, TabletopEnv)
    yield env
    env.close()


@pytest.fixture
def env(made: TabletopEnv) -> TabletopEnv:
    made.begin(seed=1)
    return made


def pull(env: TabletopEnv, drawer: str, opening: float) -> None:
    env.world.sim.data.joint(drawer).qpos[0] = opening
    env.world.sim.refresh()


def put(env: TabletopEnv, cube: str, drawer: str, point: tuple[float, float, float] = IN_THE_DRAWER) -> None:
    """Put a cube at a point of a drawer's frame."""
    yaw = env.episode.scenario.poses[-1].yaw / 2
    env.world.sim.set_free_body(cube, env.world.to_world(drawer, point), [np.cos(yaw), 0, 0, np.sin(yaw)])
    env.world.sim.refresh()


def cube_and_drawer(candidate: int) -> tuple[str, str]:
    (cube,), drawer = PutItemInDrawer().cubes_and_drawer(candidate)
    return cube, drawer


def reached(env: TabletopEnv) -> list[int]:
    return [candidate for candidate, holds in enumerate(env._reached()) if holds]


def expert_steps(env: TabletopEnv, count: int) -> None:
    for _ in range(count):
        env.advance(env.expert().next_action())


def test_exactly_the_pair_is_reached(env: TabletopEnv) -> None:
    for candidate in range(9):
        env.begin(seed=1)
        cube, drawer = cube_and_drawer(candidate)
        pull(env, drawer, GOAL_OPENING)
        assert reached(env) == [], "an open drawer is not enough"
        put(env, cube, drawer)
        assert reached(env) == [candidate]
        env.world.run(1.0)
        assert reached(env) == [candidate], "and it stays"


def test_goal_needs_an_open_hand_and_a_cube_at_rest_in_an_open_drawer(env: TabletopEnv) -> None:
    cube, drawer = cube_and_drawer(4)
    pull(env, drawer, DRAWER_TRAVEL)
    for outside in ((-0.03, 0.0, 0.03), (0.06, 0.05, 0.03), (0.06, 0.0, DRAWER_RIM + 0.01), (0.06, 0.0, 0.2)):
        put(env, cube, drawer, outside)
        assert not reached(env), outside
    put(env, cube, drawer)
    assert reached(env) == [4]
    env.world.sim.set_gripper(False)
    assert not reached(env)
    env.world.sim.set_gripper(True)
    pull(env, drawer, 0.05)
    put(env, cube, drawer)
    assert not reached(env), "nothing was dropped through so narrow a gap"
    pull(env, drawer, DRAWER_TRAVEL)
    put(env, cube, drawer, (0.06, 0.0, 0.06))
    env.world.run(0.04)
    assert not reached(env), "it still falls"
    env.world.run(0.5)
    assert reached(env) == [4]


def test_inside_drawer_is_what_the_walls_enclose(env: TabletopEnv) -> None:
    half = DRAWER_PITCH / 2 - 0.003 - 0.006
    for point in ((0.0, 0.0, 0.0), (DRAWER_LENGTH, half, DRAWER_RIM)):
        assert inside_drawer(point)
    for point in ((-0.001, 0, 0), (DRAWER_LENGTH + 0.001, 0, 0), (0.1, half + 0.001, 0), (0.1, 0, DRAWER_RIM + 0.001)):
        assert not inside_drawer(point)
    model, drawer = env.world.model, DRAWERS[0]
    for side, sign in (("left", 1), ("right", -1)):
        geom = model.geom(f"{drawer}/{side}")
        assert abs(geom.pos[1]) - geom.size[1] == pytest.approx(half) and np.sign(geom.pos[1]) == sign
        assert geom.pos[2] + geom.size[2] == pytest.approx(DRAWER_RIM)


def test_variations_are_pairs_of_colors() -> None:
    task = PutItemInDrawer()
    assert task.num_variations == NUM_COLORS**2 == 64
    sentence = task.sentences(COLOR_NAMES.index("red") * NUM_COLORS + COLOR_NAMES.index("blue"))[0]
    assert sentence == "open the blue drawer and put the red cube in it"
    colors = [task.draw(np.random.default_rng(seed), 9).colors for seed in range(50)]
    assert all(len({*c[:3]}) == len({*c[3:]}) == 3 for c in colors), "two distractors of each"
    assert all(1 in c[:3] and 1 in c[3:] for c in colors), "cube and drawer of one colour"


def test_no_drawer_runs_into_a_cube(env: TabletopEnv) -> None:
    for seed in range(25):
        env.begin(seed=seed)
        for opening in np.linspace(0.0, DRAWER_TRAVEL, 6):
            for drawer in DRAWERS:
                pull(env, drawer, opening)
            assert not any(env.world.sim.in_contact(cube, body) for cube in CUBES for body in (CABINET, *DRAWERS))


def test_the_hand_has_room_at_every_cube_whichever_drawer_is_open(env: TabletopEnv) -> None:
    for seed in range(25):
        env.begin(seed=seed)
        *cubes, cabinet = env.episode.scenario.poses
        way, half = taken_by_cabinet(cabinet)
        assert all(rectangle_gap(cube, HAND_HALF[:2], way, half) >= 0.01 for cube in cubes)
        handles = [env.world.to_world(drawer, handle_position(opening)) for drawer in DRAWERS for opening in (0, DRAWER_TRAVEL)]
        cos, sin = np.cos(way.yaw), np.sin(way.yaw)
        local = (np.array(handles)[:, :2] - [way.x, way.y]) @ [[cos, -sin], [sin, cos]]
        assert (np.abs(local) <= half).all(), "the rectangle holds every handle, shut and open"


def test_cubes_come_everywhere() -> None:
    task, rng = PutItemInDrawer(), np.random.default_rng(0)
    poses = [pose for _ in range(250) for pose in task.draw(rng, 0).poses[:3]]
    for axis, (low, high) in (("x", CUBE_SPAWN.x), ("y", CUBE_SPAWN.y), ("yaw", (-CUBE_SPAWN.yaw, CUBE_SPAWN.yaw))):
        values = np.array([getattr(pose, axis) for pose in poses])
        shares = np.histogram(values, bins=6, range=(low, high))[0] / len(values)
        assert shares.min() > 0.02 and low <= values.min() and values.max() <= high, axis


def test_alternatives_name_other_drawers_first_and_other_cubes_later(env: TabletopEnv) -> None:
    goal = env.episode.scenario.goal
    expected = {
        0: {other for other in range(9) if other // 3 == goal // 3 and other != goal},
        4: {other for other in range(9) if other % 3 == goal % 3 and other != goal},
    }
    for step in range(9):
        rivals = set(env._task.rivals(env.world, env.episode.scenario))
        assert rivals == expected.get(step, set()), step
        others = [other.action for other in env.alternatives() if other.action.answer == "move"]
        targets = [env.expert().next_action().position, *(action.position for action in others)]
        assert len({tuple(np.round(target, 2)) for target in targets}) == len(targets)
        assert not env._task.wrong_object(env.world, env.episode.scenario)
        expert_steps(env, 1)
    assert env.success_for(env.instruction)


def test_another_cube_or_drawer_is_the_wrong_object(env: TabletopEnv) -> None:
    cube, drawer = cube_and_drawer(env.episode.scenario.goal)
    for other in range(9):
        env.begin(seed=1)
        other_cube, other_drawer = cube_and_drawer(other)
        pull(env, other_drawer, GOAL_OPENING)
        assert env._task.wrong_object(env.world, env.episode.scenario) is (other_drawer != drawer)
        named = (other_cube, other_drawer) == (cube, drawer)
        for point in ((0.06, 0.0, 0.2), IN_THE_DRAWER):
            put(env, other_cube, other_drawer, point)
            assert env._task.wrong_object(env.world, env.episode.scenario) is not named


def test_a_drawer_that_was_pushed_back_is_opened_again(env: TabletopEnv) -> None:
    _, drawer = cube_and_drawer(env.episode.scenario.goal)
    expert_steps(env, 5)
    pull(env, drawer, 0.06)
    while not env.episode.over:
        expert_steps(env, 1)
    assert env.success_for(env.instruction)


def test_restored_with_the_cube_in_the_hand_it_continues_exactly(env: TabletopEnv) -> None:
    expert_steps(env, 7)
    saved, ends = env.save_state(), []
    for _ in range(2):
        env.load_state(saved)
        expert_steps(env, 2)
        ends.append(env.save_state())
    assert ends[0] == ends[1] and env.success_for(env.instruction)
