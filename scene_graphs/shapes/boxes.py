"""Oriented boxes: one as a value, many as columns. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from vla3d.errors import DataError

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
# What a quaternion written in single precision, or with three decimals, may miss of unit length.
_UNIT_TOLERANCE = 1e-2
_UPRIGHT_COSINE = np.cos(np.radians(2.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class OrientedBox:
    """A box anywhere in the world.

    Attributes:
        center: its middle, metres.
        size: full edge lengths along its own axes, metres.
        quaternion: orientation, ``wxyz``; made unit length with ``w >= 0``.

    Raises:
        DataError: a number is not finite, an edge is not positive, or the quaternion is far from unit length.
    """

    center: Float[np.ndarray, "3"]
    size: Float[np.ndarray, "3"]
    quaternion: Float[np.ndarray, "4"]

    def __post_init__(self) -> None:
        for name, length in (("center", 3), ("size", 3), ("quaternion", 4)):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (length,) or not np.isfinite(value).all():
                raise DataError(f"Box: got {name} {value.tolist()}, expected {length} finite numbers.")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if (self.size <= 0).any():
            raise DataError(f"Box: got size {self.size.tolist()}, expected three edge lengths above 0, in metres.")
        norm = float(np.linalg.norm(self.quaternion))
        if abs(norm - 1) > _UNIT_TOLERANCE:
            raise DataError(f"Box: got quaternion {self.quaternion.tolist()} of length {norm:.3g}, expected wxyz of length 1.")
        # Dividing a unit quaternion by its own norm would move its last bit at each round trip through a file.
        unit = self.quaternion if abs(norm - 1) < 1e-12 else self.quaternion / norm
        unit = -unit if _first_nonzero(unit) < 0 else unit + 0.0
        unit.flags.writeable = False
        object.__setattr__(self, "quaternion", unit)

    @classmethod
    def upright(cls, center: Sequence[float], size: Sequence[float], yaw: float = 0.0) -> Self:
        """A box that stands level, turned by ``yaw`` radians about the vertical."""
        turn = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        return cls(center=np.asarray(center, dtype=np.float64), size=np.asarray(size, dtype=np.float64), quaternion=turn)

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Rotation matrix: box axes as columns."""
        return quaternions_to_matrices(self.quaternion[None])[0]

    @property
    def corners(self) -> Float[np.ndarray, "8 3"]:
        """The corners, world metres."""
        return self.center + (_CORNERS * self.size) @ self.rotation.T

    def contains(self, points: Float[np.ndarray, "N 3"], margin: float = 0.0) -> Bool[np.ndarray, "N"]:
        """Which points lie inside the box grown by ``margin`` metres on every side, border included."""
        local = np.abs((points - self.center) @ self.rotation)
        return np.asarray((local <= self.size / 2 + margin).all(axis=-1))

    def same_as(self, other: "OrientedBox") -> bool:
        """Whether every number is equal."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("center", "size", "quaternion"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """Many oriented boxes as columns, with what relations ask of them.

    Attributes:
        centers: metres.
        sizes: full edge lengths, metres.
        rotations: rotation matrices, box axes as columns.
    """

    centers: Float[np.ndarray, "N 3"]
    sizes: Float[np.ndarray, "N 3"]
    rotations: Float[np.ndarray, "N 3 3"]

    @classmethod
    def stack(cls, boxes: Sequence[OrientedBox]) -> Self:
        """Columns of boxes, in their order."""
        if not boxes:
            return cls(centers=np.zeros((0, 3)), sizes=np.zeros((0, 3)), rotations=np.zeros((0, 3, 3)))
        return cls(
            centers=np.stack([box.center for box in boxes]),
            sizes=np.stack([box.size for box in boxes]),
            rotations=quaternions_to_matrices(np.stack([box.quaternion for box in boxes])),
        )

    def __len__(self) -> int:
        return len(self.centers)

    @cached_property
    def half_extents(self) -> Float[np.ndarray, "N 3"]:
        """Half edge lengths of the axis-aligned boxes around them."""
        return np.einsum("nij,nj->ni", np.abs(self.rotations), self.sizes) / 2

    @cached_property
    def low(self) -> Float[np.ndarray, "N 3"]:
        """Lower corners of the axis-aligned boxes around them."""
        return self.centers - self.half_extents

    @cached_property
    def high(self) -> Float[np.ndarray, "N 3"]:
        """Upper corners of the axis-aligned boxes around them."""
        return self.centers + self.half_extents

    @cached_property
    def volumes(self) -> Float[np.ndarray, "N"]:
        """Cubic metres."""
        return self.sizes.prod(axis=1)

    @cached_property
    def upright(self) -> Bool[np.ndarray, "N"]:
        """Which of them have an axis within 2 degrees of the vertical: those are treated as exactly upright prisms."""
        return np.abs(self.rotations[:, 2, :]).max(axis=1, initial=0.0) >= _UPRIGHT_COSINE

    @cached_property
    def footprints(self) -> Float[np.ndarray, "N K 2"]:
        """Outlines of the boxes seen from above, counter-clockwise and convex; K is 4 where all are upright, else 6.

        The shadow of a box is the sum of three segments, so its outline is their directions in the order of their angle, there
        and back. Where one vanishes, corners repeat.
        """
        halves = (self.rotations[:, :2, :] * self.sizes[:, None, :]).swapaxes(1, 2) / 2
        if self.upright.all():
            # The vertical axis casts next to no shadow; without it four corners do.
            vertical = np.abs(self.rotations[:, 2, :]).argmax(axis=1) if len(self) else np.zeros(0, dtype=np.int64)
            rest = np.array([[1, 2], [0, 2], [0, 1]])[vertical]
            halves = np.take_along_axis(halves, rest[:, :, None], axis=1)
        backward = (halves[..., 1] < 0) | ((halves[..., 1] == 0) & (halves[..., 0] < 0))
        halves = np.where(backward[..., None], -halves, halves)
        order = np.argsort(np.arctan2(halves[..., 1], halves[..., 0]), axis=1)
        halves = np.take_along_axis(halves, order[..., None], axis=1)
        start = self.centers[:, None, :2] - halves.sum(axis=1, keepdims=True)
        there = start + 2 * np.cumsum(halves, axis=1)
        back = there[:, -1:] - 2 * np.cumsum(halves, axis=1)
        return np.concatenate([there, back], axis=1)


def quaternions_to_matrices(quaternions: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 3 3"]:
    """Rotation matrices of unit quaternions ``wxyz``."""
    w, x, y, z = quaternions.T
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)


def matrix_to_quaternion(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """Unit quaternion ``wxyz``, ``w >= 0``, of a rotation matrix (the column of ``4 q q^T`` that is conditioned best)."""
    m = matrix
    outer = np.array(
        [
            [1 + m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], 1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2]],
        ]
    )
    column = outer[outer.diagonal().argmax()]
    unit = column / np.linalg.norm(column)
    return -unit if _first_nonzero(unit) < 0 else unit


def _first_nonzero(values: Float[np.ndarray, "4"]) -> float:
    return float(next((value for value in values if value != 0), 0.0))
