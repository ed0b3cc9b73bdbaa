"""What the tasks have in common: what is drawn, what is said, and when the goal holds."""

from collections import Counter

import numpy as np
import pytest

from vla3d.envs.tabletop.colors import COLOR_NAMES
from vla3d.envs.tabletop.objects import BOX_OUTER, CUBE_EDGE, DRAWER_TRAVEL, handle_position
from vla3d.envs.tabletop.placement import square_gap
from vla3d.envs.tabletop.scene import WORKSPACE, new_scene
from vla3d.envs.tabletop.tasks import cubes, drawers, place_in_container, push_buttons, reach_target
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.tasks.drawers import CABINET, DRAWERS
from vla3d.envs.tabletop.tasks.open_drawer import OpenDrawer
from vla3d.envs.tabletop.tasks.pick_and_lift import PickAndLift
from vla3d.envs.tabletop.tasks.place_in_container import BOX, PlaceInContainer
from vla3d.envs.tabletop.tasks.push_buttons import PushButtons
from vla3d.envs.tabletop.tasks.put_item_in_drawer import PutItemInDrawer
from vla3d.envs.tabletop.tasks.put_two_in_container import PutTwoInContainer
from vla3d.envs.tabletop.tasks.put_two_in_drawer import PutTwoInDrawer
from vla3d.envs.tabletop.tasks.reach_target import ReachTarget
from vla3d.envs.tabletop.tasks.slide_block_to_target import SlideBlockToTarget
from vla3d.envs.tabletop.tasks.stack_blocks import StackBlocks
from vla3d.envs.tabletop.tasks.stack_four_blocks import StackFourBlocks
from vla3d.envs.tabletop.world import World

ONE_COLOR = (PickAndLift(), PlaceInContainer(), OpenDrawer(), ReachTarget(), SlideBlockToTarget())
LONG = (PutTwoInContainer(), PutTwoInDrawer(), StackFourBlocks())
TASKS = (*ONE_COLOR, PushButtons(), StackBlocks(), PutItemInDrawer(), *LONG)
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def scenarios(task: TabletopTask, count: int = 300) -> list[Scenario]:
    rng = np.random.default_rng(0)
    return [task.draw(rng, int(rng.integers(task.num_variations))) for _ in range(count)]


def running(task: TabletopTask, scenario: Scenario) -> World:
    spec = new_scene()
    task.build(spec)
    world = World(spec, task.instances)
    arrange(task, world, scenario)
    return world


def arrange(task: TabletopTask, world: World, scenario: Scenario) -> None:
    world.reset()
    task.arrange(world, scenario)
    world.sim.refresh()


def corners(world: World, body: str) -> np.ndarray:
    """Corners of the boxes around an instance's geoms in the world."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    data, model = world.sim.data, world.model
    number = next(key for key, name in world.instance_names.items() if name == body)
    geoms = np.flatnonzero(world.geom_instances == number)
    turned = [data.geom_xpos[g] + (signs * model.geom_aabb[g, 3:]) @ data.geom_xmat[g].reshape(3, 3).T for g in geoms]
    return np.concatenate(turned)


def letters(sentence: str) -> str:
    return "".join(character if character.isalpha() else " " for character in sentence)


@each_task
def test_sentences(task: TabletopTask) -> None:
    said = [task.sentences(variation) for variation in range(task.num_variations)]
    assert task.num_variations >= 8
    assert all(len(set(sentences)) == len(sentences) >= 4 for sentences in said)
    everything = [sentence for sentences in said for sentence in sentences]
    assert len(set(everything)) == len(everything), "a sentence that names two goals"
    for sentences in said:
        named = [[color for color in COLOR_NAMES if color in sentence.split()] for sentence in map(letters, sentences)]
        assert named[0] and all(colors == named[0] for colors in named), "every wording names the same colours"
    unseen = {sentence for variation in range(task.num_variations) for sentence in task.sentences(variation, unseen=True)}
    assert len(unseen) == 2 * task.num_variations and not unseen & {*everything}
    assert max(len(sentence.split()) for sentence in (*everything, *unseen)) <= 24, "a policy reads so many words"


@each_task
def test_scenarios_need_the_sentence(task: TabletopTask) -> None:
    goals: Counter[int] = Counter()
    for scenario in scenarios(task):
        assert task.candidate(scenario, scenario.variation) == scenario.goal
        assert scenario.swapped != scenario.goal and 0 <= scenario.swapped < task.num_candidates
        goals[scenario.goal] += 1
    assert len(goals) > 0.85 * task.num_candidates, "no body is always the named one"
    assert max(goals.values()) < 5 + 2 * 300 / task.num_candidates


@each_task
def test_candidates_and_variations_name_each_other(task: TabletopTask) -> None:
    for scenario in scenarios(task, 20):
        named = [task.variation_of(scenario, candidate) for candidate in range(task.num_candidates)]
        assert len(set(named)) == task.num_candidates >= 3
        assert [task.candidate(scenario, variation) for variation in named] == [*range(task.num_candidates)]
        absent = set(range(task.num_variations)) - set(named)
        assert all(task.candidate(scenario, variation) is None for variation in absent)


@pytest.mark.parametrize("task", ONE_COLOR, ids=lambda task: task.name)
def test_three_things_of_different_colors(task: TabletopTask) -> None:
    for scenario in scenarios(task):
        colors = scenario.colors[: task.num_candidates]
        assert len(set(scenario.colors)) == len(scenario.colors)
        assert len(colors) >= 3, "at least two distractors"
        assert colors[scenario.goal] == scenario.variation


@each_task
def test_scenario_survives_json(task: TabletopTask) -> None:
    for scenario in scenarios(task, 5):
        assert Scenario.from_json(scenario.to_json()) == scenario


def test_spawn_ranges_are_the_contracts() -> None:
    assert np.ptp(cubes.SPAWN.x) >= 0.25 and np.ptp(cubes.SPAWN.y) >= 0.50 and cubes.SPAWN.yaw >= np.pi / 4
    box = place_in_container.BOX_SPAWN
    assert np.ptp(box.x) >= 0.25 and np.ptp(box.y) >= 0.50 and box.yaw >= np.pi / 4
    assert drawers.SPAWN.yaw >= np.radians(20) and np.ptp(drawers.SPAWN.y) >= 0.25
    for spawn in (push_buttons.SPAWN, reach_target.SPAWN):
        assert np.ptp(spawn.x) >= 0.25 and np.ptp(spawn.y) >= 0.50
    for task in (PickAndLift(), PlaceInContainer(), PushButtons(), ReachTarget(), StackBlocks(), PutItemInDrawer()):
        drawn = np.array([[pose.x, pose.y] for scenario in scenarios(task) for pose in scenario.poses[: cubes.NUM_CUBES]])
        assert (np.ptp(drawn, axis=0) >= [0.25, 0.50]).all()


@pytest.mark.parametrize("task", (PickAndLift(), PlaceInContainer()), ids=lambda task: task.name)
def test_room_for_the_fingers(task: TabletopTask) -> None:
    halves = [CUBE_EDGE / 2] * cubes.NUM_CUBES + [BOX_OUTER / 2]
    for scenario in scenarios(task):
        for i, first in enumerate(scenario.poses):
            for j, second in enumerate(scenario.poses[:i]):
                assert square_gap(first, halves[i], second, halves[j]) >= cubes.CLEARANCE > 0.04


@each_task
def test_nothing_overlaps_and_all_that_is_handled_is_in_the_workspace(task: TabletopTask) -> None:
    world = running(task, scenarios(task, 1)[0])
    for scenario in scenarios(task, 40):
        arrange(task, world, scenario)
        depth = [contact.dist for contact in world.sim.data.contact]
        assert min(depth, default=0.0) > -1e-3, "things start inside each other"
        for body in task.instances:
            if body in DRAWERS:
                opened = [world.to_world(body, handle_position(opening)) for opening in (0.0, DRAWER_TRAVEL)]
                assert WORKSPACE.contains(np.stack(opened)).all(), body
            elif body != CABINET:
                assert WORKSPACE.contains(corners(world, body)).all(), body


def test_pick_and_lift_goal() -> None:
    task = PickAndLift()
    world = running(task, scenarios(task, 1)[0])
    for height, expected in ((CUBE_EDGE / 2, False), (CUBE_EDGE / 2 + 0.099, False), (CUBE_EDGE / 2 + 0.101, True)):
        world.sim.set_free_body("cube_1", [0.5, 0.0, height], [1, 0, 0, 0])
        world.sim.refresh()
        assert task.reached(world, 1) is expected
        assert not task.reached(world, 0)


def test_place_in_container_goal() -> None:
    task = PlaceInContainer()
    scenario = scenarios(task, 1)[0]
    world = running(task, scenario)
    inside = world.to_world(BOX, [0.03, -0.03, 0.006 + CUBE_EDGE / 2])
    world.sim.set_free_body("cube_2", inside, [1, 0, 0, 0])
    world.sim.refresh()
    assert task.reached(world, 2) and task.disturbed(world, 2) and not task.reached(world, 0)
    world.sim.set_gripper(False)
    assert not task.reached(world, 2), "the hand must be open"
    world.sim.set_gripper(True)
    for offset in ([0.09, 0.0, CUBE_EDGE / 2], [0.0, 0.0, 0.08]):
        world.sim.set_free_body("cube_2", world.to_world(BOX, offset), [1, 0, 0, 0])
        world.sim.refresh()
        assert not task.reached(world, 2), offset


def test_a_cube_on_the_move_is_not_at_rest() -> None:
    task = PlaceInContainer()
    world = running(task, scenarios(task, 1)[0])
    world.sim.set_free_body("cube_2", world.to_world(BOX, [0.0, 0.0, 0.045]), [1, 0, 0, 0])
    world.sim.refresh()
    world.run(0.03)
    assert not task.reached(world, 2)
    world.run(0.5)
    assert task.reached(world, 2)


def test_open_drawer_goal() -> None:
    task = OpenDrawer()
    world = running(task, scenarios(task, 1)[0])
    for share, expected in ((0.0, False), (0.79, False), (0.81, True), (1.0, True)):
        world.sim.data.joint(DRAWERS[2]).qpos[0] = share * DRAWER_TRAVEL
        world.sim.refresh()
        assert task.reached(world, 2) is expected
        assert task.disturbed(world, 2) is (share > 0.2)
        assert not task.reached(world, 0) and not task.disturbed(world, 1)


def test_drawers_stay_where_they_are_left() -> None:
    task = OpenDrawer()
    world = running(task, scenarios(task, 1)[0])
    world.sim.data.joint(DRAWERS[1]).qpos[0] = 0.07
    world.sim.refresh()
    world.run(1.0)
    assert world.joint(DRAWERS[1]) == pytest.approx(0.07, abs=1e-4)
    assert world.joint(DRAWERS[0]) == pytest.approx(0.0, abs=1e-4)


def test_handles_leave_room_for_the_hand() -> None:
    task = OpenDrawer()
    world = running(task, scenarios(task, 1)[0])
    handle = world.sim.data.geom(f"{DRAWERS[0]}/handle").xpos
    assert world.to_body(CABINET, handle)[0] <= -0.055
