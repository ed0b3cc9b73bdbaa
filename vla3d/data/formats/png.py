"""PNG files: pixels, and whether a file is whole without decoding it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

MOST_PIXELS = 2**25
"""More than any camera has; a few bytes of PNG can claim to be gigabytes of pixels."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "one channel", 2: "RGB", 3: "a palette", 4: "grey and alpha", 6: "RGB and alpha"}


class ImageRefusedError(ValueError):
    """An image is damaged or of another kind; the message is one clause that does not name the file."""


def png_size(path: Path) -> tuple[int, int]:
    """Rows and columns of an 8-bit RGB file, read from its head.

    Raises:
        OSError: the file cannot be read.
        ImageRefusedError: it is no such file.
    """
    with path.open("rb") as file:
        return _size(file.read(33))


def _size(head: bytes) -> tuple[int, int]:
    if len(head) < 33 or head[:8] != _SIGNATURE or head[12:16] != b"IHDR":
        raise ImageRefusedError("it is no PNG file, or cut short" if head else "it is empty")
    width, height, bits, colours = struct.unpack(">IIBB", head[16:26])
    if (bits, colours) != (8, 2):
        raise ImageRefusedError(
            f"it has {bits} bits of {_COLOUR_TYPES.get(colours, 'an unknown kind')}, expected 8 bits of RGB"
        )
    if not 0 < height * width <= MOST_PIXELS:
        raise ImageRefusedError(f"it has {width} x {height} pixels, expected 1 to {MOST_PIXELS} in all")
    return height, width


def read_rgb_png(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an 8-bit RGB file; every chunk has passed its checksum.

    Args:
        path: the file.
        size: rows and columns that it must have.

    Raises:
        OSError: the file cannot be read.
        ImageRefusedError: it is damaged, of another kind, or of another size.
    """
    content = _checked(path.read_bytes(), size)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return np.array(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, zlib.error and struct.error on damage
        raise ImageRefusedError(str(error) or type(error).__name__) from error


def check_png(path: Path, size: tuple[int, int]) -> None:
    """Look for damage without decoding, in a fraction of the time.

    Args:
        path: the file.
        size: rows and columns that it must have.

    Raises:
        OSError: the file cannot be read.
        ImageRefusedError: it is damaged, of another kind, or of another size.
    """
    _checked(path.read_bytes(), size)


def _checked(content: bytes, size: tuple[int, int]) -> bytes:
    found = _size(content[:33])
    if found != size:
        raise ImageRefusedError(f"it has {found[1]} x {found[0]} pixels, expected {size[1]} x {size[0]}")
    at = len(_SIGNATURE)
    while True:
        end = at + 8 + (struct.unpack_from(">I", content, at)[0] if len(content) >= at + 12 else 0)
        if len(content) < max(at + 12, end + 4):
            raise ImageRefusedError("it is cut short")
        if zlib.crc32(memoryview(content)[at + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise ImageRefusedError("a checksum does not match")
        if content[at + 4 : at + 8] == b"IEND":
            return content
        at = end + 4
