"""Kernels that need thread-block clusters (CUDA, compute capability 9.0: H100 and later), and the switch that turns them on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_on = os.environ.get("VLA3D_CLUSTER_KERNELS") == "1"
_LEAST_CAPABILITY = (9, 0)


def uses_clusters(device: torch.device) -> bool:
    """Whether an operation on this device should take its cluster kernel, where it has one."""
    return _on and device.type == "cuda" and torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


@contextmanager
def cluster_kernels() -> Iterator[None]:
    """Use cluster kernels for a while; ``VLA3D_CLUSTER_KERNELS=1`` does so for a whole process.

    They are off otherwise: they were compiled, but never run on a GPU. `tests/kernels/test_kernels_gpu.py` compares them with
    the kernels that are used without them.
    """
    global _on
    before, _on = _on, True
    try:
        yield
    finally:
        _on = before
