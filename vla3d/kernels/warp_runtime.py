"""Starting NVIDIA Warp without a word on the terminal."""

import contextlib
import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType


@lru_cache(maxsize=1)
def load_warp() -> ModuleType:
    """Import ``warp`` and initialise it, quietly. It takes a quarter of a second, so it is left to the first who needs it."""
    warp = importlib.import_module("warp")
    # Raised only: a caller who asked for more silence keeps it.
    warp.config.log_level = max(warp.config.log_level, warp.LOG_WARNING)
    # Without an NVIDIA driver the native library says so on stderr, past every Python setting.
    with contextlib.nullcontext() if _has_cuda_driver() else _silenced_stderr():
        warp.init()
    return warp


def _has_cuda_driver() -> bool:
    for name in ("libcuda.so", "libcuda.so.1"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Send the process's stderr, native code included, to nowhere for a moment."""
    with contextlib.suppress(AttributeError, OSError):
        sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
