"""What is on the table: cubes, an open box, a round block, flat targets, a cabinet with drawers. Metres and kilograms."""

from collections.abc import Sequence

import mujoco
import numpy as np

from vla3d.envs.tabletop.colors import CABINET, COLORS, Rgb

CUBE_EDGE = 0.04
CUBE_MASS = 0.05

BALL_RADIUS = 0.025

BOX_INNER = 0.14
BOX_WALL = 0.006
BOX_RIM = 0.05
BOX_OUTER = BOX_INNER + 2 * BOX_WALL
BOX_MASS = 0.5

ROUND_BLOCK_RADIUS = 0.055
ROUND_BLOCK_HEIGHT = 0.04
ROUND_BLOCK_MASS = 0.2

TARGET_EDGE = 0.12
# Higher than what policies crop away together with the table's surface, also where a suite makes it smaller.
TARGET_THICKNESS = 0.008

NUM_DRAWERS = 3
DRAWER_PITCH = 0.10
DRAWER_TRAVEL = 0.15
DRAWER_LENGTH = DRAWER_TRAVEL + 0.02
DRAWER_WALL = 0.006
DRAWER_RIM = 0.064
CABINET_WIDTH = NUM_DRAWERS * DRAWER_PITCH + 0.02
CABINET_DEPTH = 0.19
CABINET_HEIGHT = 0.12
HANDLE_CLEARANCE = 0.06
HANDLE_RADIUS = 0.011
HANDLE_TOP = 0.14
HANDLE_GRASP_HEIGHT = 0.118
DRAWER_MASS = 0.4

_DRAWER_HALF = DRAWER_PITCH / 2 - 0.003
_UNPAINTED: Rgb = next(iter(COLORS.values()))

# Contact softness of the design's contract: stiff enough that a held cube does not creep out of the fingers.
_GRASPABLE = {"condim": 4, "solref": [0.01, 1.0], "friction": [1.0, 0.01, 0.0001]}
# Smooth wood; the priority makes it count on the table, too. Fingers that sink a little press what they push onto the table:
# were the product of the friction at the fingers and on the table 1 or more, that would wedge it fast.
_SLIDING = {**_GRASPABLE, "friction": [0.25, 0.01, 0.0001], "priority": 1}


def add_cube(spec: mujoco.MjSpec, name: str) -> None:
    """Add a free cube whose origin is its centre."""
    body = spec.worldbody.add_body(name=name, pos=[0, 0, CUBE_EDGE / 2])
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[CUBE_EDGE / 2] * 3,
        mass=CUBE_MASS,
        rgba=[*_UNPAINTED, 1],
        **_GRASPABLE,
    )


def add_marker_ball(spec: mujoco.MjSpec, name: str) -> None:
    """Add a ball fixed in the room that nothing touches: a place to go to. Its origin is its centre."""
    body = spec.worldbody.add_body(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[BALL_RADIUS, 0, 0],
        rgba=[*_UNPAINTED, 1],
        contype=0,
        conaffinity=0,
    )


def add_open_box(spec: mujoco.MjSpec, name: str) -> None:
    """Add a free open box whose origin is the middle of its underside."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    half, wall, rim = BOX_INNER / 2, BOX_WALL / 2, BOX_RIM / 2
    parts = {
        "floor": ([0, 0, wall], [half + BOX_WALL, half + BOX_WALL, wall]),
        "front": ([half + wall, 0, rim], [wall, half + BOX_WALL, rim]),
        "back": ([-half - wall, 0, rim], [wall, half + BOX_WALL, rim]),
        "left": ([0, half + wall, rim], [half, wall, rim]),
        "right": ([0, -half - wall, rim], [half, wall, rim]),
    }
    for part, (position, size) in parts.items():
        _add_box(body, f"{name}/{part}", position, size, mass=BOX_MASS / len(parts), rgb=_UNPAINTED, **_GRASPABLE)


def inside_open_box(point: Sequence[float] | np.ndarray, margin: float = 0.0) -> bool:
    """Whether a point of the box's frame is between its walls, at least ``margin`` metres from them, and below the rim."""
    x, y, z = point
    half = BOX_INNER / 2 - margin
    return bool(abs(x) <= half and abs(y) <= half and 0.0 <= z <= BOX_RIM)


def add_round_block(spec: mujoco.MjSpec, name: str) -> None:
    """Add a free round block whose origin is its centre.

    It is wider than the hand opens, also at 0.8 of its size, so it cannot be picked up; and it meets two fingers alike from
    every side, so a straight push takes it anywhere.
    """
    body = spec.worldbody.add_body(name=name, pos=[0, 0, ROUND_BLOCK_HEIGHT / 2])
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[ROUND_BLOCK_RADIUS, ROUND_BLOCK_HEIGHT / 2, 0],
        mass=ROUND_BLOCK_MASS,
        rgba=[*_UNPAINTED, 1],
        **_SLIDING,
    )


def add_target(spec: mujoco.MjSpec, name: str) -> None:
    """Add a coloured square that lies on the table and touches nothing; its origin is in the middle of its underside."""
    body = spec.worldbody.add_body(name=name)
    half, thickness = TARGET_EDGE / 2, TARGET_THICKNESS / 2
    _add_box(body, name, [0, 0, thickness], [half, half, thickness], rgb=_UNPAINTED, contype=0, conaffinity=0)


def drawer_names(name: str) -> tuple[str, ...]:
    """Bodies of a cabinet's drawers, from the right (-y of the cabinet) to the left."""
    return tuple(f"{name}/drawer_{index}" for index in range(NUM_DRAWERS))


def add_cabinet(spec: mujoco.MjSpec, name: str) -> None:
    """Add a cabinet fixed to the table; its drawers open along its own -x.

    The origin is on the table, in the middle of the front face. Drawer joints are named like their bodies; 0 is shut and
    ``DRAWER_TRAVEL`` is fully open. The case is open below, so the drawers touch nothing of it.
    """
    case = spec.worldbody.add_body(name=name)
    wall, depth, height = 0.005, CABINET_DEPTH / 2, CABINET_HEIGHT / 2
    half = CABINET_WIDTH / 2
    _add_box(case, f"{name}/lid", [depth, 0, CABINET_HEIGHT - wall], [depth, half, wall], rgb=CABINET)
    _add_box(case, f"{name}/back", [CABINET_DEPTH - wall, 0, height - wall], [wall, half, height - wall], rgb=CABINET)
    for side, sign in (("left", 1), ("right", -1)):
        position = [depth - wall, sign * (half - wall), height - wall]
        _add_box(case, f"{name}/{side}", position, [depth - wall, wall, height - wall], rgb=CABINET)
    for index, drawer in enumerate(drawer_names(name)):
        _add_drawer(case, drawer, lateral=(index - (NUM_DRAWERS - 1) / 2) * DRAWER_PITCH)
    bodies = [name, *drawer_names(name)]
    for first, body1 in enumerate(bodies):
        for body2 in bodies[first + 1 :]:
            spec.add_exclude(bodyname1=body1, bodyname2=body2)


def handle_position(opening: float = 0.0) -> tuple[float, float, float]:
    """Where the fingers grip, in the frame of a drawer's body (which moves with the drawer).

    Args:
        opening: extra distance along the opening direction, metres.
    """
    return (-HANDLE_CLEARANCE - opening, 0.0, HANDLE_GRASP_HEIGHT)


def inside_drawer(point: Sequence[float] | np.ndarray) -> bool:
    """Whether a point of a drawer's frame is between its walls, over its floor and below the rim of its sides."""
    x, y, z = point
    return bool(0.0 <= x <= DRAWER_LENGTH and abs(y) <= _DRAWER_HALF - DRAWER_WALL and 0.0 <= z <= DRAWER_RIM)


def _add_drawer(case: mujoco.MjsBody, name: str, lateral: float) -> None:
    body = case.add_body(name=name, pos=[0, lateral, 0])
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[-1, 0, 0],
        limited=True,
        range=[0, DRAWER_TRAVEL],
        # Friction so that a drawer stays where it is left; damping so that it does not coast.
        damping=[8.0],
        frictionloss=1.0,
    )
    half, bottom, top = _DRAWER_HALF, 0.006, CABINET_HEIGHT - 0.014
    front = 0.005
    middle = (bottom + top) / 2
    mass = DRAWER_MASS / 6
    _add_box(body, f"{name}/front", [-front, 0, middle], [front, half, top - middle], mass=mass, rgb=_UNPAINTED)
    reach, thick = DRAWER_LENGTH / 2, DRAWER_WALL / 2
    _add_box(body, f"{name}/floor", [reach, 0, bottom + thick], [reach, half, thick], mass=mass, rgb=_UNPAINTED)
    for side, sign in (("left", 1), ("right", -1)):
        position = [reach, sign * (half - thick), (bottom + DRAWER_RIM) / 2]
        _add_box(body, f"{name}/{side}", position, [reach, thick, (DRAWER_RIM - bottom) / 2], mass=mass, rgb=_UNPAINTED)
    bar_height, bar = 0.035, 0.008
    length = (HANDLE_CLEARANCE - 2 * front) / 2
    _add_box(body, f"{name}/bar", [-2 * front - length, 0, bar_height], [length, bar, bar], mass=mass, rgb=_UNPAINTED)
    body.add_geom(
        name=f"{name}/handle",
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[-HANDLE_CLEARANCE, 0, bar_height, -HANDLE_CLEARANCE, 0, HANDLE_TOP - HANDLE_RADIUS],
        size=[HANDLE_RADIUS, 0, 0],
        mass=mass,
        rgba=[*_UNPAINTED, 1],
        **_GRASPABLE,
    )


def _add_box(
    body: mujoco.MjsBody,
    name: str,
    position: Sequence[float],
    size: Sequence[float],
    *,
    rgb: Rgb,
    mass: float = 0.1,
    **contact: object,
) -> None:
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=position, size=size, mass=mass, rgba=[*rgb, 1], **contact)
