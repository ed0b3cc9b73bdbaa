"""How many pixels a point covers: said in pixels, in cube units, or in metres of the world."""

import math

from jaxtyping import Float
from torch import Tensor

_ALLOWANCE = 1 + 1e-6  # a radius of two pixels said in metres is two pixels, though the scale is rounded to float32
_LARGEST_RADIUS = 2.0  # the cube's edge

Scale = float | Float[Tensor, "scales"]  # one for all clouds, or one for each


def squared_radii(
    footprint: int | None, radius: float | None, radius_metres: float | None, scale: Scale | None, resolution: int
) -> list[int]:
    """Largest squared length of a pixel offset that the disc of a point holds: one number, or one for each cloud.

    The arguments are those of `vla3d.views.splat.render_views`.

    Raises:
        ValueError: when more than one size is given, or one that is too small or too large.
    """
    sizes = {"footprint": footprint, "radius": radius, "radius_metres": radius_metres}
    given = [f"{name} {size}" for name, size in sizes.items() if size is not None]
    if scale is not None and radius_metres is None:
        raise ValueError("scale: got one without radius_metres, expected both or neither; pixels and cube units need none.")
    if len(given) > 1:
        raise ValueError(f"{given[1].replace(' ', ': got ', 1)} beside {given[0]}, expected one of the two.")
    if radius is None and radius_metres is None:
        pixels = 1 if footprint is None else footprint
        if not 0 <= pixels <= resolution:
            raise ValueError(f"footprint: got {pixels}, expected 0 (one pixel) to {resolution} (the image's side), in pixels.")
        return [pixels * pixels]
    if radius is not None:
        if not 0 <= radius <= _LARGEST_RADIUS:
            raise ValueError(f"radius: got {radius}, expected 0 to 2 (the cube's edge), in cube units.")
        return [math.floor((radius * resolution / 2) ** 2)]
    assert radius_metres is not None
    pixels_each = [radius_metres * cube_units * resolution / 2 for cube_units in _checked(radius_metres, scale)]
    return [math.floor(pixels**2 * _ALLOWANCE) for pixels in pixels_each] or [0]  # no clouds, so any


def _checked(radius_metres: float, scale: Scale | None) -> list[float]:
    """Cube units that a metre has, as numbers."""
    if scale is None:
        raise ValueError(f"radius_metres: got {radius_metres} without scale, expected the cube units of a metre beside it.")
    scales = scale.tolist() if isinstance(scale, Tensor) else [scale]
    for cube_units in scales:
        if not 0 < cube_units < math.inf:
            raise ValueError(f"scale: got {cube_units}, expected a positive number of cube units a metre.")
        most = _LARGEST_RADIUS / cube_units
        if not 0 <= radius_metres <= most * _ALLOWANCE:
            raise ValueError(f"radius_metres: got {radius_metres}, expected 0 to {most:.6g} (the cube's edge), in metres.")
    return scales[:1] if len(set(scales)) == 1 else scales
