"""Latches: a sliding thing that is pushed in far enough snaps to the end of its travel and stays there.

What a latch remembers is part of MuJoCo's integration state, so an exact save holds it: the constraint that keeps the joint
at its end (``eq_active``) and when it caught (``userdata``).
"""

import mujoco
import numpy as np

CATCH_SHARE = 0.6
"""A latch catches once its joint is pushed this share of its travel."""

_PREFIX = "latch:"


def add_latch(spec: mujoco.MjSpec, joint: str) -> None:
    """Give a sliding joint, whose range begins at 0, a latch at the other end of the range."""
    spec.add_equality(
        name=_PREFIX + joint,
        type=mujoco.mjtEq.mjEQ_JOINT,
        name1=joint,
        active=False,
        # Stiff, so that a spring does not pull the joint visibly out of its end.
        solref=[0.005, 1.0],
        solimp=[0.98, 0.999, 0.001, 0.5, 2.0],
    )
    spec.nuserdata += 1


class Latches:
    """The latches of a compiled scene.

    Args:
        model: the scene; where each latch holds its joint is written into it, from the joint's range.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        constraints = [index for index in range(model.neq) if model.equality(index).name.startswith(_PREFIX)]
        joints = [int(model.eq_obj1id[index]) for index in constraints]
        self._names = [model.joint(joint).name for joint in joints]
        self._constraints = np.array(constraints, dtype=np.int64)
        self._qpos = model.jnt_qposadr[joints]
        travel = model.jnt_range[joints, 1]
        model.eq_data[constraints, 0] = travel
        self._catch_at = CATCH_SHARE * travel

    def __len__(self) -> int:
        return len(self._names)

    def catch(self, data: mujoco.MjData) -> None:
        """Close every latch whose joint is pushed far enough. For new positions, before their constraints are made."""
        pushed = data.qpos[self._qpos] >= self._catch_at
        if not pushed.any():
            return
        order = data.userdata[: len(self)]
        for index in np.flatnonzero(pushed & (order == 0)):
            order[index] = order.max() + 1
            data.eq_active[self._constraints[index]] = 1

    def caught(self, data: mujoco.MjData) -> tuple[str, ...]:
        """Joints whose latches have caught, in the order in which they did."""
        order = data.userdata[: len(self)].tolist()
        return tuple(self._names[index] for index in sorted(range(len(order)), key=order.__getitem__) if order[index] > 0)
