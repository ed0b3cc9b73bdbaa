"""Launching Warp kernels on torch tensors."""

import ctypes
from functools import lru_cache
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
        _array(argument, parameter.type) if isinstance(argument, Tensor) else argument
        for argument, parameter in zip(arguments, kernel.adj.args, strict=True)
    ]
    cooperating = {} if block is None else {"block_dim": block}
    if block is not None:
        grid = (*grid, block if device.type == "cuda" else 1)
    stream = wp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None
    wp.launch(kernel, dim=grid, inputs=inputs, device=wp.device_from_torch(device), stream=stream, **cooperating)


def _array(tensor: Tensor, declared: Any) -> ctypes.Structure:
    """A tensor as an argument of the declared array type: Warp's descriptor of its layout, and where it lies."""
    layout = _layout(tensor.shape, tensor.stride(), tensor.dtype, declared.dtype, declared.ndim)
    array = type(layout).from_buffer_copy(layout)
    array.data = tensor.data_ptr()
    return array


@lru_cache(maxsize=4096)
def _layout(shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype, element: Any, dimensions: int) -> Any:
    """Warp's descriptor of an array that lies nowhere.

    Kept, since Warp takes longer to make one than a small kernel runs. It says nothing that is not among the arguments, and
    holds no memory.
    """
    wp = load_warp()
    if 0 in shape:
        # Warp refuses to wrap an empty tensor of vectors, whose strides it cannot tell; a kernel never reads one.
        return wp.empty(shape=(0,) * dimensions, dtype=element, device="cpu").__ctype__()
    nowhere = torch.empty_strided(shape, strides, dtype=dtype, device="meta")
    return wp.from_torch(nowhere, dtype=element, return_ctype=True, requires_grad=False)
