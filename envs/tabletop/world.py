"""One compiled scene and its physics: what a task reads and arranges."""

from collections.abc import Callable, Mapping, Sequence

import mujoco
import numpy as np
from jaxtyping import Float, Int16

from vla3d.envs.tabletop.colors import Rgb
from vla3d.envs.tabletop.placement import TablePose
from vla3d.envs.tabletop.robot import PANDA
from vla3d.envs.tabletop.scene import FLOOR_HEIGHT, GROUND, START_Q, TABLE_CENTER
from vla3d.envs.tabletop.simulation import Simulation

BACKGROUND_ID = 0
ROBOT_ID = 1
FIRST_OBJECT_ID = 2
_FAR = 0.2
_PILE_PITCH = 0.2


class World:
    """A scene in which one task runs.

    The model is compiled once; an episode changes only colours, places of furniture and the state, so a renderer that was
    built for the model stays valid.

    A suite may change the size of things. Tasks need not know: heights, points in a body's frame and joint positions are in
    *design units*, those of the code that adds the body, and are converted here. Positions in the world are metres.

    Args:
        spec: the scene with the task's objects.
        instances: bodies that get an instance id of their own, in that order; bodies below them share it.
        scales: how much larger than designed a body, with all below it, was built.
        repaint: the colour that a body gets in place of the one a task gives it.
    """

    def __init__(
        self,
        spec: mujoco.MjSpec,
        instances: Sequence[str],
        *,
        scales: Mapping[str, float] | None = None,
        repaint: Callable[[str, Rgb], Rgb] | None = None,
    ) -> None:
        self.model = spec.compile()
        self._scales = scales or {}
        self._repaint = repaint
        self._away: list[str] = []
        self.sim = Simulation(self.model)
        self.instance_names = {
            BACKGROUND_ID: "background",
            ROBOT_ID: "robot",
            **{FIRST_OBJECT_ID + index: name for index, name in enumerate(instances)},
        }
        self.geom_instances = self._geom_instances()
        self._initial_rgba = self.model.geom_rgba.copy()

    @property
    def away(self) -> tuple[str, ...]:
        """Bodies that are no part of the episode: see ``put_away``."""
        return tuple(self._away)

    @property
    def untouched(self) -> bool:
        """Whether nothing was done in this episode yet."""
        return float(self.sim.data.time) == 0.0

    def scale(self, body: str) -> float:
        """How much larger than designed a body is."""
        index = self.model.body(body).id
        while index != 0:
            scale = self._scales.get(self.model.body(index).name)
            if scale is not None:
                return scale
            index = self.model.body_parentid[index]
        return 1.0

    def reset(self) -> None:
        """The initial state and colours; objects are then to be arranged."""
        self.model.geom_rgba[:] = self._initial_rgba
        self._away.clear()
        self.sim.reset(START_Q)

    def run(self, seconds: float) -> None:
        """Let time pass under the present commands."""
        self.sim.step(round(seconds / self.model.opt.timestep))

    def paint(self, body: str, rgb: Rgb) -> None:
        """Give all geoms of a body (not of the bodies below it) one colour."""
        painted = rgb if self._repaint is None else self._repaint(body, rgb)
        self.model.geom_rgba[self.model.geom_bodyid == self.model.body(body).id, :3] = painted

    def put(self, body: str, pose: TablePose, height: float = 0.0) -> None:
        """Place a free body at rest, its origin ``height`` design units above the pose."""
        self.sim.set_free_body(body, [pose.x, pose.y, pose.z + height * self.scale(body)], yaw_quaternion(pose.yaw))

    def fix(self, body: str, pose: TablePose, height: float = 0.0) -> None:
        """Place furniture: a body that is fixed to the world; ``height`` in design units."""
        index = self.model.body(body).id
        self.model.body_pos[index] = [pose.x, pose.y, pose.z + height * self.scale(body)]
        self.model.body_quat[index] = yaw_quaternion(pose.yaw)

    def stand(self, body: str, pose: TablePose, height: float = 0.0) -> None:
        """Place a body, free or furniture: see ``put`` and ``fix``."""
        (self.put if self.model.body(body).dofnum[0] else self.fix)(body, pose, height)

    def put_away(self, body: str, height: float = 0.0) -> None:
        """Leave a body out of the episode: on the floor under the table, where no camera sees it and the arm does not reach.

        Args:
            body: free or fixed.
            height: of its origin above what it stands on, design units.
        """
        x, y = TABLE_CENTER
        place = TablePose(x, y + _PILE_PITCH * len(self._away), 0.0, FLOOR_HEIGHT)
        self._away.append(body)
        self.stand(body, place, height)

    def position(self, body: str) -> Float[np.ndarray, "3"]:
        """Origin of a body in the world, metres."""
        return self.sim.body_pose(body)[0]

    def rotation(self, body: str) -> Float[np.ndarray, "3 3"]:
        """Rotation matrix of a body in the world."""
        return self.sim.data.body(body).xmat.reshape(3, 3).copy()

    def to_body(self, body: str, point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """A world point in a body's frame, design units."""
        return self.rotation(body).T @ (point - self.position(body)) / self.scale(body)

    def to_world(self, body: str, point: Sequence[float]) -> Float[np.ndarray, "3"]:
        """A point of a body's frame (design units) in the world, metres."""
        return self.position(body) + self.rotation(body) @ (np.asarray(point) * self.scale(body))

    def speed(self, body: str) -> float:
        """Linear speed of a body's centre of mass, m/s."""
        velocity = np.empty(6)
        index = self.model.body(body).id
        mujoco.mj_objectVelocity(self.model, self.sim.data, mujoco.mjtObj.mjOBJ_BODY, index, velocity, 0)
        return float(np.linalg.norm(velocity[3:]))

    def gap(self, body: str) -> float:
        """Least distance from a body to any other thing but what it may stand on, metres; at most ``_FAR``."""
        own = self.model.body(body).id
        ground = {self.model.geom(name).id for name in GROUND}
        others = [geom for geom in range(self.model.ngeom) if self.model.geom_bodyid[geom] != own and geom not in ground]
        mine = [geom for geom in range(self.model.ngeom) if self.model.geom_bodyid[geom] == own]
        model, data = self.model, self.sim.data
        return min(mujoco.mj_geomDistance(model, data, geom, other, _FAR, None) for geom in mine for other in others)

    def joint(self, name: str) -> float:
        """Position of a sliding joint, design units."""
        body = self.model.body(self.model.jnt_bodyid[self.model.joint(name).id]).name
        return float(self.sim.data.joint(name).qpos[0]) / self.scale(body)

    def latched(self) -> tuple[str, ...]:
        """Joints whose latches have caught, in the order in which they did."""
        return self.sim.latches.caught(self.sim.data)

    def held(self) -> str | None:
        """The body between the closed fingers, or None."""
        body = None if self.sim.gripper_open else self.sim.held_body()
        return None if body is None else str(self.model.body(body).name)

    def _geom_instances(self) -> Int16[np.ndarray, "geoms"]:
        """Instance id of every geom."""
        ids = {self.model.body(name).id: number for number, name in self.instance_names.items() if number >= FIRST_OBJECT_ID}
        ids[self.model.body(PANDA.links[0]).id] = ROBOT_ID
        table = np.zeros(self.model.ngeom, dtype=np.int16)
        for geom in range(self.model.ngeom):
            body = int(self.model.geom_bodyid[geom])
            while body != 0 and body not in ids:
                body = int(self.model.body_parentid[body])
            table[geom] = ids.get(body, BACKGROUND_ID)
        return table


def yaw_quaternion(yaw: float) -> Float[np.ndarray, "4"]:
    """Turn about the vertical, ``wxyz``."""
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
