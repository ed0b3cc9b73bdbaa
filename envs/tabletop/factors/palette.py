"""Colours that no training scene shows. The laws between them and the training colours are tested (CIELAB distances)."""

from vla3d.envs.tabletop.colors import Rgb

SHADES: dict[str, tuple[Rgb, Rgb]] = {
    "red": ((0.60, 0.02, 0.10), (0.95, 0.22, 0.18)),
    "orange": ((0.86, 0.36, 0.02), (1.00, 0.58, 0.20)),
    "yellow": ((0.84, 0.76, 0.02), (1.00, 0.95, 0.42)),
    "green": ((0.04, 0.40, 0.10), (0.24, 0.70, 0.26)),
    "cyan": ((0.06, 0.70, 0.76), (0.50, 0.93, 0.95)),
    "blue": ((0.04, 0.16, 0.70), (0.20, 0.32, 0.95)),
    "purple": ((0.34, 0.05, 0.48), (0.60, 0.24, 0.76)),
    "pink": ((0.90, 0.36, 0.64), (1.00, 0.64, 0.84)),
}
"""A darker and a lighter shade of each named colour, which still has its name: it is nearer to it than to any other."""

UNSEEN: dict[str, Rgb] = {
    "brown": (0.50, 0.22, 0.04),
    "lime": (0.62, 1.00, 0.05),
    "magenta": (0.90, 0.02, 0.62),
    "navy": (0.02, 0.03, 0.30),
    "olive": (0.42, 0.42, 0.02),
    "teal": (0.00, 0.45, 0.45),
    "lavender": (0.74, 0.66, 1.00),
    "mint": (0.62, 0.98, 0.72),
}
"""Colours of other names: as many as the training colours, and as far from them and each other."""

FURNITURE: tuple[Rgb, ...] = ((0.80, 0.76, 0.66), (0.17, 0.13, 0.11), (0.32, 0.35, 0.39), (0.55, 0.40, 0.27))
"""Colours of furniture: cream, ebony, slate, oak."""

TABLES: tuple[Rgb, ...] = ((0.36, 0.24, 0.15), (0.82, 0.78, 0.70), (0.27, 0.30, 0.33), (0.33, 0.38, 0.31), (0.50, 0.37, 0.40))
"""Colours of tables: walnut, cream, slate, sage, mauve."""

FLOORS: tuple[Rgb, ...] = ((0.45, 0.33, 0.22), (0.62, 0.62, 0.60), (0.22, 0.30, 0.38), (0.40, 0.22, 0.20))
"""Colours of floors: parquet, concrete, carpet, tiles."""
