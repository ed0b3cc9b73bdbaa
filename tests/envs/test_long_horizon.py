"""Tasks for suites alone: made of what other tasks train, and in no training set."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.objects import CUBE_EDGE, DRAWER_TRAVEL
from vla3d.envs.tabletop.tasks.base import MAX_STEPS
from vla3d.envs.tabletop.tasks.drawers import DRAWERS
from vla3d.envs.tabletop.tasks.place_in_container import BOX
from vla3d.envs.tabletop.tasks.put_two_in_container import PutTwoInContainer
from vla3d.envs.tabletop.tasks.put_two_in_drawer import PutTwoInDrawer

HELD_OUT = ("put_two_in_container", "put_two_in_drawer", "stack_four_blocks")
FLAT = (1.0, 0.0, 0.0, 0.0)


def tabletop(task: str) -> TabletopEnv:
    env = make_env(task, renderer=None)
    assert isinstance(env, TabletopEnv)
    env.begin(seed=1)
    return env


def reached(env: TabletopEnv) -> list[int]:
    env.world.sim.refresh()
    return [candidate for candidate, holds in enumerate(env._reached()) if holds]


def test_exactly_these_are_held_out() -> None:
    assert {name for name, point in BUILT_IN.items() if point.load().__self__.held_out} == set(HELD_OUT)


def test_no_configuration_of_ours_trains_on_them() -> None:
    folder = Path(__file__).parents[2] / "configs"
    for path in (*folder.glob("experiment/*.yaml"), folder / "collect.yaml", folder / "train.yaml"):
        assert not set(HELD_OUT) & set(strings(yaml.safe_load(path.read_text()))), path


def strings(value: object) -> list[str]:
    """Every string in a configuration."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return [text for entry in value for text in strings(entry)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", HELD_OUT)
def test_the_expert_has_steps_to_spare(name: str) -> None:
    env = tabletop(name)
    assert env._task.expert_keyframes <= 0.75 * env.step_limit and env.step_limit <= MAX_STEPS


def test_two_in_the_box_are_reached_by_exactly_their_pair() -> None:
    env = tabletop("put_two_in_container")
    for candidate, pair in enumerate(combinations(range(4), 2)):
        env.begin(seed=1)
        for place, cube in zip((0.035, -0.035), pair, strict=True):
            assert reached(env) == [], "one is not both"
            env.world.sim.set_free_body(f"cube_{cube}", env.world.to_world(BOX, (place, 0.0, 0.03)), FLAT)
        assert reached(env) == [candidate]
        env.world.sim.set_gripper(False)
        assert reached(env) == [], "the hand is closed"


def test_a_cube_on_another_in_the_box_is_in_the_box() -> None:
    env = tabletop("put_two_in_container")
    for height in (0.006, 0.006 + CUBE_EDGE):
        cube = "cube_0" if height < CUBE_EDGE else "cube_1"
        env.world.sim.set_free_body(cube, env.world.to_world(BOX, (0.0, 0.0, height + CUBE_EDGE / 2)), FLAT)
    assert reached(env) == [0]
    env.world.sim.set_free_body("cube_1", env.world.to_world(BOX, (0.09, 0.0, CUBE_EDGE)), FLAT)
    assert reached(env) == []


def test_two_in_the_drawer_are_reached_by_exactly_their_pair_and_drawer() -> None:
    env = tabletop("put_two_in_drawer")
    for candidate in range(env._task.num_candidates):
        env.begin(seed=1)
        cubes, drawer = env._task.cubes_and_drawer(candidate)
        env.world.sim.data.joint(drawer).qpos[0] = DRAWER_TRAVEL
        env.world.sim.refresh()
        for depth, cube in zip((0.045, 0.105), cubes, strict=True):
            assert reached(env) == [], "one is not both"
            env.world.sim.set_free_body(cube, env.world.to_world(drawer, (depth, 0.0, 0.032)), FLAT)
        assert reached(env) == [candidate]
        env.world.sim.set_free_body(cubes[0], env.world.to_world(DRAWERS[0], (-0.3, 0.0, 0.032)), FLAT)
        assert reached(env) == []


def test_one_named_cube_of_two_is_no_wrong_object() -> None:
    env = tabletop("put_two_in_container")
    while not env.episode.over:
        assert not env._task.wrong_object(env.world, env.episode.scenario)
        env.advance(env.expert().next_action())
    assert env.success_for(env.instruction)
    env.begin(seed=1)
    first, second = next(pair for index, pair in enumerate(combinations(range(4), 2)) if index == env.episode.scenario.goal)
    other = next(cube for cube in range(4) if cube not in (first, second))
    for position in ([0.5, 0.0, 0.3], env.world.to_world(BOX, (0.0, 0.0, 0.03))):
        env.world.sim.set_free_body(f"cube_{other}", position, FLAT)
        env.world.sim.refresh()
        assert env._task.wrong_object(env.world, env.episode.scenario), "held up, or in the box"


def test_restored_between_the_cubes_it_continues_exactly() -> None:
    env = tabletop("put_two_in_drawer")
    for _ in range(9):
        env.advance(env.expert().next_action())
    saved, ends = env.save_state(), []
    for _ in range(2):
        env.load_state(saved)
        for _ in range(6):
            env.advance(env.expert().next_action())
        ends.append(env.save_state())
    assert ends[0] == ends[1] and env.success_for(env.instruction)


def test_each_two_colors_are_said_in_one_way_only() -> None:
    box, drawer = PutTwoInContainer(), PutTwoInDrawer()
    pairs = list(combinations(range(len(COLOR_NAMES)), 2))
    assert (box.num_variations, drawer.num_variations) == (len(pairs), len(pairs) * len(COLOR_NAMES)) == (28, 224)
    for index, (first, second) in enumerate(pairs):
        expected = f"put the {COLOR_NAMES[first]} cube and the {COLOR_NAMES[second]} cube in the box"
        assert box.sentences(index)[0] == expected
    scenario = drawer.draw(np.random.default_rng(0), 100)
    assert drawer.candidate(scenario, 100) == scenario.goal and drawer.variation_of(scenario, scenario.goal) == 100
