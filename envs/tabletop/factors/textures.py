"""Procedural textures: grey patterns that multiply a colour, so that a textured thing keeps its hue."""

import mujoco
import numpy as np
from jaxtyping import Float

_PIXELS = 64
_DARK = 0.45
PATTERNS: tuple[str, ...] = ("checker", "stripes", "dots", "noise")


def pattern(name: str, rng: np.random.Generator) -> Float[np.ndarray, "64 64"]:
    """A pattern in [0, 1] that repeats seamlessly.

    Args:
        name: one of ``PATTERNS``.
        rng: draws the number of periods, and the noise.
    """
    across = (np.arange(_PIXELS) + 0.5) / _PIXELS
    x, y = np.meshgrid(across, across)
    periods = int(rng.integers(2, 5))
    if name == "checker":
        return ((np.floor(2 * periods * x) + np.floor(2 * periods * y)) % 2).astype(np.float64)
    if name == "stripes":
        return (np.floor(2 * periods * (x + y)) % 2).astype(np.float64)
    if name == "dots":
        return (np.hypot(periods * x % 1 - 0.5, periods * y % 1 - 0.5) > 0.3).astype(np.float64)
    assert name == "noise", name
    spectrum = np.fft.rfft2(rng.normal(size=(_PIXELS, _PIXELS)))
    frequency = np.hypot(np.fft.fftfreq(_PIXELS)[:, None], np.fft.rfftfreq(_PIXELS)[None])
    rough = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / _PIXELS), s=(_PIXELS, _PIXELS))
    return (rough - rough.min()) / np.ptp(rough)


def add_material(spec: mujoco.MjSpec, name: str, grey: Float[np.ndarray, "64 64"], repeats: float) -> str:
    """Add a material with a pattern; a geom that has it shows its own colour, darkened by the pattern.

    Args:
        spec: the scene.
        name: of the material and of its texture.
        grey: from ``pattern``.
        repeats: how often the pattern repeats on each face.
    """
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=_PIXELS, height=_PIXELS, nchannel=3)
    levels = np.rint(255 * (_DARK + (1 - _DARK) * grey)).astype(np.uint8)
    texture.data = np.repeat(levels[..., None], 3, axis=-1).tobytes()
    material = spec.add_material(name=name, texrepeat=[repeats, repeats])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    return name
