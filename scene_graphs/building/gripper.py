"""A gripper as a node: where its fingers are comes from the robot, not from images."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.types import Observation

GRIPPER_LABEL = "gripper"

# Pads of a two-finger gripper: how far they reach along the finger and across.
_PAD = (0.02, 0.03)
_LEAST_WIDTH = 0.001
# Narrower than this, closed fingers hold nothing.
_HELD_WIDTH = 0.002


@dataclass(frozen=True, kw_only=True, eq=False)
class GripperReading:
    """What the robot reports.

    Attributes:
        position: middle between the finger tips, world metres.
        quaternion: orientation, ``wxyz``; fingers open along y and point along z.
        width: distance between the fingers, metres.
        closing: whether it was told to close.
        holding: whether it holds something, where somebody knows; None leaves that to width and command.
    """

    position: Float[np.ndarray, "3"]
    quaternion: Float[np.ndarray, "4"]
    width: float
    closing: bool
    holding: bool | None = None

    @classmethod
    def of(cls, observation: Observation) -> "GripperReading":
        """From what a policy sees."""
        return cls(
            position=observation.gripper_position,
            quaternion=observation.gripper_quaternion,
            width=observation.gripper_width,
            closing=not observation.gripper_open,
        )


def gripper_node(reading: GripperReading, node_id: int) -> SceneNode:
    """The room between the fingers as a node. It holds something when it was told to close and something keeps it apart.

    Args:
        reading: of now.
        node_id: of the node.

    Raises:
        DataError: a number is not finite.
    """
    size = np.array([_PAD[0], max(reading.width, _LEAST_WIDTH), _PAD[1]])
    box = OrientedBox(center=reading.position, size=size, quaternion=reading.quaternion)
    holding = reading.holding
    if holding is None:
        holding = reading.closing and reading.width > _HELD_WIDTH
    return SceneNode(id=node_id, label=GRIPPER_LABEL, kind="gripper", box=box, holding=holding)
