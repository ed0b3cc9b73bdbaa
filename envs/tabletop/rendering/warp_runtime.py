"""Starting NVIDIA Warp without a word on the terminal."""

import contextlib
import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

from vla3d.errors import ConfigError


def load_warp(device: str) -> tuple[ModuleType, ModuleType]:
    """Import ``warp`` and ``mujoco_warp``, quietly, and check that the device is there.

    Args:
        device: a device name of ``warp``.

    Returns:
        The modules ``warp`` and ``mujoco_warp``.

    Raises:
        ConfigError: when this machine has no such device.
    """
    warp = importlib.import_module("warp")
    # Raised only: a caller who asked for more silence keeps it.
    warp.config.log_level = max(warp.config.log_level, warp.LOG_WARNING)
    # Without an NVIDIA driver the native library says so on stderr, past every Python setting.
    with contextlib.nullcontext() if _has_cuda_driver() else _silenced_stderr():
        warp.init()
    names = ["cpu", *(str(known) for known in warp.get_cuda_devices())]
    if device not in names and not (device == "cuda" and len(names) > 1):
        raise ConfigError(f"Warp has no device {device!r} on this machine. Devices: {', '.join(names)}.")
    return warp, importlib.import_module("mujoco_warp")


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
