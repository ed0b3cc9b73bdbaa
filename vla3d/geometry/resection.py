"""Camera resection: the pinhole camera that made an organised point cloud, found from pixels and the points seen there.

NumPy, float64. The direct linear transform gives a first camera (R. Hartley and A. Zisserman, "Multiple View Geometry in
Computer Vision", 2nd ed., section 7.1), points on one plane give theirs through a homography (section 8.1.1), and Gauss-Newton
on the reprojection error refines either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.linalg import rq

_SAMPLES_PER_SIDE = 24
"""Pixels used for a fit lie on a grid of about so many rows and columns; what was fitted is then checked at every pixel."""

_LEAST_POINTS = 12
_ITERATIONS = 30
_FOCAL_UNCERTAINTY = 1e-3
"""Largest relative standard deviation of the focal length: points on one plane leave it open, and then it is not guessed."""

_LEAST_NOISE = 1e-6
"""Pixels. Rounding alone moves points by so much; a smaller residual does not make a camera more certain."""

_GOOD_FIT = 1e-3
"""Mean error in pixels at which no other start is tried."""

MAX_PIXEL_ERROR = 0.25
"""Largest distance in pixels between a point's projection and the centre of its own pixel. Clouds of a pinhole camera stored as
float32 keep below 0.001, as float16 below 0.1; a lens that bends lines by a percent is off by more than one."""


class ResectionError(ValueError):
    """No pinhole camera explains the points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resection:
    """A recovered camera and the depth image that it saw.

    Attributes:
        intrinsics: pinhole matrix without skew, pixel centres at half-integers.
        T_world_camera: camera-to-world transform, OpenCV axes.
        depth: planar z, metres; 0 where the cloud has no point.
        pixel_error: largest distance between a point's projection and its pixel's centre.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    T_world_camera: Float[np.ndarray, "4 4"]
    depth: Float32[np.ndarray, "H W"]
    pixel_error: float


def resect_clouds(
    clouds: Sequence[Float[np.ndarray, "H W 3"]], intrinsics: Float[np.ndarray, "3 3"] | None = None
) -> list[Resection]:
    """The camera behind each of some organised clouds that one camera took, perhaps while it moved.

    The intrinsics are those of the cloud that determines them best, the same for all; each pose is found by itself.

    Args:
        clouds: world points of every pixel, metres; a point that is not finite or exactly zero is no measurement.
        intrinsics: of the camera, where they are known; flat clouds then do as well.

    Raises:
        ResectionError: a cloud is no picture of a pinhole camera (or of another one than the rest), has too few points, or
            all clouds are flat and the intrinsics are not known, which leaves the focal length open.
    """
    valid = [measured(cloud) for cloud in clouds]
    samples = [_sample(cloud, mask, at) for at, (cloud, mask) in enumerate(zip(clouds, valid, strict=True))]
    focal = _shared_intrinsics(samples) if intrinsics is None else intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    found: list[Resection] = []
    for at, (cloud, mask, (points, pixels)) in enumerate(zip(clouds, valid, samples, strict=True)):
        camera = _pose(points, pixels, focal, found[-1] if found else None)
        if camera is None:
            raise ResectionError(f"image {at}: its points lie on a line or a curve, and no camera pose follows from that")
        found.append(_checked(cloud, mask, camera, at))
    return found


def measured(cloud: Float[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """Which pixels of an organised cloud hold a point: finite, and not the zeros that stand for nothing."""
    x, y, z = np.moveaxis(cloud, -1, 0)  # one coordinate at a time: reductions along an axis of 3 are slow in NumPy
    return np.asarray(np.isfinite(x) & np.isfinite(y) & np.isfinite(z) & ((x != 0) | (y != 0) | (z != 0)))


@dataclass(frozen=True, eq=False)
class _Camera:
    """``p_camera = R p_world + t``, pixel ``= (fx x / z + cx, fy y / z + cy)``; ``focal`` is ``(fx, fy, cx, cy)``."""

    R: np.ndarray
    t: np.ndarray
    focal: np.ndarray

    def camera_points(self, points: np.ndarray) -> np.ndarray:
        return points @ self.R.T + self.t

    def errors(self, points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Projection minus pixel, ``(N, 2)``."""
        seen = self.camera_points(points)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return seen[:, :2] / seen[:, 2:] * self.focal[:2] + self.focal[2:] - pixels

    def cost(self, points: np.ndarray, pixels: np.ndarray) -> float:
        """Mean squared error; infinite for a camera that has points behind it."""
        if not (self.camera_points(points)[:, 2] > 0).all():
            return np.inf
        return float(np.square(self.errors(points, pixels)).sum(axis=1).mean())


def _sample(cloud: np.ndarray, mask: np.ndarray, at: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on a coarse grid of pixels and the centres of these; all of them where a grid would find too few."""
    strides = [max(1, size // _SAMPLES_PER_SIDE) for size in mask.shape]
    rows, columns = np.nonzero(mask[:: strides[0], :: strides[1]])
    rows, columns = rows * strides[0], columns * strides[1]
    if len(rows) < _SAMPLES_PER_SIDE:
        rows, columns = np.nonzero(mask)
    if len(rows) < _LEAST_POINTS:
        raise ResectionError(f"image {at}: got {len(rows)} measured pixels, expected at least {_LEAST_POINTS}")
    return cloud[rows, columns].astype(np.float64), np.stack([columns + 0.5, rows + 0.5], axis=1)


def _shared_intrinsics(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """``(fx, fy, cx, cy)`` of the image whose points pin the focal length down best."""
    best, least = None, np.inf
    for points, pixels in samples:
        start = _linear_camera(points, pixels)
        if start is None:
            continue
        camera, covariance = _refine(start, points, pixels, intrinsics=True)
        uncertainty = float(np.sqrt(np.diag(covariance)[6:8]).max() / np.abs(camera.focal[:2]).min())
        if camera.focal[:2].min() > 0 and np.isfinite(uncertainty) and uncertainty < least:
            best, least = camera.focal, uncertainty
        if least < 0.01 * _FOCAL_UNCERTAINTY:
            break
    if best is None or not least <= _FOCAL_UNCERTAINTY:
        raise ResectionError(
            "the points do not determine a pinhole camera with positive focal lengths (they are flat, mirrored, or not the "
            "picture of one camera)"
        )
    return best


def _linear_camera(points: np.ndarray, pixels: np.ndarray) -> _Camera | None:
    """The direct linear transform; None for points that leave it undetermined or put the camera among them."""
    centre, spread = points.mean(axis=0), points.std() or 1.0
    middle, size = pixels.mean(axis=0), pixels.std() or 1.0
    world = np.column_stack([(points - centre) / spread, np.ones(len(points))])
    u, v = ((pixels - middle) / size).T[..., None]
    zero = np.zeros_like(world)
    rows = np.concatenate([np.hstack([world, zero, -u * world]), np.hstack([zero, world, -v * world])])
    _, vectors = np.linalg.eigh(rows.T @ rows)
    projection = vectors[:, 0].reshape(3, 4)
    to_pixels = np.array([[size, 0, middle[0]], [0, size, middle[1]], [0, 0, 1]])
    projection = to_pixels @ projection
    projection[:, :3] /= spread
    projection[:, 3] -= projection[:, :3] @ centre
    determinant = np.linalg.det(projection[:, :3])
    if not np.isfinite(determinant) or determinant == 0:
        return None
    projection *= np.sign(determinant)
    upper, rotation = rq(projection[:, :3])
    signs = np.sign(np.diag(upper))
    if not signs.all():
        return None
    upper, rotation = upper * signs, signs[:, None] * rotation
    t = np.linalg.solve(upper, projection[:, 3])
    upper = upper / upper[2, 2]
    return _Camera(R=rotation, t=t, focal=np.array([upper[0, 0], upper[1, 1], upper[0, 2], upper[1, 2]]))


def _planar_camera(points: np.ndarray, pixels: np.ndarray, focal: np.ndarray) -> _Camera | None:
    """The pose, for known intrinsics, from the homography between the points' plane and the rays; None when there is none."""
    centre = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - centre, full_matrices=False)
    if np.linalg.det(axes) < 0:
        axes[2] = -axes[2]
    plane = (points - centre) @ axes[:2].T
    scale = plane.std() or 1.0
    flat = np.column_stack([plane / scale, np.ones(len(points))])
    x, y = ((pixels - focal[2:]) / focal[:2]).T[..., None]
    zero = np.zeros_like(flat)
    rows = np.concatenate([np.hstack([flat, zero, -x * flat]), np.hstack([zero, flat, -y * flat])])
    _, vectors = np.linalg.eigh(rows.T @ rows)
    first, second, third = vectors[:, 0].reshape(3, 3).T
    length = (np.linalg.norm(first) + np.linalg.norm(second)) / 2
    if not length > 0:
        return None
    sign = 1.0 if third[2] > 0 else -1.0
    first, second, third = sign * first / length, sign * second / length, sign * third / length * scale
    left, _, right = np.linalg.svd(np.column_stack([first, second, np.cross(first, second)]))
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right @ axes
    return _Camera(R=rotation, t=third - rotation @ centre, focal=focal)


def _pose(points: np.ndarray, pixels: np.ndarray, focal: np.ndarray, before: Resection | None) -> _Camera | None:
    """The best pose for known intrinsics, from the pose before, the linear transform, or the plane."""
    best, least = None, np.inf

    def starts() -> Iterator[_Camera | None]:
        if before is not None:
            R = before.T_world_camera[:3, :3].T
            yield _Camera(R=R, t=-R @ before.T_world_camera[:3, 3], focal=focal)
        linear = _linear_camera(points, pixels)
        yield None if linear is None else _Camera(R=linear.R, t=linear.t, focal=focal)
        yield _planar_camera(points, pixels, focal)

    for start in starts():
        if start is None or not np.isfinite(start.cost(points, pixels)):
            continue
        camera, _ = _refine(start, points, pixels, intrinsics=False)
        cost = camera.cost(points, pixels)
        if cost < least:
            best, least = camera, cost
        if least < _GOOD_FIT**2:
            break
    return best


def _refine(start: _Camera, points: np.ndarray, pixels: np.ndarray, *, intrinsics: bool) -> tuple[_Camera, np.ndarray]:
    """Gauss-Newton on the reprojection error.

    Returns:
        The camera and the covariance of (rotation vector, translation, focal lengths and principal point).
    """
    camera, cost = start, start.cost(points, pixels)
    unknowns = 10 if intrinsics else 6
    normal = np.zeros((unknowns, unknowns))
    for _ in range(_ITERATIONS):
        jacobian = _jacobian(camera, points)[:, :unknowns]
        normal = jacobian.T @ jacobian
        # Columns differ by orders of magnitude (radians beside pixels), so they are scaled before anything is inverted.
        scale = np.sqrt(np.diag(normal))
        scale[scale == 0] = 1.0
        gradient = jacobian.T @ camera.errors(points, pixels).reshape(-1)
        step = -np.linalg.lstsq(normal / np.outer(scale, scale), gradient / scale, rcond=None)[0] / scale
        before = cost
        for share in (1.0, 0.3, 0.1):
            candidate = _stepped(camera, share * step)
            now = candidate.cost(points, pixels)
            if now < cost:
                camera, cost = candidate, now
                break
        if before - cost <= 1e-6 * before:
            break
    variance = max(2 * len(points) * cost / max(1, 2 * len(points) - unknowns), _LEAST_NOISE**2)
    values, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
    # A direction that the points leave open has an eigenvalue of zero: its variance is huge, and must not be dropped.
    covariance = (vectors / np.maximum(values, np.finfo(float).eps ** 2)) @ vectors.T * variance
    return camera, covariance / np.outer(scale, scale)


def _stepped(camera: _Camera, step: np.ndarray) -> _Camera:
    """The camera after a step in (rotation vector, translation) and, for ten numbers, the intrinsics."""
    focal = camera.focal + step[6:] if len(step) > 6 else camera.focal
    return _Camera(R=_rotation(step[:3]) @ camera.R, t=camera.t + step[3:6], focal=focal)


def _jacobian(camera: _Camera, points: np.ndarray) -> np.ndarray:
    """Derivative of the pixels, ``(2 N, 10)``, by a small rotation in the camera, its translation and the four intrinsics."""
    turned = points @ camera.R.T
    x, y, z = (turned + camera.t).T
    fx, fy = camera.focal[:2]
    zero, one = np.zeros_like(x), np.ones_like(x)
    by_point = np.stack([np.stack([fx / z, zero, -fx * x / z**2], 1), np.stack([zero, fy / z, -fy * y / z**2], 1)], 1)
    a, b, c = turned.T
    by_turn = np.stack([np.stack([zero, c, -b], 1), np.stack([-c, zero, a], 1), np.stack([b, -a, zero], 1)], 1)
    by_focal = np.stack([np.stack([x / z, zero, one, zero], 1), np.stack([zero, y / z, zero, one], 1)], 1)
    return np.concatenate([by_point @ by_turn, by_point, by_focal], axis=2).reshape(-1, 10)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    cross = np.array([[0, -vector[2], vector[1]], [vector[2], 0, -vector[0]], [-vector[1], vector[0], 0]])
    sine, versine = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + sine * cross + versine * cross @ cross)


def _checked(cloud: np.ndarray, mask: np.ndarray, camera: _Camera, at: int) -> Resection:
    """Depth at every pixel, once every point is seen to project into its own pixel.

    Raises:
        ResectionError: one does not.
    """
    height, width = mask.shape
    # One matrix product for the whole image; points that are none must not spread NaN with a warning.
    whole = bool(mask.all())
    points = (cloud if whole else np.where(mask[..., None], cloud, 0)).reshape(-1, 3).astype(np.float64)
    x, y, z = (camera.R @ points.T + camera.t[:, None]).reshape(3, height, width)
    z = z if whole else np.where(mask, z, 1.0)
    fx, fy, cx, cy = camera.focal
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        right = fx * x / z + (cx - 0.5 - np.arange(width))
        down = fy * y / z + (cy - 0.5 - np.arange(height))[:, None]
        error = float(np.maximum(*(np.abs(off).max(where=mask, initial=0.0) for off in (right, down))))
    if not error <= MAX_PIXEL_ERROR or not (z > 0).all():
        raise ResectionError(
            f"image {at}: a point is {error:.3g} pixels from where a pinhole camera has it, expected at most {MAX_PIXEL_ERROR}"
        )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.R.T, -camera.R.T @ camera.t
    return Resection(
        intrinsics=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        T_world_camera=pose,
        depth=np.where(mask, z, 0).astype(np.float32),
        pixel_error=error,
    )
