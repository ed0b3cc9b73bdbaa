"""The true scene as nodes of a scene graph: what the simulator knows about every instance, the table and the gripper."""

import mujoco
import numpy as np
from jaxtyping import Int

from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.objects import DRAWER_TRAVEL, HANDLE_CLEARANCE, HANDLE_RADIUS
from vla3d.envs.tabletop.scene import TABLE_CENTER, TABLE_SIZE, TABLE_THICKNESS
from vla3d.envs.tabletop.world import BACKGROUND_ID, FIRST_OBJECT_ID, ROBOT_ID, World
from vla3d.scene_graphs.building.articulation import Slide
from vla3d.scene_graphs.building.gripper import GripperReading, gripper_node
from vla3d.scene_graphs.building.labels import InstanceLabel, labels_of_names
from vla3d.scene_graphs.building.surfaces import TABLE_LABEL
from vla3d.scene_graphs.colors import color_name, lab
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import OrientedBox, matrix_to_quaternion

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
SLIDES = {"drawer": Slide(closed=HANDLE_CLEARANCE + HANDLE_RADIUS, travel=DRAWER_TRAVEL)}
"""How the parts of the furniture slide, for builders that only see it."""

_UPRIGHT = 0.9999
_LEAST_HEIGHT = 0.001

PRESSED = "pressed"
"""State of a button that was pushed in."""


def scene_nodes(env: TabletopEnv) -> tuple[SceneNode, ...]:
    """Every instance of the running episode as it is now, with the ids of ``env.instance_names``; none for what is put away.

    The table has the background's id and the gripper the robot's. An object's box is aligned with its body's frame and holds
    all its geoms; its colour is that of its most colourful geom.
    """
    world = env.world
    names = {number: name for number, name in world.instance_names.items() if number >= FIRST_OBJECT_ID}
    here = {number: label for number, label in labels_of_names(names).items() if names[number] not in world.away}
    nodes = [_node(world, number, names[number], label) for number, label in here.items()]
    return (_table(), _gripper(world), *nodes)


def _table() -> SceneNode:
    center = [*TABLE_CENTER, -TABLE_THICKNESS / 2]
    box = OrientedBox.upright(center, [*TABLE_SIZE, TABLE_THICKNESS])
    return SceneNode(id=BACKGROUND_ID, label=TABLE_LABEL, kind="surface", box=box)


def _gripper(world: World) -> SceneNode:
    sim = world.sim
    reading = GripperReading(
        position=sim.tcp_pose()[:3, 3],
        quaternion=sim.tcp_quaternion(),
        width=sim.gripper_width,
        closing=not sim.gripper_open,
        holding=world.held() is not None,
    )
    return gripper_node(reading, ROBOT_ID)


def _node(world: World, number: int, body: str, label: InstanceLabel) -> SceneNode:
    geoms = np.flatnonzero(world.geom_instances == number)
    colors = world.model.geom_rgba[geoms, :3].astype(np.float64)
    rgb = colors[np.hypot(*lab(colors)[:, 1:].T).argmax()]
    return SceneNode(
        id=number,
        label=label.label,
        kind=label.kind,
        part_of=label.part_of,
        box=_box(world, body, geoms),
        color=color_name(rgb),
        rgb=rgb,
        opening=_opening(world, body),
        states=(PRESSED,) if any(joint.startswith(f"{body}/") for joint in world.latched()) else (),
    )


def _box(world: World, body: str, geoms: Int[np.ndarray, "G"]) -> OrientedBox:
    model, data = world.model, world.sim.data
    turn, origin = world.rotation(body), world.position(body)
    corners = []
    for geom in geoms:
        center, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        local = center + _CORNERS * half
        corners.append(data.geom_xpos[geom] + local @ data.geom_xmat[geom].reshape(3, 3).T)
    local = (np.concatenate(corners) - origin) @ turn
    low, high = local.min(axis=0), local.max(axis=0)
    if turn[2, 2] > _UPRIGHT:  # a pressed button's collar sinks into the table, where it is no part of the scene
        low[2] = min(max(low[2], -origin[2]), high[2] - _LEAST_HEIGHT)
    return OrientedBox(center=origin + turn @ ((low + high) / 2), size=high - low, quaternion=matrix_to_quaternion(turn))


def _opening(world: World, body: str) -> float | None:
    """How far a body is along the sliding joint that is named like it; None where it has none."""
    model = world.model
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, body)
    if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_SLIDE:
        return None
    low, high = model.jnt_range[joint]
    position = float(world.sim.data.qpos[model.jnt_qposadr[joint]])
    return float(np.clip((position - low) / (high - low), 0.0, 1.0))
