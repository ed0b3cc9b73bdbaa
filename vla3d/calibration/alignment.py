"""Which camera is wrong: each in turn is moved until it agrees with the others, and the move that explains the most is named.

Point-to-plane alignment (Chen and Medioni 1991) with projective matches, one rigid correction in the camera's own frame for all
instants, so that a camera on a moving hand is corrected in its mount.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.calibration.camera_set import CameraSet
from vla3d.calibration.consistency import FEWEST_POINTS, Matches, match
from vla3d.calibration.surfaces import Surface, surface_of
from vla3d.geometry import axis_angle_to_matrix, geodesic_angle, make_transform

_ITERATIONS = 12
_MOST_INSTANTS = 3
_FEWEST_FACING = 30
_MOST_POINTS = 1500
# Residuals beyond this count less and less: metres, first generous, then as small as a good depth camera's noise.
_SCALES = (0.08, 0.003)
_DAMPING = 1e-4
# A single camera is named when moving it leaves at most this share of the disagreement, ...
_EXPLAINED = 0.5
# ... and moving any other leaves at least so many times more.
_CLEARLY = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """What moving one camera achieves.

    Attributes:
        camera: its name.
        shift_mm, turn_degrees: length and angle of the move, in the camera's frame.
        moved_mm: how far that moves what the camera sees, on average.
        T_camera_corrected: the move; ``T_world_camera @ T_camera_corrected`` is the better calibration.
        before_mm, after_mm: median distance of matched surfaces, the mean over all pairs of cameras.
    """

    camera: str
    shift_mm: float
    turn_degrees: float
    moved_mm: float
    T_camera_corrected: Float[Tensor, "4 4"]
    before_mm: float
    after_mm: float


def corrections(cameras: CameraSet) -> list[Correction]:
    """The best move of each camera while the others stay, the one that explains the most first."""
    every = max(1, math.ceil(len(cameras.instants) / _MOST_INSTANTS))
    alignment = _Alignment(CameraSet(instants=cameras.instants[::every]))
    return sorted(map(alignment.correction, range(len(cameras.names))), key=lambda one: one.after_mm)


def guilty(found: Sequence[Correction], *, least_mm: float) -> Correction | None:
    """The one camera whose move explains the disagreement; None when there is none, or two would do.

    Args:
        found: what `corrections` answered; with two cameras either could be wrong.
        least_mm: a move of what the camera sees by less than this is none.
    """
    if len(found) < 3:
        return None
    best, next_best = found[0], found[1]
    explained = best.after_mm <= _EXPLAINED * best.before_mm and next_best.after_mm >= _CLEARLY * best.after_mm
    return best if explained and best.moved_mm > least_mm else None


class _Alignment:
    """The cameras as they are, and each of them moved."""

    def __init__(self, cameras: CameraSet) -> None:
        self._cameras = cameras
        self._surfaces = [[surface_of(frame) for frame in frames.values()] for frames in cameras.instants]
        self._misfits = {
            (first, second): _misfit(self._surfaces, first, second)
            for first, second in combinations(range(len(cameras.names)), 2)
        }

    def correction(self, number: int) -> Correction:
        """The best move of one camera and what it achieves."""
        move = self._best_move(number)
        moved = [
            [*instant[:number], mine, *instant[number + 1 :]]
            for instant, mine in zip(self._surfaces, self._moved(number, move), strict=True)
        ]
        after = {pair: _misfit(moved, *pair) if number in pair else misfit for pair, misfit in self._misfits.items()}
        away = [
            (mine[number].points - instant[number].points)[instant[number].smooth].norm(dim=-1)
            for mine, instant in zip(moved, self._surfaces, strict=True)
        ]
        return Correction(
            camera=self._cameras.names[number],
            shift_mm=1000 * float(move[:3, 3].norm()),
            turn_degrees=math.degrees(float(geodesic_angle(torch.eye(3, dtype=move.dtype), move[:3, :3]))),
            moved_mm=1000 * float(torch.cat(away).mean()),
            T_camera_corrected=move,
            before_mm=1000 * _mean(self._misfits.values()),
            after_mm=1000 * _mean(after.values()),
        )

    def _best_move(self, number: int) -> Float[Tensor, "4 4"]:
        """The move of one camera that brings it closest to the others."""
        move = torch.eye(4, dtype=torch.float64)
        for iteration in range(_ITERATIONS):
            scale = _SCALES[0] * (_SCALES[1] / _SCALES[0]) ** (iteration / (_ITERATIONS - 1))
            matrix, right = move.new_zeros(6, 6), move.new_zeros(6)
            for instant, mine in zip(self._surfaces, self._moved(number, move), strict=True):
                for other in (surface for index, surface in enumerate(instant) if index != number):
                    for one, two, moving in ((mine, other, 1), (other, mine, -1)):
                        share = _normal_equations(match(one, two, _MOST_POINTS), mine, moving, scale)
                        matrix, right = matrix + share[0], right + share[1]
            damped = matrix + _DAMPING * (matrix.trace() / 6 + 1e-9) * torch.eye(6, dtype=move.dtype)
            step = torch.linalg.solve(damped, right)
            move = move @ make_transform(axis_angle_to_matrix(step[:3]), step[3:])
        return move

    def _moved(self, number: int, move: Float[Tensor, "4 4"]) -> list[Surface]:
        """One camera's surface at each instant, after a move in its own frame."""
        name = self._cameras.names[number]
        return [
            surface_of(frames[name], instant[number].T_world_camera @ move)
            for frames, instant in zip(self._cameras.instants, self._surfaces, strict=True)
        ]


def _normal_equations(matches: Matches, mine: Surface, moving: int, scale: float) -> tuple[Tensor, Tensor]:
    """A share of one Gauss-Newton step, with Geman-McClure weights.

    Args:
        matches: of the camera that is moved and another one.
        mine: the surface of the camera that is moved.
        moving: 1 when its points are compared with the other's, -1 when the other's are compared with it.
        scale: of the weights, metres.
    """
    rotation = mine.T_world_camera[:3, :3]
    points = matches.points if moving == 1 else matches.points - matches.offset
    residual = (matches.normals * matches.offset).sum(-1)
    normals = matches.normals @ rotation
    jacobian = moving * torch.cat((torch.linalg.cross((points - mine.center) @ rotation, normals, dim=-1), normals), dim=-1)
    weights = (scale**2 / (scale**2 + residual**2)) ** 2
    weights = weights * _balance(matches.normals)
    return jacobian.T @ (weights[:, None] * jacobian), -jacobian.T @ (weights * residual)


def _balance(normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """Weights with which the six directions that surfaces face count alike (Rusinkiewicz and Levoy 2001, section 3.1).

    The table alone holds most points, and they do not tell whether a camera is shifted along it. Pairs of cameras count alike
    too.
    """
    along = normals.abs().argmax(-1)
    facing = 2 * along + (normals.gather(-1, along[:, None])[:, 0] > 0)
    return 1 / torch.bincount(facing, minlength=6)[facing].clamp(min=_FEWEST_FACING).to(normals.dtype)


def _misfit(instants: Sequence[Sequence[Surface]], first: int, second: int) -> float:
    """Median distance from surface to surface, metres; NaN where too little is common."""
    both = [match(one[a], one[b]) for one in instants for a, b in ((first, second), (second, first))]
    distance = torch.cat([(matches.normals * matches.offset).sum(-1).abs() for matches in both])
    return float(distance.median()) if len(distance) >= FEWEST_POINTS else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0
