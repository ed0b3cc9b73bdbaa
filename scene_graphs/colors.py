"""Colours as people tell them apart: CIELAB, and names."""

import numpy as np
from jaxtyping import Float

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.82, 0.06, 0.08),
    "orange": (1.00, 0.46, 0.04),
    "yellow": (0.95, 0.88, 0.10),
    "green": (0.10, 0.56, 0.14),
    "cyan": (0.15, 0.85, 0.88),
    "blue": (0.08, 0.18, 0.82),
    "purple": (0.46, 0.10, 0.62),
    "pink": (1.00, 0.50, 0.76),
    "brown": (0.36, 0.27, 0.20),
    "black": (0.06, 0.06, 0.06),
    "gray": (0.50, 0.50, 0.50),
    "white": (0.96, 0.96, 0.96),
}
"""Names of colours and the sRGB that each stands for."""

_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE = _XYZ.sum(axis=1)


def lab(rgb: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """CIELAB (D65) of sRGB in [0, 1]: lightness from 0 to 100, then green to red and blue to yellow (CIE 15:2004)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0.0) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def color_name(rgb: Float[np.ndarray, "3"]) -> str:
    """The palette's nearest name, lightness counting a third of the rest, because shading changes it."""
    weights = np.array([1 / 3, 1.0, 1.0])
    away = (lab(np.array(list(PALETTE.values()))) - lab(np.asarray(rgb, dtype=np.float64)[None])) * weights
    return list(PALETTE)[int(np.linalg.norm(away, axis=1).argmin())]
