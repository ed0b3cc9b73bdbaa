"""Virtual orthographic cameras that look at the cube [-1, 1]^3, and the ordered sets of them that a policy uses."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.errors import unknown_name

Vector = tuple[float, float, float]


def is_coordinate_axis(axis: Vector) -> bool:
    """Whether a direction is exactly +-x, +-y or +-z."""
    along = [component for component in axis if component != 0.0]
    return len(along) == 1 and along[0] * along[0] == 1.0


def coordinate_of(axis: Vector) -> tuple[int, bool]:
    """Which coordinate an axis is, and whether it points in its positive direction."""
    number = next(number for number, component in enumerate(axis) if component != 0.0)
    return number, axis[number] > 0


@dataclass(frozen=True)
class VirtualCamera:
    """An orthographic camera: three perpendicular unit axes in cube coordinates (x forward from the robot, y left, z up).

    The image shows [-1, 1] along ``right`` and along ``down``. Depth is measured along ``forward`` from the plane that touches
    the cube on the camera's side, so it is never negative, and it runs to 2 for a camera along an axis.

    Attributes:
        name: what the camera is called in configurations and videos.
        right: direction of growing columns.
        down: direction of growing rows.
        forward: viewing direction; ``right x down = forward`` (the OpenCV frame).

    Raises:
        ValueError: when the axes are not an orthonormal right-handed frame.
    """

    name: str
    right: Vector
    down: Vector
    forward: Vector

    def __post_init__(self) -> None:
        axes = np.array([self.right, self.down, self.forward], dtype=np.float64)
        if axes.shape != (3, 3) or not np.allclose(axes @ axes.T, np.eye(3), rtol=0, atol=1e-6) or np.linalg.det(axes) < 0:
            raise ValueError(
                f"virtual camera {self.name!r}: got axes {axes.tolist()}, expected perpendicular unit vectors with "
                "right x down = forward. VirtualCamera.looking builds them from a direction."
            )

    @classmethod
    def looking(cls, name: str, forward: Sequence[float], up: Sequence[float] = (0.0, 0.0, 1.0)) -> "VirtualCamera":
        """The camera that looks along ``forward`` with ``up`` towards the top of its image.

        Raises:
            ValueError: when ``up`` is parallel to ``forward`` or a vector is zero.
        """
        ahead = np.asarray(forward, dtype=np.float64)
        right = np.cross(ahead, np.asarray(up, dtype=np.float64))
        if np.linalg.norm(right) < 1e-6 * max(1.0, float(np.linalg.norm(ahead))):
            raise ValueError(
                f"virtual camera {name!r}: forward {list(forward)} and up {list(up)} are parallel; give another up."
            )
        ahead = ahead / np.linalg.norm(ahead)
        right = right / np.linalg.norm(right)
        down = np.cross(ahead, right)
        return cls(name, _vector(right), _vector(down), _vector(ahead))

    @property
    def axis_aligned(self) -> bool:
        """Whether every image axis is a coordinate axis of the cube (of either sign)."""
        return all(is_coordinate_axis(axis) for axis in (self.right, self.down, self.forward))

    @property
    def near(self) -> float:
        """Distance from the cube's centre to the plane at which depth is zero (the cube's support along ``forward``)."""
        return sum(map(abs, self.forward))


def _vector(values: Iterable[float]) -> Vector:
    x, y, z = (float(value) + 0.0 for value in values)  # "+ 0.0" turns -0.0 into 0.0
    return x, y, z


# The three views of RVT-2 and BridgeVLA come first; the robot stands at the lower edge of "top".
VIEW_PRESETS: dict[str, VirtualCamera] = {
    camera.name: camera
    for camera in (
        VirtualCamera.looking("top", (0.0, 0.0, -1.0), up=(1.0, 0.0, 0.0)),
        VirtualCamera.looking("front", (-1.0, 0.0, 0.0)),
        VirtualCamera.looking("right", (0.0, 1.0, 0.0)),
        VirtualCamera.looking("left", (0.0, -1.0, 0.0)),
        VirtualCamera.looking("back", (1.0, 0.0, 0.0)),
        VirtualCamera.looking("front_left", (-1.0, -1.0, -1.0)),
        VirtualCamera.looking("front_right", (-1.0, 1.0, -1.0)),
    )
}


@dataclass(frozen=True)
class ViewSet:
    """An ordered set of virtual cameras; the order is the order of the ``V`` dimension everywhere.

    Raises:
        ValueError: when it is empty or two cameras share a name.
    """

    cameras: tuple[VirtualCamera, ...]

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.names)) != len(self.cameras):
            raise ValueError(f"view set: got {list(self.names)}, expected at least one camera, each with its own name.")

    @classmethod
    def from_names(cls, names: Sequence[str] = ("top", "front", "right")) -> "ViewSet":
        """Build from names of `VIEW_PRESETS`.

        Raises:
            ConfigError: for an unknown name (with the nearest one suggested).
        """
        for name in names:
            if name not in VIEW_PRESETS:
                raise unknown_name("view", name, VIEW_PRESETS)
        return cls(tuple(VIEW_PRESETS[name] for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras' names, in order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def axis_aligned(self) -> bool:
        """Whether every camera is axis-aligned (then lifting is separable)."""
        return all(camera.axis_aligned for camera in self.cameras)

    @property
    def numbers(self) -> tuple[float, ...]:
        """Right, down and forward of each camera as one list, the form in which operators take a view set."""
        return tuple(
            number for camera in self.cameras for axis in (camera.right, camera.down, camera.forward) for number in axis
        )

    def axes(self, device: torch.device | str = "cpu") -> Float[Tensor, "V 3 3"]:
        """Rows right, down and forward of each camera, float32."""
        return torch.tensor([(camera.right, camera.down, camera.forward) for camera in self.cameras], device=device)

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[VirtualCamera]:
        return iter(self.cameras)


@lru_cache(maxsize=64)
def view_set_of(numbers: tuple[float, ...]) -> ViewSet:
    """The view set of a list of `ViewSet.numbers`; its cameras are called by their places."""
    axes = [numbers[at : at + 3] for at in range(0, len(numbers), 3)]
    return ViewSet(tuple(VirtualCamera(str(at // 3), *map(_vector, axes[at : at + 3])) for at in range(0, len(axes), 3)))
