"""One running physics world: the state, the robot's commands and readings, exact save and restore."""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float

from vla3d.envs.tabletop.latches import Latches
from vla3d.envs.tabletop.robot import FINGER_TRAVEL, GRIPPER_CLOSED, GRIPPER_OPEN, HOME_Q, PANDA, SERVO_DAMPING, SERVO_STIFFNESS

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class SimulationError(RuntimeError):
    """The physics diverged: a defect of the scene, never of an action."""


class Simulation:
    """Owns the ``MjData`` of one world with a Panda in it.

    Positions, contacts and everything else derived from the state are current after every call (not one step late), so
    ``sim.data.xpos`` and friends may be read at any time and mean the same before a save and after the restore.

    Args:
        model: a compiled scene that contains `robot.add_panda`'s robot. Code that edits ``model`` fields or ``data.qpos``
            directly must call `refresh` afterwards.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self.latches = Latches(model)
        self.data = mujoco.MjData(model)
        joints = [model.joint(name) for name in PANDA.arm_joints]
        self._arm_qpos = np.array([joint.qposadr[0] for joint in joints])
        self._arm_qvel = np.array([joint.dofadr[0] for joint in joints])
        self._finger_qpos = np.array([model.joint(name).qposadr[0] for name in PANDA.finger_joints])
        self._finger_qvel = np.array([model.joint(name).dofadr[0] for name in PANDA.finger_joints])
        self._servo_ids = np.array([model.actuator(name).id for name in PANDA.arm_actuators])
        self._gripper_id = model.actuator(PANDA.gripper_actuator).id
        self._tcp_id = model.site(PANDA.tcp_site).id
        self._finger_bodies = tuple(model.body(name).id for name in PANDA.fingers)
        self.reset()

    def reset(self, arm_q: Sequence[float] | np.ndarray = HOME_Q, gripper_open: bool = True) -> None:
        """Put everything at the model's initial state, the arm at ``arm_q`` (radians) and at rest, time zero."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._arm_qpos] = arm_q
        self.data.qpos[self._finger_qpos] = FINGER_TRAVEL if gripper_open else 0.0
        self.set_joint_targets(np.asarray(arm_q, dtype=np.float64))
        self.set_gripper(gripper_open)
        self.refresh()

    def refresh(self) -> None:
        """Recompute what derives from the state after ``model`` or ``data.qpos`` was edited from outside."""
        mujoco.mj_step1(self.model, self.data)

    def step(self, steps: int = 1) -> None:
        """Advance by ``steps`` time steps of ``model.opt.timestep`` seconds under the present commands.

        Raises:
            SimulationError: the state became non-finite or exploded.
        """
        model, data = self.model, self.data
        start = data.time
        for _ in range(steps):
            # step2 integrates, step1 then derives positions and contacts of the new state: nothing read is a step late.
            mujoco.mj_step2(model, data)
            if self.latches:
                self.latches.catch(data)
            mujoco.mj_step1(model, data)
        if steps > 0 and not data.time > start:  # MuJoCo resets a diverged state, which sets the clock back
            raise SimulationError(f"physics diverged at t = {start:.3f} s; check the scene for overlapping or massless bodies")

    @property
    def step_count(self) -> int:
        """Time steps since the reset."""
        return round(self.data.time / self.model.opt.timestep)

    def set_joint_targets(self, q: Float[np.ndarray, "7"], velocity: Float[np.ndarray, "7"] | None = None) -> None:
        """Command joint positions (radians); ``velocity`` (rad/s) is fed forward so that the arm follows without lag."""
        target = q if velocity is None else q + velocity * (SERVO_DAMPING / SERVO_STIFFNESS)
        self.data.ctrl[self._servo_ids] = target

    @property
    def joint_targets(self) -> Float[np.ndarray, "7"]:
        """The last commanded joint positions, radians (a copy)."""
        return self.data.ctrl[self._servo_ids]

    def set_gripper(self, opened: bool) -> None:
        """Command the gripper fully open or closed; it moves while time steps."""
        self.data.ctrl[self._gripper_id] = GRIPPER_OPEN if opened else GRIPPER_CLOSED

    @property
    def gripper_open(self) -> bool:
        """The last commanded state."""
        return bool(self.data.ctrl[self._gripper_id] == GRIPPER_OPEN)

    @property
    def gripper_width(self) -> float:
        """Distance between the pads, metres (0 to 0.08)."""
        return float(np.clip(self.data.qpos[self._finger_qpos].sum(), 0.0, 2 * FINGER_TRAVEL))

    @property
    def finger_speed(self) -> float:
        """The faster finger's speed, m/s."""
        return float(np.abs(self.data.qvel[self._finger_qvel]).max())

    @property
    def arm_q(self) -> Float[np.ndarray, "7"]:
        """Joint angles, radians (a copy)."""
        return self.data.qpos[self._arm_qpos]

    @property
    def arm_velocity(self) -> Float[np.ndarray, "7"]:
        """Joint velocities, rad/s (a copy)."""
        return self.data.qvel[self._arm_qvel]

    def tcp_pose(self) -> Float[np.ndarray, "4 4"]:
        """``T_world_tcp``: z out of the fingers, y along their opening axis, metres."""
        pose = np.eye(4)
        pose[:3, :3] = self.data.site_xmat[self._tcp_id].reshape(3, 3)
        pose[:3, 3] = self.data.site_xpos[self._tcp_id]
        return pose

    def tcp_quaternion(self) -> Float[np.ndarray, "4"]:
        """Orientation of the tool in the world, ``wxyz``, w >= 0."""
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, self.data.site_xmat[self._tcp_id])
        return quaternion if quaternion[0] >= 0 else -quaternion

    def body_pose(self, name: str) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "4"]]:
        """Position (metres) and ``wxyz`` orientation of a body's frame in the world (copies)."""
        body = self.data.body(name)
        return body.xpos.copy(), body.xquat.copy()

    def set_free_body(
        self, name: str, position: Sequence[float] | np.ndarray, quaternion: Sequence[float] | np.ndarray
    ) -> None:
        """Place a free-floating body at rest; call `refresh` once all are placed."""
        joint = self.model.body(name).jntadr[0]
        if joint < 0 or self.model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
            raise ValueError(f"body {name!r} has no free joint; only free bodies can be placed, move others by model.body_pos")
        start, velocity = self.model.jnt_qposadr[joint], self.model.jnt_dofadr[joint]
        self.data.qpos[start : start + 3] = position
        self.data.qpos[start + 3 : start + 7] = quaternion
        self.data.qvel[velocity : velocity + 6] = 0.0

    def in_contact(self, body_a: str, body_b: str) -> bool:
        """Whether any geoms of the two bodies touch."""
        return self._touching(self.model.body(body_a).id, self.model.body(body_b).id)

    def _touching(self, body_a: int, body_b: int) -> bool:
        contacts = self.data.contact
        bodies = self.model.geom_bodyid[contacts.geom]
        pair = (bodies == (body_a, body_b)).all(axis=1) | (bodies == (body_b, body_a)).all(axis=1)
        return bool((pair & (contacts.dist <= 0)).any())

    def held_body(self) -> int | None:
        """Id of the movable body between the fingers (touched by both), lowest id first; None if there is none."""
        contacts = self.data.contact
        bodies = self.model.geom_bodyid[contacts.geom[contacts.dist <= 0]]
        touched = []
        for finger in self._finger_bodies:
            touched.append(set(bodies[(bodies == finger).any(axis=1)].ravel().tolist()) - {*self._finger_bodies})
        both = [body for body in touched[0] & touched[1] if self.model.body_weldid[body] != 0]
        return min(both, default=None)

    def save(self) -> bytes:
        """The complete integration state: `load` continues from it bit for bit."""
        state = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, state, _STATE)
        return state.tobytes()

    def load(self, state: bytes) -> None:
        """Restore what `save` returned, for the same model.

        Raises:
            ValueError: the bytes have another length than this model's state.
        """
        expected = 8 * mujoco.mj_stateSize(self.model, _STATE)
        if len(state) != expected:
            raise ValueError(f"simulator state: got {len(state)} bytes, expected {expected}; was it saved from another task?")
        mujoco.mj_setState(self.model, self.data, np.frombuffer(state, dtype=np.float64), _STATE)
        self.refresh()
