"""The colours that sentences name, and those of everything that no sentence names."""

from collections.abc import Sequence

import numpy as np

Rgb = tuple[float, float, float]

COLORS: dict[str, Rgb] = {
    "red": (0.82, 0.06, 0.08),
    "orange": (1.00, 0.46, 0.04),
    "yellow": (0.95, 0.88, 0.10),
    "green": (0.10, 0.56, 0.14),
    "cyan": (0.15, 0.85, 0.88),
    "blue": (0.08, 0.18, 0.82),
    "purple": (0.46, 0.10, 0.62),
    "pink": (1.00, 0.50, 0.76),
}
"""Named object colours (sRGB in [0, 1]): any two differ by 30 CIELAB units or more, and each from the neutral ones too."""

COLOR_NAMES: tuple[str, ...] = tuple(COLORS)

TABLE: Rgb = (0.58, 0.56, 0.53)
FLOOR: Rgb = (0.16, 0.17, 0.18)
CABINET: Rgb = (0.36, 0.27, 0.20)
BUTTON_COLLAR: Rgb = (0.20, 0.20, 0.22)
BUTTON_PRESSED: Rgb = (0.96, 0.96, 0.96)
NEUTRAL: tuple[Rgb, ...] = (TABLE, FLOOR, CABINET, BUTTON_COLLAR, BUTTON_PRESSED)


def color_index(name: str) -> int:
    """Position of a colour in ``COLOR_NAMES``, which is the variation that names it."""
    return COLOR_NAMES.index(name)


def distinct_colors(rng: np.random.Generator, count: int, include: Sequence[int]) -> list[int]:
    """Draw ``count`` different colours that contain ``include``, those first.

    Args:
        rng: source of the choice.
        count: how many indices into ``COLOR_NAMES`` to return.
        include: indices that must be among them.
    """
    rest = [index for index in range(len(COLOR_NAMES)) if index not in include]
    drawn = rng.choice(rest, size=count - len(include), replace=False)
    return [*include, *(int(index) for index in drawn)]
