"""Whose left and right: the direction from which a scene is described."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from vla3d.errors import ConfigError

_LEVEL = 0.1


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """A level direction in which somebody looks. Left is left of it; what is nearer along it is in front of what is farther.

    The lines of sight are taken as parallel, so that the relations are transitive and do not depend on where the viewer
    stands. The default is the robot's: it looks along x, and y is to its left.

    Attributes:
        heading: angle of the direction in the world's xy plane, radians, counter-clockwise from x.
        name: how texts call it.
    """

    heading: float = 0.0
    name: str = "robot base"

    def __post_init__(self) -> None:
        if not np.isfinite(self.heading):
            raise ConfigError(f"viewpoint: got heading {self.heading}, expected radians.")

    @classmethod
    def of_viewer(cls, T_world_viewer: Float[np.ndarray, "4 4"], name: str = "viewer") -> Self:
        """The direction in which a viewer looks, levelled.

        Args:
            T_world_viewer: pose with x right, y down, z forward, as of a camera.
            name: how texts call it.

        Raises:
            ConfigError: no finite 4x4 pose, or a viewer that looks straight up or down on its side.
        """
        pose = np.asarray(T_world_viewer, dtype=np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise ConfigError(f"viewpoint: got a pose of shape {pose.shape}, expected 4 rows of 4 finite numbers.")
        forward = pose[:2, 2]
        if np.linalg.norm(forward) < _LEVEL:  # looks down: what is up in its picture is forward
            forward = -pose[:2, 1]
        if np.linalg.norm(forward) < _LEVEL:
            raise ConfigError("viewpoint: got a pose without a level direction, expected a rotation with z forward and y down.")
        return cls(heading=float(np.arctan2(forward[1], forward[0])), name=name)

    @property
    def forward(self) -> Float[np.ndarray, "2"]:
        """Unit vector in which the viewer looks, in the world's xy plane."""
        return np.array([np.cos(self.heading), np.sin(self.heading)])

    @property
    def left(self) -> Float[np.ndarray, "2"]:
        """Unit vector to the viewer's left."""
        return np.array([-np.sin(self.heading), np.cos(self.heading)])
