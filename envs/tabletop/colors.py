"""The colours that sentences name, and those of everything that no sentence names."""

from collections.abc import Sequence

import numpy as np

from vla3d.scene_graphs.colors import PALETTE

Rgb = tuple[float, float, float]

COLOR_NAMES: tuple[str, ...] = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
COLORS: dict[str, Rgb] = {name: PALETTE[name] for name in COLOR_NAMES}
"""Named object colours (sRGB in [0, 1]): any two differ by 30 CIELAB units or more, and each from the neutral ones too."""

TABLE: Rgb = (0.58, 0.56, 0.53)
FLOOR: Rgb = (0.16, 0.17, 0.18)
CABINET: Rgb = PALETTE["brown"]
BUTTON_COLLAR: Rgb = (0.20, 0.20, 0.22)
BUTTON_PRESSED: Rgb = PALETTE["white"]
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
