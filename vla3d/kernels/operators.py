"""Registering an operation with torch: its kernel, its torch twin, the shapes of its results, its gradient."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch

NAMESPACE = "vla3d"
_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_reference_only = os.environ.get("VLA3D_KERNELS") == "reference"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operation.

    Attributes:
        schema: name, arguments and results as torch writes them, for example ``"fps(Tensor points, int k) -> Tensor"``.
        kernel: computes it with Warp, on CPU and CUDA.
        reference: computes the same with plain torch, anywhere.
        fake: results without values, for tracing.
        save: ``save(ctx, inputs, output)`` keeps what the gradient needs; None for an operation without gradient.
        backward: ``backward(ctx, *gradients)`` gives one gradient for each argument.
    """

    schema: str
    kernel: Callable[..., Any]
    reference: Callable[..., Any]
    fake: Callable[..., Any]
    save: Callable[..., None] | None = None
    backward: Callable[..., Any] | None = None


def register(operator: Operator) -> Any:
    """Make an operation known to torch.

    Returns:
        What to call it by: the overload ``torch.ops.vla3d.<name>.default``.
    """
    name = operator.schema.split("(", 1)[0]
    _library.define(operator.schema)
    chosen = _choosing(operator)
    for backend in ("CPU", "CUDA"):
        _library.impl(name, chosen, backend)
    _library.impl(name, operator.reference, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", operator.fake, lib=_library)
    if operator.backward is not None:
        torch.library.register_autograd(f"{NAMESPACE}::{name}", operator.backward, setup_context=operator.save, lib=_library)
    return getattr(getattr(torch.ops, NAMESPACE), name).default


def _choosing(operator: Operator) -> Callable[..., Any]:
    @wraps(operator.kernel)
    def run(*arguments: Any) -> Any:
        # Kernels compute in single precision; double is for checking gradients, where speed does not matter.
        double = any(isinstance(argument, torch.Tensor) and argument.dtype == torch.float64 for argument in arguments)
        return operator.reference(*arguments) if _reference_only or double else operator.kernel(*arguments)

    return run


@contextmanager
def reference_kernels() -> Iterator[None]:
    """Compute everything with plain torch for a while, to compare; ``VLA3D_KERNELS=reference`` does so for a whole process."""
    global _reference_only
    before, _reference_only = _reference_only, True
    try:
        yield
    finally:
        _reference_only = before
