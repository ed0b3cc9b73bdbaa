"""What RLBench hides in 8-bit RGB images: depth and object handles, 24 bits per pixel."""

import numpy as np
from jaxtyping import Float32, Int16, Int32, UInt8

DEPTH_CODES = 2**24
NO_OBJECT = DEPTH_CODES - 1
"""Handle of a pixel that shows no object."""


def depth_from_rgb(encoded: UInt8[np.ndarray, "H W 3"], near: float, far: float) -> Float32[np.ndarray, "H W"]:
    """Metres of a depth image, red the highest byte.

    ``near + d (far - near)`` with ``d = code / (2**24 - 1)``, evaluated in float64 and rounded once: float32 holds every code
    but not every step of the formula.

    Args:
        encoded: the image.
        near: distance of code 0, metres.
        far: distance of the largest code, metres.
    """
    share = _codes(encoded, (16, 8, 0)) / np.float64(DEPTH_CODES - 1)
    return (near + share * (far - near)).astype(np.float32)


def handles_from_rgb(encoded: UInt8[np.ndarray, "H W 3"]) -> Int32[np.ndarray, "H W"]:
    """Object handles of a mask image, red the lowest byte."""
    return _codes(encoded, (0, 8, 16))


def segmentation_from_handles(handles: Int32[np.ndarray, "H W"]) -> Int16[np.ndarray, "H W"]:
    """Handles as instance ids.

    What shows no object becomes 0, the background. So does a handle above 32767, which our int16 cannot hold; simulators
    number their objects from 0 and stay far below.
    """
    return np.where(handles > np.iinfo(np.int16).max, 0, handles).astype(np.int16)


def _codes(encoded: np.ndarray, shifts: tuple[int, int, int]) -> Int32[np.ndarray, "H W"]:
    red, green, blue = (encoded[..., channel].astype(np.int32) << shift for channel, shift in enumerate(shifts))
    return red | green | blue
