"""Collision-free joint paths: a checker on MuJoCo's collision detection, and RRT-Connect (Kuffner and LaValle 2000)."""

import copy
from collections.abc import Callable, Sequence

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.kinematics import LIMIT_MARGIN
from vla3d.envs.tabletop.robot import JOINT_HIGH, JOINT_LOW, PANDA
from vla3d.envs.tabletop.simulation import Simulation

# Between two checked configurations no point of the arm sweeps more than twice the clearance, so nothing is passed through.
CLEARANCE = 0.005
_SWEEP = 2 * CLEARANCE
# Farthest point of the arm from each joint's axis, metres (the arm stretched out).
_REACH = np.array([1.0, 1.0, 0.72, 0.72, 0.36, 0.36, 0.14])
# Pairs this near at the start need no clearance later: they may touch, but not press deeper than they do now.
_START_MARGIN = 0.02
_START_SLACK = 0.001
_STRIDE = 0.2
# Enough for every scene tried, also contrived ones; an impossible motion is given up within some four seconds.
_MAX_SAMPLES = 3000
_SHORTCUTS = 80


class CollisionChecker:
    """Tells whether the arm, and what it holds, are clear of everything else at a joint configuration.

    It works on copies, so the running simulation is never touched. Everything but the arm and the held body stays where it
    is now. "Clear" means `CLEARANCE` metres of room. Pairs that are near each other at the start need none: they may touch, but
    not press deeper than they do at the start.

    Args:
        sim: the world as it is now.
    """

    def __init__(self, sim: Simulation) -> None:
        self._model = copy.copy(sim.model)
        self._data = mujoco.MjData(self._model)
        self._data.qpos[:] = sim.data.qpos
        self._data.mocap_pos[:], self._data.mocap_quat[:] = sim.data.mocap_pos, sim.data.mocap_quat
        self._arm = np.array([self._model.joint(name).qposadr[0] for name in PANDA.arm_joints])
        self._hand = self._model.body(PANDA.hand).id
        robot = [self._model.body(name).id for name in PANDA.bodies[1:]]
        self._held = self._attach(sim.held_body())
        held = [] if self._held is None else [self._held]
        moving = np.isin(self._model.geom_bodyid, robot + held)
        grasping = [self._hand, *(self._model.body(name).id for name in PANDA.fingers)]
        # Lists, not arrays: they are read one element at a time, for every contact of every checked configuration.
        self._moves: list[bool] = moving.tolist()
        self._grasps: list[bool] = np.isin(self._model.geom_bodyid, grasping).tolist()
        self._is_held: list[bool] = np.isin(self._model.geom_bodyid, held).tolist()
        self._model.geom_margin[moving] = _START_MARGIN
        start = self.near_pairs(sim.arm_q)
        self._allowed = {pair: min(distance, 0.0) - _START_SLACK for pair, distance in start.items()}
        self._model.geom_margin[moving] = CLEARANCE

    def _attach(self, body: int | None) -> int | None:
        """Remember where a held free body sits in the hand; anything else that is touched stays an obstacle."""
        if body is None or self._model.body_dofnum[body] != 6:
            return None
        mujoco.mj_kinematics(self._model, self._data)
        inverse_position, inverse_quat = np.empty(3), np.empty(4)
        mujoco.mju_negPose(inverse_position, inverse_quat, self._data.xpos[self._hand], self._data.xquat[self._hand])
        self._grip_position, self._grip_quat = np.empty(3), np.empty(4)
        mujoco.mju_mulPose(
            self._grip_position,
            self._grip_quat,
            inverse_position,
            inverse_quat,
            self._data.xpos[body],
            self._data.xquat[body],
        )
        self._held_address = self._model.jnt_qposadr[self._model.body_jntadr[body]]
        return body

    def near_pairs(self, q: Float[np.ndarray, "7"]) -> dict[tuple[int, int], float]:
        """Geom pairs with a moving part that are nearer than the clearance at ``q``, and their signed distances (metres)."""
        data = self._data
        data.qpos[self._arm] = q
        mujoco.mj_kinematics(self._model, data)
        if self._held is not None:
            start = self._held_address
            position, quat = data.qpos[start : start + 3], data.qpos[start + 3 : start + 7]
            hand_position, hand_quat = data.xpos[self._hand], data.xquat[self._hand]
            mujoco.mju_mulPose(position, quat, hand_position, hand_quat, self._grip_position, self._grip_quat)
            mujoco.mj_kinematics(self._model, data)
        mujoco.mj_collision(self._model, data)
        result: dict[tuple[int, int], float] = {}
        for (first, second), distance in zip(data.contact.geom.tolist(), data.contact.dist.tolist(), strict=True):
            if self._matters(first, second):
                result[first, second] = min(distance, result.get((first, second), np.inf))
        return result

    def _matters(self, first: int, second: int) -> bool:
        if not (self._moves[first] or self._moves[second]):
            return False
        held, grasps = self._is_held, self._grasps
        return not ((held[first] and grasps[second]) or (held[second] and grasps[first]))

    def is_free(self, q: Float[np.ndarray, "7"]) -> bool:
        """Whether nothing comes too near at joint angles ``q`` (radians)."""
        return all(distance >= self._allowed.get(pair, np.inf) for pair, distance in self.near_pairs(q).items())

    def segment_is_free(self, start: Float[np.ndarray, "7"], end: Float[np.ndarray, "7"]) -> bool:
        """Whether the straight joint motion is free, its start left out."""
        offset = end - start
        pieces = max(1, int(np.ceil(np.abs(offset) @ _REACH / _SWEEP)))
        # Every eighth sample first: most collisions are found with few checks.
        order = sorted(range(1, pieces + 1), key=lambda k: (k % 8 != 0, k))
        return all(self.is_free(start + offset * (k / pieces)) for k in order)


class _Tree:
    """Configurations and the parent of each."""

    def __init__(self, roots: Sequence[np.ndarray]) -> None:
        self.parents = [-1] * len(roots)
        self._nodes = np.empty((256, 7))
        self._nodes[: len(roots)] = roots

    def __getitem__(self, index: int) -> np.ndarray:
        return self._nodes[index]

    def nearest(self, q: np.ndarray) -> int:
        offsets = self._nodes[: len(self.parents)] - q
        return int(np.argmin((offsets * offsets).sum(axis=1)))

    def add(self, q: np.ndarray, parent: int) -> int:
        index = len(self.parents)
        if index == len(self._nodes):
            self._nodes = np.concatenate([self._nodes, np.empty_like(self._nodes)])
        self._nodes[index] = q
        self.parents.append(parent)
        return index

    def branch(self, index: int) -> list[np.ndarray]:
        """From the node back to its root."""
        path = []
        while index >= 0:
            path.append(self._nodes[index])
            index = self.parents[index]
        return path


def plan_path(
    checker: CollisionChecker, start: Float[np.ndarray, "7"], goals: Sequence[Float[np.ndarray, "7"]], seed: int = 0
) -> Float[np.ndarray, "N 7"] | None:
    """A free path of straight joint segments from the start to one of the goals.

    The straight motion to the first goal that allows one is taken; otherwise RRT-Connect with shortcuts.

    Args:
        checker: decides what is free.
        start: joint angles, radians; taken as free.
        goals: alternative configurations, preferred ones first.
        seed: seed of the samples; the same arguments give the same path.

    Returns:
        Corner configurations including start and goal, or None where no path was found.
    """
    reachable = [goal for goal in goals if checker.is_free(goal)]
    for goal in reachable:
        if checker.segment_is_free(start, goal):
            return np.stack([start, goal])
    if not reachable:
        return None
    rng = np.random.default_rng(seed)
    path = _rrt_connect(checker.segment_is_free, start, reachable, rng)
    return None if path is None else np.stack(_shortcut(checker.segment_is_free, path, rng))


def _sample(rng: np.random.Generator, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Half the samples near the direct motion, half anywhere within the limits."""
    low, high = JOINT_LOW + LIMIT_MARGIN, JOINT_HIGH - LIMIT_MARGIN
    if rng.random() < 0.5:
        return rng.uniform(low, high)
    return np.clip(start + rng.random() * (goal - start) + rng.normal(0.0, 0.5, 7), low, high)


def _extend(
    tree: _Tree, target: np.ndarray, is_free: Callable[[np.ndarray, np.ndarray], bool], connect: bool
) -> tuple[int | None, bool]:
    """Grow towards a target by one stride, or until blocked; the last new node and whether the target was reached."""
    parent, last = tree.nearest(target), None
    while True:
        offset = target - tree[parent]
        distance = float(np.linalg.norm(offset))
        arrives = distance <= _STRIDE
        q = target if arrives else tree[parent] + offset * (_STRIDE / distance)
        if not is_free(tree[parent], q):
            return last, False
        parent = last = tree.add(q, parent)
        if arrives or not connect:
            return last, arrives


def _rrt_connect(
    is_free: Callable[[np.ndarray, np.ndarray], bool],
    start: np.ndarray,
    goals: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> list[np.ndarray] | None:
    trees = [_Tree([start]), _Tree(goals)]
    for iteration in range(_MAX_SAMPLES):
        grow, other = trees[iteration % 2], trees[1 - iteration % 2]
        sample = _sample(rng, start, goals[0])
        new, _ = _extend(grow, sample, is_free, connect=False)
        if new is None:
            continue
        meeting, reached = _extend(other, grow[new], is_free, connect=True)
        if reached and meeting is not None:
            forward = (grow, new, other, meeting) if grow is trees[0] else (other, meeting, grow, new)
            return forward[0].branch(forward[1])[::-1] + forward[2].branch(forward[3])[1:]
    return None


def _shortcut(
    is_free: Callable[[np.ndarray, np.ndarray], bool], path: list[np.ndarray], rng: np.random.Generator
) -> list[np.ndarray]:
    """Replace stretches between random points of the path by straight segments where those are free."""
    for _ in range(_SHORTCUTS):
        if len(path) <= 2:
            break
        first, second = sorted(rng.uniform(0.0, len(path) - 1.0, 2))
        i, j = int(first), int(second)
        if i == j:
            continue
        a = path[i] + (first - i) * (path[i + 1] - path[i])
        b = path[j] + (second - j) * (path[j + 1] - path[j])
        if is_free(a, b):
            path = [*path[: i + 1], a, b, *path[j + 1 :]]
    return path
