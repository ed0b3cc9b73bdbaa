"""Forward and inverse kinematics of the Panda from its published parameters, batched over configurations (NumPy).

Inverse kinematics is damped least squares (Levenberg-Marquardt on the pose error; Wampler 1986, Nakamura and Hanafusa 1986)
with joint limits by clipping, started at the present configuration and, where that fails, at random ones in one batch.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from vla3d.envs.tabletop.robot import (
    DH_A,
    DH_ALPHA,
    DH_D,
    FLANGE_OFFSET,
    HAND_YAW,
    HOME_Q,
    JOINT_HIGH,
    JOINT_LOW,
    TCP_OFFSET,
    link_transform,
)

POSITION_TOLERANCE = 0.001
ROTATION_TOLERANCE = 0.01
LIMIT_MARGIN = 0.02

_FIXED = np.stack([link_transform(a, alpha, d) for a, alpha, d in zip(DH_A, DH_ALPHA, DH_D, strict=True)])
_LOW, _HIGH = JOINT_LOW + LIMIT_MARGIN, JOINT_HIGH - LIMIT_MARGIN
_ITERATIONS = 40
_RESTARTS = 16
_COMFORTABLE_ROOM = 0.4
_MAX_STEP = 0.5
_DAMPING = 1e-6
_DAMPING_PER_ERROR = 0.02
# Solutions are polished well below the accepted tolerance: the last Newton step is nearly free and keeps paths smooth.
_POLISH = 1e-5


def _tool_in_last_link() -> Float[np.ndarray, "4 4"]:
    tool = np.eye(4)
    sin, cos = np.sin(HAND_YAW), np.cos(HAND_YAW)
    tool[:2, :2] = [[cos, -sin], [sin, cos]]
    tool[2, 3] = FLANGE_OFFSET + TCP_OFFSET
    return tool


_TOOL = _tool_in_last_link()
_HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class IkSolution:
    """A configuration that reaches a pose.

    Attributes:
        q: joint angles, radians, inside the limits.
        position_error: metres.
        rotation_error: radians.
        flipped: whether the hand is turned by half a turn about its own z (the parallel gripper is symmetric under it).
    """

    q: Float[np.ndarray, "7"]
    position_error: float
    rotation_error: float
    flipped: bool


def joint_frames(q: Float[np.ndarray, "B 7"]) -> Float[np.ndarray, "B 7 4 4"]:
    """Pose of each joint's frame in the world; the joint turns about the frame's z."""
    sin, cos = np.sin(q), np.cos(q)
    local = np.empty((*q.shape, 4, 4))
    # fixed @ Rz(q), written out: the first two columns rotate into each other.
    local[..., 0] = cos[..., None] * _FIXED[:, :, 0] + sin[..., None] * _FIXED[:, :, 1]
    local[..., 1] = cos[..., None] * _FIXED[:, :, 1] - sin[..., None] * _FIXED[:, :, 0]
    local[..., 2:] = _FIXED[:, :, 2:]
    for joint in range(1, 7):
        local[:, joint] = local[:, joint - 1] @ local[:, joint]
    return local


def forward(q: Float[np.ndarray, "*B 7"]) -> Float[np.ndarray, "*B 4 4"]:
    """``T_world_tcp`` at joint angles ``q`` (radians)."""
    q = np.asarray(q, dtype=np.float64)
    return (joint_frames(q.reshape(-1, 7))[:, -1] @ _TOOL).reshape(*q.shape[:-1], 4, 4)


def pose_error(target: Float[np.ndarray, "B 4 4"], pose: Float[np.ndarray, "B 4 4"]) -> Float[np.ndarray, "B 6"]:
    """Twist from ``pose`` to ``target`` in world axes: translation (metres), then rotation vector (radians)."""
    error = np.empty((len(pose), 6))
    error[:, :3] = target[:, :3, 3] - pose[:, :3, 3]
    relative = target[:, :3, :3] @ pose[:, :3, :3].transpose(0, 2, 1)
    axis = np.stack(
        [relative[:, 2, 1] - relative[:, 1, 2], relative[:, 0, 2] - relative[:, 2, 0], relative[:, 1, 0] - relative[:, 0, 1]],
        axis=1,
    )
    double_sin = np.sqrt((axis * axis).sum(axis=1))
    angle = np.arctan2(double_sin, relative[:, 0, 0] + relative[:, 1, 1] + relative[:, 2, 2] - 1.0)
    error[:, 3:] = axis * np.where(double_sin > 1e-6, angle / np.maximum(double_sin, 1e-6), 0.5)[:, None]
    for opposite in np.flatnonzero((double_sin <= 1e-6) & (angle > 1.0)):
        # Half a turn: the antisymmetric part vanishes, but every column of R + I is then along the axis.
        columns = relative[opposite] + np.eye(3)
        column = columns[:, np.argmax(np.linalg.norm(columns, axis=0))]
        error[opposite, 3:] = np.pi * column / np.linalg.norm(column)
    return error


def jacobian(frames: Float[np.ndarray, "B 7 4 4"], tcp: Float[np.ndarray, "B 4 4"]) -> Float[np.ndarray, "B 6 7"]:
    """Geometric Jacobian of the tool centre point in world axes, linear rows first."""
    axes = frames[:, :, :3, 2]
    arms = tcp[:, None, :3, 3] - frames[:, :, :3, 3]
    result = np.empty((len(frames), 6, 7))
    result[:, 0] = axes[..., 1] * arms[..., 2] - axes[..., 2] * arms[..., 1]
    result[:, 1] = axes[..., 2] * arms[..., 0] - axes[..., 0] * arms[..., 2]
    result[:, 2] = axes[..., 0] * arms[..., 1] - axes[..., 1] * arms[..., 0]
    result[:, 3:] = axes.transpose(0, 2, 1)
    return result


def refine(
    targets: Float[np.ndarray, "B 4 4"], starts: Float[np.ndarray, "B 7"], iterations: int = _ITERATIONS
) -> tuple[Float[np.ndarray, "B 7"], Float[np.ndarray, "B 2"], Bool[np.ndarray, "B"]]:
    """Damped least squares from each start towards its target.

    Returns:
        Configurations inside the limits, their errors (metres, radians), and which of them are within the tolerances.
    """
    q = np.clip(starts, _LOW, _HIGH)
    errors = np.full((len(q), 2), np.inf)
    for _ in range(iterations + 1):
        frames = joint_frames(q)
        tcp = frames[:, -1] @ _TOOL
        twist = pose_error(targets, tcp)
        squared = twist * twist
        errors = np.sqrt(np.stack([squared[:, :3].sum(axis=1), squared[:, 3:].sum(axis=1)], axis=1))
        if (errors < _POLISH).all():
            break
        damping = _DAMPING + _DAMPING_PER_ERROR * np.minimum(squared.sum(axis=1), 1.0)
        delta = _damped_step(q, jacobian(frames, tcp), twist, damping)
        scale = np.minimum(1.0, _MAX_STEP / np.maximum(np.abs(delta).max(axis=1), 1e-12))
        q = np.clip(q + delta * scale[:, None], _LOW, _HIGH)
    within = (errors[:, 0] <= POSITION_TOLERANCE) & (errors[:, 1] <= ROTATION_TOLERANCE)
    return q, errors, within


def _damped_step(q: np.ndarray, j: np.ndarray, twist: np.ndarray, damping: np.ndarray) -> Float[np.ndarray, "B 7"]:
    """Solve for joint steps; joints that would be pushed out of their limits are left out and the rest solved again."""
    ridge = damping[:, None, None] * np.eye(6)
    for _ in range(2):
        transposed = j.transpose(0, 2, 1)
        delta = (transposed @ np.linalg.solve(j @ transposed + ridge, twist[..., None]))[..., 0]
        blocked = ((q <= _LOW) & (delta < 0)) | ((q >= _HIGH) & (delta > 0))
        if not blocked.any():
            break
        j = np.where(blocked[:, None, :], 0.0, j)
    return delta


def ik_candidates(
    T_world_tcp: Float[np.ndarray, "4 4"],
    q_start: Float[np.ndarray, "7"],
    rng_seed: int = 0,
    *,
    symmetric: bool = True,
    exhaustive: bool = False,
) -> list[IkSolution]:
    """Configurations that reach a pose, those nearest to ``q_start`` first.

    Args:
        T_world_tcp: the pose (metres).
        q_start: the present configuration, radians.
        rng_seed: seed of the restarts; the same arguments give the same answer.
        symmetric: also accept the hand turned by half a turn about its z axis, which is the same grasp.
        exhaustive: use the random restarts even when the start itself already leads to a solution.
    """
    turns = (False, True) if symmetric else (False,)
    poses = [T_world_tcp @ _HALF_TURN if turned else T_world_tcp for turned in turns]
    found = _solutions(poses, turns, np.stack([q_start, HOME_Q]))
    if exhaustive or not found:
        rng = np.random.default_rng(rng_seed)
        starts = HOME_Q + rng.normal(0.0, 0.8, (_RESTARTS, 7))
        found += _solutions(poses, turns, starts)
    found.sort(key=lambda solution: _cost(solution.q, q_start))
    distinct: list[IkSolution] = []
    for solution in found:
        if all(np.abs(solution.q - other.q).max() > 0.05 for other in distinct):
            distinct.append(solution)
    return distinct


def _solutions(poses: list[np.ndarray], turns: tuple[bool, ...], starts: Float[np.ndarray, "S 7"]) -> list[IkSolution]:
    """Every pose from every start, in one batch; those that converged."""
    q, errors, within = refine(np.repeat(np.stack(poses), len(starts), axis=0), np.tile(starts, (len(poses), 1)))
    turned = np.repeat(turns, len(starts))
    return [
        IkSolution(q=q[i], position_error=float(errors[i, 0]), rotation_error=float(errors[i, 1]), flipped=bool(turned[i]))
        for i in np.flatnonzero(within)
    ]


def _cost(q: Float[np.ndarray, "7"], q_start: Float[np.ndarray, "7"]) -> float:
    """Distance in joint space, and up to a radian more for each joint that has little room left for the next motion."""
    room = np.minimum(q - JOINT_LOW, JOINT_HIGH - q)
    return float(np.linalg.norm(q - q_start) + np.maximum(0.0, 1.0 - room / _COMFORTABLE_ROOM).sum())


def solve_ik(
    T_world_tcp: Float[np.ndarray, "4 4"], q_start: Float[np.ndarray, "7"], rng_seed: int = 0, *, symmetric: bool = True
) -> IkSolution | None:
    """The configuration nearest to ``q_start`` found for a pose, or None where none is.

    It is within 1 mm and 0.01 rad of the pose and inside the joint limits. See `ik_candidates` for the arguments.
    """
    candidates = ik_candidates(T_world_tcp, q_start, rng_seed, symmetric=symmetric)
    return candidates[0] if candidates else None


def interpolate_poses(
    start: Float[np.ndarray, "4 4"], goal: Float[np.ndarray, "4 4"], fractions: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N 4 4"]:
    """Poses on the straight line between two: position linear, orientation along the shortest rotation (slerp)."""
    rotation = Rotation.from_matrix(start[:3, :3])
    turn = (Rotation.from_matrix(goal[:3, :3]) * rotation.inv()).as_rotvec()
    poses = np.tile(np.eye(4), (len(fractions), 1, 1))
    poses[:, :3, :3] = (Rotation.from_rotvec(fractions[:, None] * turn) * rotation).as_matrix()
    poses[:, :3, 3] = start[:3, 3] + fractions[:, None] * (goal[:3, 3] - start[:3, 3])
    return poses


def follow_line(
    q_start: Float[np.ndarray, "7"],
    T_world_goal: Float[np.ndarray, "4 4"],
    *,
    spacing: float = 0.005,
    angular_spacing: float = 0.03,
    max_joint_step: float = 0.15,
) -> Float[np.ndarray, "N 7"] | None:
    """Joint waypoints that move the tool on a straight line from where it is to a pose.

    Args:
        q_start: first waypoint, radians.
        T_world_goal: pose of the tool at the end.
        spacing: largest distance between waypoints, metres.
        angular_spacing: largest rotation between waypoints, radians.
        max_joint_step: largest change of a joint between waypoints that still counts as continuous, radians.

    Returns:
        The waypoints, the first at ``q_start``; None where a joint limit or a singularity interrupts the line.
    """
    start = forward(q_start)
    twist = pose_error(T_world_goal[None], start[None])[0]
    pieces = max(np.linalg.norm(twist[:3]) / spacing, np.linalg.norm(twist[3:]) / angular_spacing)
    poses = interpolate_poses(start, T_world_goal, np.linspace(0.0, 1.0, max(2, int(np.ceil(pieces)) + 1)))
    waypoints = [np.asarray(q_start, dtype=np.float64)]
    for pose in poses[1:]:
        q, _, within = refine(pose[None], waypoints[-1][None], iterations=12)
        if not within[0] or np.abs(q[0] - waypoints[-1]).max() > max_joint_step:
            return None
        waypoints.append(q[0])
    return np.stack(waypoints)
