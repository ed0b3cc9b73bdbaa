"""Launching Warp kernels on torch tensors."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from vla3d.kernels.warp_runtime import load_warp

Argument = Tensor | int | float | tuple[float, ...]


def launch(kernel: Any, threads: int | tuple[int, ...], *arguments: Argument, block: int | None = None) -> None:
    """Run a Warp kernel on the device, and on CUDA in the current stream, of its first tensor argument.

    Tensors are handed over without a copy, as the array type that the kernel declares: ``(..., 3)`` float tensors become arrays
    of ``vec3``, int64 tensors arrays of ``uint64`` where the kernel says so (torch has no unsigned arithmetic). Nothing waits
    for the kernel to end.

    Args:
        kernel: a ``warp.kernel``.
        threads: size of the grid; nothing happens when it is empty.
        arguments: one for each parameter of the kernel. Tensors must be contiguous and on one device.
        block: for a kernel whose threads work together: this many on CUDA, one on a CPU, as the grid's last dimension.
    """
    wp = load_warp()
    grid = (threads,) if isinstance(threads, int) else threads
    if 0 in grid:
        return
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    inputs = [
        _array(wp, argument, parameter.type) if isinstance(argument, Tensor) else argument
        for argument, parameter in zip(arguments, kernel.adj.args, strict=True)
    ]
    cooperating = {} if block is None else {"block_dim": block}
    if block is not None:
        grid = (*grid, block if device.type == "cuda" else 1)
    stream = wp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None
    wp.launch(kernel, dim=grid, inputs=inputs, device=wp.device_from_torch(device), stream=stream, **cooperating)


def _array(wp: ModuleType, tensor: Tensor, declared: Any) -> Any:
    """A tensor as an argument of the declared array type.

    Warp refuses to wrap an empty tensor of vectors, whose strides it cannot tell; a kernel never reads one, so it gets an empty
    array of its own.
    """
    if tensor.numel() == 0:
        return wp.empty(shape=(0,) * declared.ndim, dtype=declared.dtype, device=wp.device_from_torch(tensor.device))
    # The bare descriptor: building a full array object takes several times as long.
    return wp.from_torch(tensor.detach(), dtype=declared.dtype, return_ctype=True, requires_grad=False)
