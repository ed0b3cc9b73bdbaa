"""Colours that a sentence names can be told apart."""

from itertools import combinations

import numpy as np
import pytest

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, NEUTRAL, Rgb, distinct_colors


def lab(rgb: Rgb) -> np.ndarray:
    """CIELAB (D65) of an sRGB colour."""
    srgb = np.asarray(rgb)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    scaled = xyz / [0.9505, 1.0, 1.089]
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_at_least_eight_colors_well_apart() -> None:
    assert len(COLORS) >= 8
    for (first, one), (second, other) in combinations(COLORS.items(), 2):
        assert np.linalg.norm(lab(one) - lab(other)) >= 30, (first, second)


@pytest.mark.parametrize("name", COLOR_NAMES)
def test_no_color_looks_like_the_room_or_the_robot(name: str) -> None:
    robot = [(0.90, 0.90, 0.88), (0.62, 0.63, 0.65), (0.17, 0.17, 0.19)]
    for neutral in [*NEUTRAL, *robot]:
        assert np.linalg.norm(lab(COLORS[name]) - lab(neutral)) >= 30


def test_distinct_colors_keeps_what_must_be_there() -> None:
    for seed in range(50):
        drawn = distinct_colors(np.random.default_rng(seed), 4, [5])
        assert drawn[0] == 5 and len(set(drawn)) == 4 and set(drawn) <= set(range(len(COLOR_NAMES)))
