"""Things of other shapes than cubes that a sentence may name a cube by, one of each kind. Metres."""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco

from vla3d.envs.tabletop.buttons import BUTTON_PRESSED_TOP, BUTTON_TRAVEL, BUTTON_WIDTH, add_button, cap_name
from vla3d.envs.tabletop.objects import (
    BOX_OUTER,
    BOX_RIM,
    CUBE_EDGE,
    ROUND_BLOCK_HEIGHT,
    ROUND_BLOCK_RADIUS,
    TARGET_EDGE,
    TARGET_THICKNESS,
    add_open_box,
    add_round_block,
    add_target,
)
from vla3d.envs.tabletop.placement import TablePose
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import OrientedBox


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A kind of thing.

    Attributes:
        name: of its body; also what sentences call it, and its label in scene graphs.
        add: adds the body to a scene.
        width: edge of the upright square around it.
        height: of its top above the table.
        origin: height of the body's origin above the table.
        painted: the body that has its colour.
        round: whether it looks the same from all sides: then nobody sees which way the square around it is turned.
    """

    name: str
    add: Callable[[mujoco.MjSpec, str], None]
    width: float
    height: float
    origin: float = 0.0
    painted: str
    round: bool = False


ANCHORS: tuple[Anchor, ...] = (
    Anchor(name="box", add=add_open_box, width=BOX_OUTER, height=BOX_RIM, painted="box"),
    Anchor(
        name="button",
        add=add_button,
        width=BUTTON_WIDTH,
        height=BUTTON_PRESSED_TOP + BUTTON_TRAVEL,
        painted=cap_name("button"),
        round=True,
    ),
    Anchor(name="target", add=add_target, width=TARGET_EDGE, height=TARGET_THICKNESS, painted="target"),
    Anchor(
        name="puck",
        add=add_round_block,
        width=2 * ROUND_BLOCK_RADIUS,
        height=ROUND_BLOCK_HEIGHT,
        origin=ROUND_BLOCK_HEIGHT / 2,
        painted="puck",
        round=True,
    ),
)
"""None is so high that the hand could not pass over it while it grips a cube beside it."""


def anchor_node(kind: int, pose: TablePose) -> SceneNode:
    """An anchor at a place as a node of a scene graph; ``kind`` is an index into ``ANCHORS`` and becomes its id."""
    anchor = ANCHORS[kind]
    return _node(kind, anchor.name, pose, anchor.width, anchor.height)


def cube_node(index: int, pose: TablePose) -> SceneNode:
    """A cube on the table as a node of a scene graph; its id is ``index`` after those of all anchors."""
    return _node(len(ANCHORS) + index, "cube", pose, CUBE_EDGE, CUBE_EDGE)


def _node(number: int, label: str, pose: TablePose, width: float, height: float) -> SceneNode:
    box = OrientedBox.upright([pose.x, pose.y, pose.z + height / 2], [width, width, height], pose.yaw)
    return SceneNode(id=number, label=label, box=box)
