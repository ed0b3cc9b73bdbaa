"""Clouds of coloured cubes with a sentence: the smallest data on which a keyframe policy must follow the instruction."""

import math

import numpy as np
import torch

from vla3d.policies.bridgevla.processor import PreparedSample
from vla3d.types import KeyframeAction

COLORS = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 70, 220),
    "yellow": (235, 215, 40),
    "purple": (140, 50, 170),
    "cyan": (40, 200, 210),
    "orange": (240, 130, 20),
    "white": (240, 240, 240),
}
TEMPLATES = ("pick up the {} cube", "grasp the {} block", "lift the {} cube off the table", "take the {} block")
LOW, HIGH = (0.2, -0.4, 0.0), (0.8, 0.4, 0.5)
HALF = 0.02


def _cube_points(rng: np.random.Generator, center: np.ndarray, yaw: float, count: int) -> np.ndarray:
    points = rng.uniform(-HALF, HALF, (count, 3))
    face = rng.integers(0, 5, count)
    points[face == 0, 2] = HALF
    for index, (axis, side) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)], start=1):
        points[face == index, axis] = side * HALF
    cos, sin = math.cos(yaw), math.sin(yaw)
    return points @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T + center


def _spread_places(rng: np.random.Generator, count: int) -> np.ndarray:
    while True:
        places = rng.uniform((0.3, -0.25), (0.6, 0.25), (count, 2))
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(count)
        if apart.min() > 0.09:
            return places


def top_down(yaw: float) -> np.ndarray:
    """Tool pointing down, fingers opening along the world's y axis turned by ``yaw``; wxyz."""
    return np.array([0.0, math.cos(yaw / 2), math.sin(yaw / 2), 0.0])


def toy_cubes(rng: np.random.Generator, num_cubes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours, places on the table and yaws of cubes; the first is the one that is named."""
    names = rng.choice(list(COLORS), num_cubes, replace=False)
    return names, _spread_places(rng, num_cubes), rng.uniform(-math.pi / 4, math.pi / 4, num_cubes)


def toy_sample(seed: int, num_cubes: int = 3, points_per_cube: int = 250) -> PreparedSample:
    """One scene: hover over the named cube when the hand is away (stage 0), close on it when it hovers (stage 1)."""
    rng = np.random.default_rng(seed)
    names, places, yaws = toy_cubes(rng, num_cubes)
    points, colors = [], []
    for name, place, yaw in zip(names, places, yaws, strict=True):
        center = np.array([*place, HALF])
        points.append(_cube_points(rng, center, yaw, points_per_cube))
        shade = rng.uniform(0.7, 1.0, (points_per_cube, 1))
        colors.append(np.array(COLORS[str(name)]) * shade)
    stage = int(rng.integers(2))
    target = np.array([*places[0], 0.12 if stage == 0 else HALF])
    hand = np.array([*places[0], 0.2]) if stage else np.array([0.4, 0.0, 0.4])
    points.append(hand + rng.uniform((-0.02, -0.1, 0), (0.02, 0.1, 0.1), (300, 3)))
    colors.append(np.full((300, 3), 90.0))
    return PreparedSample(
        points=torch.tensor(np.concatenate(points), dtype=torch.float32),
        colors=torch.tensor(np.concatenate(colors)).round().to(torch.uint8),
        proprioception=(1.0, 1.0, stage / 2),
        sentences=tuple(template.format(names[0]) for template in TEMPLATES),
        action=KeyframeAction(
            position=target, quaternion=top_down(yaws[0]), gripper_open=stage == 0, ignore_collisions=stage == 1
        ),
    )


def toy_sentences() -> list[str]:
    """Every sentence a toy scene can come with."""
    return [template.format(color) for template in TEMPLATES for color in COLORS]
