"""Press the three named buttons in the order of the sentence."""

from collections.abc import Sequence
from itertools import permutations

import mujoco
import numpy as np

from vla3d.envs.tabletop.buttons import BUTTON_PRESSED_TOP, BUTTON_RADIUS, add_button, cap_name
from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, distinct_colors
from vla3d.envs.tabletop.expert import Grasp, is_above, over
from vla3d.envs.tabletop.placement import Footprint, SpawnRange, draw_layout
from vla3d.envs.tabletop.robot import PAD_HALF
from vla3d.envs.tabletop.tasks.base import Scenario, TabletopTask
from vla3d.envs.tabletop.world import World
from vla3d.types import KeyframeAction

NUM_BUTTONS = 5
BUTTONS: tuple[str, ...] = tuple(f"button_{index}" for index in range(NUM_BUTTONS))
CAPS: tuple[str, ...] = tuple(cap_name(button) for button in BUTTONS)

ORDERS: tuple[tuple[int, ...], ...] = tuple(permutations(range(NUM_BUTTONS), 3))
"""The candidates: which three buttons, and in which order."""

COLOR_ORDERS: tuple[tuple[int, ...], ...] = tuple(permutations(range(len(COLOR_NAMES)), 3))
"""The variations: three colours in the order in which the sentence names them."""

SPAWN = SpawnRange(x=(0.36, 0.66), y=(-0.28, 0.28), yaw=np.pi / 4)

CLEARANCE = 0.05
"""Least gap between two buttons, metres: a closed hand that is 2 cm off still misses the neighbour."""


class PushButtons(TabletopTask):
    """Five buttons of different colours; the goal is that the three named ones were pressed, in that order, and no other."""

    name = "push_buttons"
    instances = BUTTONS
    num_candidates = len(ORDERS)
    templates = (
        "press the {first} button, then the {second} one, then the {third} one",
        "push the {first} button, then the {second} button, then the {third} button",
        "first press {first}, then {second}, and last {third}",
        "press the {first}, {second} and {third} buttons in this order",
        "push down the {first} button, after it the {second} button, and finally the {third} button",
        "begin with the {first} button, go on to the {second} one and end with the {third} one",
    )
    unseen_templates = (
        "hit three buttons one after another: {first}, {second}, {third}",
        "the {first} button comes first, the {second} button next, the {third} button at the end",
    )
    expert_keyframes = 6
    manipulated = (*BUTTONS, *CAPS)
    grasps = False

    @property
    def num_variations(self) -> int:
        """Ordered triples of colours."""
        return len(COLOR_ORDERS)

    def fill(self, template: str, variation: int) -> str:
        """A template with the three colours in it."""
        first, second, third = (COLOR_NAMES[color] for color in COLOR_ORDERS[variation])
        return template.format(first=first, second=second, third=third)

    def candidate(self, scenario: Scenario, variation: int) -> int | None:
        """Which buttons the colours name, in order; None when one of them is not present."""
        named = COLOR_ORDERS[variation]
        if not set(named) <= set(scenario.colors):
            return None
        return ORDERS.index(tuple(scenario.colors.index(color) for color in named))

    def variation_of(self, scenario: Scenario, candidate: int) -> int:
        """The colours of a candidate's buttons, in order."""
        return COLOR_ORDERS.index(tuple(scenario.colors[button] for button in ORDERS[candidate]))

    def rivals(self, world: World, scenario: Scenario) -> Sequence[int]:
        """Each time the hand is to move on: one other order for each other button that could be next.

        It differs from the goal in that button alone, or in two buttons that change places.
        """
        done, goal = pressed(world), ORDERS[scenario.goal]
        if done == goal or done != goal[: len(done)] or not _moves_on(world, done):
            return []
        following = goal[len(done)]
        others = [button for button in range(NUM_BUTTONS) if button not in (*done, following)]
        return [ORDERS.index(_exchanged(goal, following, other)) for other in others]

    def build(self, spec: mujoco.MjSpec) -> None:
        """Add the buttons."""
        for button in BUTTONS:
            add_button(spec, button)

    def draw(self, rng: np.random.Generator, variation: int) -> Scenario:
        """Draw places, and which button has which colour."""
        named = COLOR_ORDERS[variation]
        poses = draw_layout(rng, [Footprint(half=BUTTON_RADIUS, spawn=SPAWN)] * NUM_BUTTONS, CLEARANCE)
        colors = [int(color) for color in rng.permutation(distinct_colors(rng, NUM_BUTTONS, named))]
        goal = ORDERS.index(tuple(colors.index(color) for color in named))
        swapped = int(rng.choice([index for index in range(len(ORDERS)) if index != goal]))
        return Scenario(variation=variation, goal=goal, swapped=swapped, colors=tuple(colors), poses=tuple(poses))

    def arrange(self, world: World, scenario: Scenario) -> None:
        """Place and paint the buttons."""
        for button, cap, pose, color in zip(BUTTONS, CAPS, scenario.poses, scenario.colors, strict=True):
            world.fix(button, pose)
            world.paint(cap, COLORS[COLOR_NAMES[color]])

    def reached(self, world: World, candidate: int) -> bool:
        """Whether exactly these buttons were pressed, in this order."""
        return pressed(world) == ORDERS[candidate]

    def disturbed(self, world: World, candidate: int) -> bool:
        """Whether what was pressed so far begins this order."""
        done = pressed(world)
        return bool(done) and done == ORDERS[candidate][: len(done)]

    def wrong_object(self, world: World, scenario: Scenario) -> bool:
        """Whether what was pressed so far does not begin the named order."""
        done = pressed(world)
        return done != ORDERS[scenario.goal][: len(done)]

    def expert_action(self, world: World, scenario: Scenario) -> KeyframeAction:
        """For each button: closed hand over it, straight down."""
        done = pressed(world)
        button = next((button for button in ORDERS[scenario.goal] if button not in done), ORDERS[scenario.goal][-1])
        press = press_pose(world, button)
        if is_above(world.sim.tcp_pose(), press) and not world.sim.gripper_open:
            position, quaternion = press.pose()
            return KeyframeAction(position=position, quaternion=quaternion, gripper_open=False, ignore_collisions=True)
        return over(press, gripper_open=False)


def pressed(world: World) -> tuple[int, ...]:
    """The buttons that were pressed, in that order."""
    return tuple(CAPS.index(cap) for cap in world.latched())


def press_pose(world: World, button: int) -> Grasp:
    """The tool when the fingertips have pushed a cap to the end of its travel."""
    top = world.to_world(BUTTONS[button], (0.0, 0.0, BUTTON_PRESSED_TOP))
    return Grasp(np.add(top, (0.0, 0.0, PAD_HALF)), yaw=0.0)


def _moves_on(world: World, done: tuple[int, ...]) -> bool:
    """Whether the hand has not gone to the next button yet."""
    if not done:
        return world.untouched
    return is_above(world.sim.tcp_pose(), press_pose(world, done[-1]))


def _exchanged(order: tuple[int, ...], one: int, other: int) -> tuple[int, ...]:
    """The order with two buttons exchanged."""
    return tuple({one: other, other: one}.get(button, button) for button in order)
