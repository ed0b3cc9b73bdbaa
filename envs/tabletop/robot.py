"""A Franka Panda with its published kinematics and limits, drawn with primitive geometry of our own.

Kinematics, joint limits, velocity, acceleration and torque limits: Franka Emika, "Robot and interface specifications" (FCI
documentation, Denavit-Hartenberg parameters after Craig's convention). Link masses: `franka_description`, rounded.
What is drawn is also what collides. The robot's base stands at the world origin, on the table top (z = 0).
"""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float

# Modified (Craig) parameters of joint i: x offset a and twist alpha of the link before it, distance d along its own axis.
DH_A = np.array([0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088])
DH_D = np.array([0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0])
DH_ALPHA = np.array([0.0, -0.5, 0.5, 0.5, -0.5, 0.5, 0.5]) * np.pi
FLANGE_OFFSET = 0.107
HAND_YAW = -np.pi / 4
TCP_OFFSET = 0.1034
PAD_HALF = 0.0105
"""Half the edge of a finger's pad, metres. The tool's origin is between the pads: the fingers reach so far beyond it."""

HAND_HALF = (0.028, 0.10, 0.030)
"""Half the extent of the hand without its fingers, along the tool's axes (the fingers open along y), metres."""
HAND_CENTER = 0.033
HAND_BOTTOM = TCP_OFFSET - HAND_CENTER - HAND_HALF[2]
"""How far above the tool the hand's body begins, metres."""

JOINT_LOW = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
JOINT_HIGH = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
VELOCITY_LIMIT = np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100])
ACCELERATION_LIMIT = np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0])
TORQUE_LIMIT = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
HOME_Q = np.array([0.0, -0.25, 0.0, -2.15, 0.0, 1.9, np.pi / 4])

FINGER_TRAVEL = 0.04
SERVO_STIFFNESS = np.array([4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0])
# A little above critical for each joint's largest inertia, so that disturbances die out within some 50 ms.
SERVO_DAMPING = np.array([250.0, 250.0, 180.0, 180.0, 60.0, 60.0, 60.0])

_WHITE = (0.90, 0.90, 0.88, 1.0)
_GREY = (0.62, 0.63, 0.65, 1.0)
_DARK = (0.17, 0.17, 0.19, 1.0)
_PAD = (0.30, 0.30, 0.32, 1.0)

# Each finger presses with half the drive's force. Closing aims past the closed position, so the force is full on anything
# thicker than nothing; the joint damping sets the closing speed (about 0.13 m/s a finger). Pad contact parameters have
# priority over those of whatever the pads touch.
GRIPPER_OPEN = FINGER_TRAVEL
GRIPPER_CLOSED = -0.01
_GRIP_FORCE = 80.0
_FINGER_DAMPING = 300.0
_FINGER_ROOT = 0.0584
_PAD_SOLREF = (0.01, 1.0)
_PAD_FRICTION = (1.0, 0.01, 0.0001)


@dataclass(frozen=True)
class PandaNames:
    """Names of the robot's parts in the compiled model."""

    links: tuple[str, ...] = tuple(f"panda_link{i}" for i in range(8))
    hand: str = "panda_hand"
    fingers: tuple[str, str] = ("panda_left_finger", "panda_right_finger")
    pads: tuple[str, str] = ("panda_left_pad", "panda_right_pad")
    arm_joints: tuple[str, ...] = tuple(f"panda_joint{i}" for i in range(1, 8))
    finger_joints: tuple[str, str] = ("panda_left_finger_joint", "panda_right_finger_joint")
    arm_actuators: tuple[str, ...] = tuple(f"panda_servo{i}" for i in range(1, 8))
    gripper_actuator: str = "panda_gripper"
    gripper_tendon: str = "panda_gripper_split"
    tcp_site: str = "tcp"

    @property
    def bodies(self) -> tuple[str, ...]:
        """Every body of the robot, the fixed base first."""
        return (*self.links, self.hand, *self.fingers)


PANDA = PandaNames()


def configure_physics(spec: mujoco.MjSpec) -> None:
    """Set the time step, integrator and friction cones under which grasps hold (elliptic cones, stiff friction)."""
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0


def add_panda(spec: mujoco.MjSpec) -> PandaNames:
    """Add the arm, hand and gripper at the world origin.

    Args:
        spec: the scene under construction. Its angles must be radians (`spec.compiler.degree = False` is set here).

    Returns:
        The names of bodies, joints, actuators and of the tool site ``"tcp"`` (z out of the fingers, y their opening axis).
    """
    spec.compiler.degree = False
    base = spec.worldbody.add_body(name=PANDA.links[0])
    _add_base(base)
    link = base
    for index in range(7):
        link = _add_link(link, index)
    hand = _add_hand(link)
    for side in (0, 1):
        _add_finger(hand, side)
    _add_servos(spec)
    _add_gripper_drive(spec)
    _exclude_neighbours(spec)
    return PANDA


def link_transform(a: float, alpha: float, d: float) -> Float[np.ndarray, "4 4"]:
    """Pose of a joint frame at angle zero in the frame of the joint before it (Craig's convention)."""
    sin, cos = np.sin(alpha), np.cos(alpha)
    transform = np.eye(4)
    transform[:3, :3] = [[1, 0, 0], [0, cos, -sin], [0, sin, cos]]
    transform[:3, 3] = [a, -d * sin, d * cos]
    return transform


def _capsule(body: Any, start: tuple[float, ...], end: tuple[float, ...], radius: float, mass: float, rgba: tuple) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*start, *end], size=[radius, 0, 0], mass=mass, rgba=rgba, condim=3
    )


def _cylinder(body: Any, start: tuple[float, ...], end: tuple[float, ...], radius: float, mass: float, rgba: tuple) -> None:
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, fromto=[*start, *end], size=[radius, 0, 0], mass=mass, rgba=rgba, condim=3
    )


def _add_base(base: Any) -> None:
    base.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=[-0.04, 0, 0.05], size=[0.10, 0.085, 0.05], mass=2.0, rgba=_WHITE)
    _cylinder(base, (0, 0, 0.05), (0, 0, 0.19), 0.07, 1.0, _WHITE)


def _add_link(parent: Any, index: int) -> Any:
    """Add joint ``index`` (from 0) and the link that it moves."""
    frame = link_transform(DH_A[index], DH_ALPHA[index], DH_D[index])
    quat = [np.cos(DH_ALPHA[index] / 2), np.sin(DH_ALPHA[index] / 2), 0, 0]
    body = parent.add_body(name=PANDA.links[index + 1], pos=frame[:3, 3], quat=quat, gravcomp=1)
    body.add_joint(
        name=PANDA.arm_joints[index],
        axis=[0, 0, 1],
        range=[JOINT_LOW[index], JOINT_HIGH[index]],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        armature=0.1,
        damping=[1.0, 0, 0],
    )
    _LINK_SHAPES[index](body)
    return body


def _shape_link1(body: Any) -> None:
    _cylinder(body, (0, 0, -0.142), (0, 0, -0.05), 0.065, 1.5, _WHITE)
    _capsule(body, (0, -0.05, 0), (0, 0.05, 0), 0.065, 2.0, _GREY)


def _shape_link2(body: Any) -> None:
    _capsule(body, (0, 0, 0), (0, -0.15, 0), 0.06, 2.0, _WHITE)


def _shape_link3(body: Any) -> None:
    _capsule(body, (0, 0, -0.12), (0.0825, 0, 0), 0.055, 1.8, _WHITE)
    _capsule(body, (0.0825, -0.045, 0), (0.0825, 0.045, 0), 0.06, 1.2, _GREY)


def _shape_link4(body: Any) -> None:
    _capsule(body, (0, 0, 0), (-0.0825, 0.12, 0), 0.052, 2.0, _WHITE)


def _shape_link5(body: Any) -> None:
    _capsule(body, (0, 0, -0.23), (0, 0.045, -0.08), 0.05, 1.6, _WHITE)
    _capsule(body, (0, 0, -0.045), (0, 0, 0.045), 0.052, 1.0, _GREY)


def _shape_link6(body: Any) -> None:
    _capsule(body, (0, 0, 0), (0.088, 0, 0), 0.048, 1.5, _WHITE)


def _shape_link7(body: Any) -> None:
    _cylinder(body, (0, 0, 0.04), (0, 0, FLANGE_OFFSET), 0.045, 0.7, _GREY)


_LINK_SHAPES = (_shape_link1, _shape_link2, _shape_link3, _shape_link4, _shape_link5, _shape_link6, _shape_link7)


def _add_hand(flange: Any) -> Any:
    quat = [np.cos(HAND_YAW / 2), 0, 0, np.sin(HAND_YAW / 2)]
    hand = flange.add_body(name=PANDA.hand, pos=[0, 0, FLANGE_OFFSET], quat=quat, gravcomp=1)
    hand.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0, 0, HAND_CENTER], size=HAND_HALF, mass=0.7, rgba=_DARK)
    hand.add_site(name=PANDA.tcp_site, pos=[0, 0, TCP_OFFSET], size=[0.004, 0, 0], group=4)
    return hand


def _add_finger(hand: Any, side: int) -> None:
    """Add a finger that slides along the hand's +y (left, 0) or -y (right, 1); at position 0 the pads meet at y = 0."""
    sign = 1.0 if side == 0 else -1.0
    finger = hand.add_body(name=PANDA.fingers[side], pos=[0, 0, _FINGER_ROOT], gravcomp=1)
    finger.add_joint(
        name=PANDA.finger_joints[side],
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, sign, 0],
        range=[0, FINGER_TRAVEL],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        armature=0.1,
        damping=[_FINGER_DAMPING, 0, 0],
    )
    finger.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0, sign * 0.0115, 0.026], size=[0.009, 0.0075, 0.028], mass=0.05, rgba=_DARK
    )
    finger.add_geom(
        name=PANDA.pads[side],
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0, sign * 0.0025, TCP_OFFSET - _FINGER_ROOT],
        size=[PAD_HALF, 0.0025, PAD_HALF],
        mass=0.01,
        rgba=_PAD,
        condim=4,
        priority=1,
        friction=_PAD_FRICTION,
        solref=_PAD_SOLREF,
    )


def _add_servos(spec: mujoco.MjSpec) -> None:
    for index, name in enumerate(PANDA.arm_actuators):
        servo = spec.add_actuator(
            name=name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            target=PANDA.arm_joints[index],
            forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
            forcerange=[-TORQUE_LIMIT[index], TORQUE_LIMIT[index]],
        )
        servo.set_to_position(kp=SERVO_STIFFNESS[index], kv=SERVO_DAMPING[index])


def _add_gripper_drive(spec: mujoco.MjSpec) -> None:
    """One command for both fingers: a tendon over both, and an equality that keeps them mirrored like the real rack."""
    tendon = spec.add_tendon(name=PANDA.gripper_tendon)
    for joint in PANDA.finger_joints:
        tendon.wrap_joint(joint, 0.5)
    drive = spec.add_actuator(
        name=PANDA.gripper_actuator,
        trntype=mujoco.mjtTrn.mjTRN_TENDON,
        target=PANDA.gripper_tendon,
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=[-_GRIP_FORCE, _GRIP_FORCE],
    )
    drive.set_to_position(kp=8000.0)
    spec.add_equality(
        name="panda_fingers_mirrored",
        type=mujoco.mjtEq.mjEQ_JOINT,
        name1=PANDA.finger_joints[0],
        name2=PANDA.finger_joints[1],
        data=[0, 1] + 10 * [0],
        solref=[0.005, 1.0],
        solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
    )


def _exclude_neighbours(spec: mujoco.MjSpec) -> None:
    """Leave out neighbours, which always touch. MuJoCo itself skips parent and child only where the parent can move."""
    links = PANDA.links
    pairs = [(links[0], links[1]), *((links[i], links[i + 2]) for i in range(6))]
    pairs += [(links[6], PANDA.hand), (links[5], links[7]), (links[7], PANDA.fingers[0]), (links[7], PANDA.fingers[1])]
    pairs.append(PANDA.fingers)  # the joint limits stop the fingers; a contact on top of that chatters
    for first, second in dict.fromkeys(pairs):
        spec.add_exclude(bodyname1=first, bodyname2=second)
