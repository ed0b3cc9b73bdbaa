"""How tensors are handed to Warp: as Warp itself would describe them, and without a trace of those handed over before."""

import gc
import weakref

import pytest
import torch
from torch import Tensor

from vla3d.kernels.launching import _array, _layout, launch
from vla3d.kernels.warp_runtime import load_warp

wp = load_warp()
TENSORS = {
    "numbers": (torch.arange(5.0), wp.float32, 1),
    "rows": (torch.rand(4, 6), wp.float32, 2),
    "points": (torch.rand(7, 3), wp.vec3, 1),
    "one point": (torch.rand(1, 3), wp.vec3, 1),
    "unsigned": (torch.arange(4), wp.uint64, 1),
    "cells": (torch.zeros(2, 3, dtype=torch.int32), wp.vec3i, 1),
    "part of a tensor": (torch.rand(9, 3)[2:5], wp.vec3, 1),
    "with a gradient": (torch.rand(3, 3, requires_grad=True), wp.vec3, 1),
}


@wp.kernel(module="unique")
def copy(source: wp.array(dtype=float), target: wp.array(dtype=float)):
    i = wp.tid()
    target[i] = source[i]


@pytest.mark.parametrize("name", TENSORS)
def test_the_descriptor_is_that_of_warp(name: str) -> None:
    tensor, element, dimensions = TENSORS[name]
    expected = wp.from_torch(tensor.detach(), dtype=element, return_ctype=True, requires_grad=False)
    for _ in range(2):
        assert bytes(_array(tensor, wp.array(dtype=element, ndim=dimensions))) == bytes(expected)


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_empty_tensors_have_a_descriptor(shape: tuple[int, ...]) -> None:
    element = wp.float32 if len(shape) == 1 else wp.vec3
    array = _array(torch.empty(shape), wp.array(dtype=element, ndim=1))
    assert (array.ndim, array.shape[0]) == (1, 0)


@pytest.mark.parametrize(
    ("tensor", "element"),
    [(torch.zeros(4, dtype=torch.int32), wp.float32), (torch.zeros(4, 2), wp.vec3), (torch.zeros(4), wp.uint64)],
)
def test_what_does_not_fit_is_refused(tensor: Tensor, element: type) -> None:
    with pytest.raises(RuntimeError, match=r"Could not convert|Cannot convert"):
        _array(tensor, wp.array(dtype=element, ndim=1))


def test_tensors_of_one_layout_are_not_taken_for_each_other() -> None:
    for _ in range(3):
        source, target = torch.rand(50), torch.zeros(50)
        launch(copy, 50, source, target)
        assert torch.equal(source, target)


def test_sizes_may_change_with_every_call() -> None:
    source, target = torch.rand(60), torch.zeros(60)
    for size in (60, 7, 0, 31, 7):
        target.zero_()
        launch(copy, size, source[:size], target[:size])
        assert torch.equal(target[:size], source[:size]) and not target[size:].any()


def test_a_tensor_that_was_handed_over_can_die() -> None:
    source, target = torch.rand(12, 1).view(-1), torch.zeros(12)
    launch(copy, 12, source, target)
    alive = weakref.ref(source)
    del source
    gc.collect()
    assert alive() is None


def test_layouts_hold_no_memory() -> None:
    layout = _layout(torch.Size((1 << 30, 3)), (3, 1), torch.float32, wp.vec3, 1)  # twelve gigabytes, were it a tensor
    assert layout.data == 0 and not getattr(layout._ref, "is_cpu", False)
