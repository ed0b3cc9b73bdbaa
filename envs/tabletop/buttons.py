"""Push buttons: a coloured cap on a spring that stays down once it was pressed. Sizes in metres, masses in kilograms."""

import mujoco

from vla3d.envs.tabletop.colors import BUTTON_COLLAR, BUTTON_PRESSED, COLORS
from vla3d.envs.tabletop.latches import add_latch

BUTTON_RADIUS = 0.032
BUTTON_TRAVEL = 0.012
BUTTON_PRESSED_TOP = 0.028
"""Height of the cap's top above the table once it is pressed; before, it is higher by ``BUTTON_TRAVEL``."""

_BASE_HEIGHT = 0.020
_CAP_RADIUS = 0.020
_CAP_HEIGHT = 0.024
_CAP_MASS = 0.05
_COLLAR_WALL = 0.001
BUTTON_WIDTH = 2 * (BUTTON_RADIUS + _COLLAR_WALL)
"""Edge of the square around a button, metres."""
# Tightened already when the cap is up, against a stiff stop: the cap stands firm there.
_SPRING = {"stiffness": [300.0], "springref": -0.005, "damping": [8.0]}
_STOP = {"solref_limit": [0.005, 1.0], "solimp_limit": [0.98, 0.999, 0.001, 0.5, 2.0]}
# Smooth, whatever touches it: a fingertip that pushes off sideways slides, where with the pads' friction it jams at times.
_SMOOTH = {"priority": 2, "friction": [0.15, 0.005, 0.0001]}


def cap_name(button: str) -> str:
    """A button's cap: the body that is painted, and its joint (0 is up, ``BUTTON_TRAVEL`` is down)."""
    return f"{button}/cap"


def add_button(spec: mujoco.MjSpec, name: str) -> None:
    """Add a button fixed to the table; its origin is the middle of its underside.

    A dark collar sinks with the cap and uncovers the white base: a pressed button looks pressed by its shape alone.
    """
    button = spec.worldbody.add_body(name=name)
    base = button.add_body(name=f"{name}/base")
    _add_cylinder(base, base.name, BUTTON_RADIUS, 0.0, _BASE_HEIGHT, rgba=[*BUTTON_PRESSED, 1])
    cap = button.add_body(name=cap_name(name), gravcomp=1)
    cap.add_joint(
        name=cap_name(name),
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, 0, -1],
        limited=True,
        range=[0, BUTTON_TRAVEL],
        **_SPRING,
        **_STOP,
    )
    top = BUTTON_PRESSED_TOP + BUTTON_TRAVEL
    painted = [*next(iter(COLORS.values())), 1]
    _add_cylinder(cap, cap_name(name), _CAP_RADIUS, top - _CAP_HEIGHT, top, rgba=painted, mass=_CAP_MASS, **_SMOOTH)
    collar = cap.add_body(name=f"{name}/collar")
    _add_cylinder(
        collar,
        f"{name}/collar",
        BUTTON_RADIUS + _COLLAR_WALL,
        0.0,
        _BASE_HEIGHT + _COLLAR_WALL,
        rgba=[*BUTTON_COLLAR, 1],
        mass=0.0,
        contype=0,
        conaffinity=0,
    )
    spec.add_exclude(bodyname1=base.name, bodyname2=cap_name(name))
    add_latch(spec, cap_name(name))


def _add_cylinder(body: mujoco.MjsBody, name: str, radius: float, bottom: float, top: float, **settings: object) -> None:
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[0, 0, (bottom + top) / 2],
        size=[radius, (top - bottom) / 2, 0],
        **settings,
    )
