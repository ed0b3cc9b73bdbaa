"""Executing a keyframe: a path for the hand, timed within the arm's limits, followed by the servos, then the gripper.

``ignore_collisions`` decides the path. With it the tool goes straight in Cartesian space, whatever is in the way; without it
the joints go straight where that is free of collisions, around obstacles otherwise. Motions fail by name, never by exception:
``"unreachable"`` (nothing moved) or ``"collision"`` (no free path, nothing moved; or the arm ran into something and stopped).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import ruckig
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.spatial.transform import Rotation

from vla3d.envs.tabletop.kinematics import follow_line, forward, ik_candidates, pose_error
from vla3d.envs.tabletop.planner import CollisionChecker, plan_path
from vla3d.envs.tabletop.robot import ACCELERATION_LIMIT, VELOCITY_LIMIT
from vla3d.envs.tabletop.simulation import Simulation
from vla3d.types import KeyframeAction

TICK_SECONDS = 0.1
BLOCKED_DISTANCE = 0.02
PRESSING_DISTANCE = 0.0005

_SPEED = 0.5
_ACCELERATION = 0.35
_JERK_SECONDS = 0.1
_SMOOTHING = 5
_LINE_SPEED = 0.30
_LINE_TURN_RATE = 2.0
_SETTLE_SECONDS = 0.06
_GRIPPER_SECONDS = 0.8
_GRIPPER_STILL = 0.002
_CHECK_STEPS = 10
_HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Joint commands at every time step: positions (radians) and velocities (rad/s)."""

    positions: Float[np.ndarray, "N 7"]
    velocities: Float[np.ndarray, "N 7"]


def time_path(waypoints: Float[np.ndarray, "W 7"], dt: float, min_duration: float = 0.0) -> Trajectory:
    """Time a smooth path from rest to rest, jerk-limited, within the arm's velocity and acceleration limits.

    The path is a cubic spline q(s) through the waypoints, where s is about the time that the slowest joint needs at its speed
    limit; one scalar motion s(t) (ruckig) runs through it. Its limits follow from the chain rule: q' = q_s s' and
    q'' = q_s s'' + q_ss s'^2, where a curved path gives each term half of the acceleration.

    Args:
        waypoints: joint angles; two make a straight joint motion.
        dt: time step of the commands, seconds.
        min_duration: lower bound on the cruising time, seconds (a bound on the tool's speed).
    """
    knots = _cruising_times(waypoints, min_duration)
    spline = CubicSpline(knots, waypoints)
    samples = np.linspace(0.0, knots[-1], 4 * len(waypoints) + 1)
    slope = np.abs(spline(samples, 1)).max(axis=0) + 1e-9
    bend = np.abs(spline(samples, 2)).max(axis=0) + 1e-9
    straight = bool(bend.max() < 1e-6)
    acceleration = _ACCELERATION * ACCELERATION_LIMIT * (1.0 if straight else 0.5)
    max_velocity = min(1.0, float((_SPEED * VELOCITY_LIMIT / slope).min()))
    if not straight:
        max_velocity = min(max_velocity, float(np.sqrt((acceleration / bend).min())))
    progress, rate = _rest_to_rest(float(knots[-1]), max_velocity, float((acceleration / slope).min()), dt)
    return Trajectory(positions=spline(progress), velocities=spline(progress, 1) * rate[:, None])


def _cruising_times(waypoints: Float[np.ndarray, "W 7"], min_duration: float) -> Float[np.ndarray, "W"]:
    """When each waypoint is passed at full speed, seconds; smoothed, since a jump in speed would be a bend of the path."""
    pieces = len(waypoints) - 1
    times = (np.abs(np.diff(waypoints, axis=0)) / (_SPEED * VELOCITY_LIMIT)).max(axis=1)
    times = np.maximum(times, max(min_duration, 1e-3) / pieces)
    times = uniform_filter1d(maximum_filter1d(times, _SMOOTHING, mode="nearest"), _SMOOTHING, mode="nearest")
    return np.concatenate([[0.0], np.cumsum(times)])


def _rest_to_rest(length: float, max_velocity: float, max_acceleration: float, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """The jerk-limited motion from 0 to ``length``: positions and velocities at the end of every step of ``dt``."""
    request = ruckig.InputParameter(1)
    request.current_position, request.target_position = [0.0], [length]
    request.max_velocity, request.max_acceleration = [max_velocity], [max_acceleration]
    request.max_jerk = [max_acceleration / _JERK_SECONDS]
    trajectory = ruckig.Trajectory(1)
    outcome = ruckig.Ruckig(1).calculate(request, trajectory)
    assert outcome in (ruckig.Result.Working, ruckig.Result.Finished), outcome
    steps = max(1, int(np.ceil(trajectory.duration / dt)))
    states = np.array([trajectory.at_time(min((k + 1) * dt, trajectory.duration))[:2] for k in range(steps)])
    return np.clip(states[:, 0, 0], 0.0, length), states[:, 1, 0]


def action_pose(action: KeyframeAction) -> Float[np.ndarray, "4 4"] | None:
    """``T_world_tcp`` of an action; None where its numbers are no pose (not finite, or a zero quaternion)."""
    position, quaternion = np.asarray(action.position, dtype=np.float64), np.asarray(action.quaternion, dtype=np.float64)
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()) or np.linalg.norm(quaternion) < 1e-6:
        return None
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
    pose[:3, 3] = position
    return pose


class MotionExecutor:
    """Executes keyframe actions on a simulation.

    Args:
        sim: the world. Its commands must be left to this executor while it is used.
        seed: seed of the planner; the same world, action and seed give the same motion.
    """

    def __init__(self, sim: Simulation, seed: int = 0) -> None:
        self.sim = sim
        self._seed = seed
        self._dt = float(sim.model.opt.timestep)
        self._tick_steps = round(TICK_SECONDS / self._dt)

    def execute(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> str | None:
        """Move the tool to the action's pose, then bring the gripper to its state.

        Args:
            action: the keyframe; the hand turned by half a turn about its z counts as the same pose.
            on_tick: called whenever the simulated time passes a multiple of 0.1 s.

        Returns:
            None when done; ``"unreachable"`` or ``"collision"`` otherwise, and then the gripper is not actuated.
        """
        target = action_pose(action)
        if target is None:
            return "unreachable"
        plan = self._line(target) if action.ignore_collisions else self._free_path(target)
        if isinstance(plan, str):
            return plan
        for trajectory in plan:
            if not self._follow(trajectory, on_tick):
                return "collision"
        self._actuate_gripper(action.gripper_open, on_tick)
        return None

    def wait(self, seconds: float, on_tick: Callable[[], None] | None = None) -> None:
        """Let time pass under the present commands."""
        self._advance(round(seconds / self._dt), on_tick)

    def _line(self, target: Float[np.ndarray, "4 4"]) -> list[Trajectory] | str:
        start = self.sim.joint_targets
        pose = forward(start)
        twists = [(goal, pose_error(goal[None], pose[None])[0]) for goal in (target, target @ _HALF_TURN)]
        for goal, twist in sorted(twists, key=lambda entry: float(np.linalg.norm(entry[1][3:]))):
            waypoints = follow_line(start, goal)
            if waypoints is not None:
                cruise = max(np.linalg.norm(twist[:3]) / _LINE_SPEED, np.linalg.norm(twist[3:]) / _LINE_TURN_RATE)
                return [time_path(waypoints, self._dt, float(cruise))]
        return "unreachable"

    def _free_path(self, target: Float[np.ndarray, "4 4"]) -> list[Trajectory] | str:
        start = self._start()
        checker = CollisionChecker(self.sim)
        for candidate in ik_candidates(target, start, self._seed):
            if checker.segment_is_free(start, candidate.q):
                return [time_path(np.stack([start, candidate.q]), self._dt)]
        # Nothing direct: now the restarts pay, which find postures further away, and the search for a way around.
        candidates = ik_candidates(target, start, self._seed, exhaustive=True)
        if not candidates:
            return "unreachable"
        path = plan_path(checker, start, [candidate.q for candidate in candidates], self._seed)
        if path is None:
            return "collision"
        return [time_path(path[i : i + 2], self._dt) for i in range(len(path) - 1)]

    def _start(self) -> Float[np.ndarray, "7"]:
        """Where a free path begins: as commanded; where the arm is, when it presses on something, so that it lets go first."""
        commanded = self.sim.joint_targets
        off = np.linalg.norm(self.sim.tcp_pose()[:3, 3] - forward(commanded)[:3, 3])
        return self.sim.arm_q if off > PRESSING_DISTANCE else commanded

    def _follow(self, trajectory: Trajectory, on_tick: Callable[[], None] | None) -> bool:
        """Run the servos along a trajectory; stop where the arm stands and return False once it is held up by something."""
        checks = forward(trajectory.positions[_CHECK_STEPS - 1 :: _CHECK_STEPS])[:, :3, 3]
        for index, (q, velocity) in enumerate(zip(trajectory.positions, trajectory.velocities, strict=True)):
            self.sim.set_joint_targets(q, velocity)
            self._advance(1, on_tick)
            if (index + 1) % _CHECK_STEPS == 0 and self._is_off(checks[index // _CHECK_STEPS]):
                return self._stop(on_tick)
        self.sim.set_joint_targets(trajectory.positions[-1])
        self._advance(round(_SETTLE_SECONDS / self._dt), on_tick)
        return not self._is_off(forward(trajectory.positions[-1])[:3, 3]) or self._stop(on_tick)

    def _is_off(self, commanded: Float[np.ndarray, "3"]) -> bool:
        return bool(np.linalg.norm(self.sim.tcp_pose()[:3, 3] - commanded) > BLOCKED_DISTANCE)

    def _stop(self, on_tick: Callable[[], None] | None) -> bool:
        # Twice: first it swings out, then it is held where it came to rest, so that it no longer presses on anything.
        for _ in range(2):
            self.sim.set_joint_targets(self.sim.arm_q)
            self._advance(self._tick_steps, on_tick)
        return False

    def _actuate_gripper(self, opened: bool, on_tick: Callable[[], None] | None) -> None:
        """Command the gripper and wait until the fingers have come to rest against something or at their stops."""
        if opened == self.sim.gripper_open:
            return
        self.sim.set_gripper(opened)
        still, pause = 0, round(0.02 / self._dt)
        for _ in range(round(_GRIPPER_SECONDS / (pause * self._dt))):
            self._advance(pause, on_tick)
            still = still + 1 if self.sim.finger_speed < _GRIPPER_STILL else 0
            if still >= 3:
                break

    def _advance(self, steps: int, on_tick: Callable[[], None] | None) -> None:
        if on_tick is None:
            self.sim.step(steps)
            return
        for _ in range(steps):
            self.sim.step()
            if self.sim.step_count % self._tick_steps == 0:
                on_tick()
