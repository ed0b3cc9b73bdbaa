"""Batches arrive in order, errors arrive where the batch is asked for, helpers stop."""

import threading
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from toy_model import ToyData, ToyModel

from vla3d.training.loader import open_batches, to_device

WAYS = [{"num_workers": 0, "prefetch": 0}, {"num_workers": 0, "prefetch": 3}, {"num_workers": 2, "prefetch": 2}]


@pytest.mark.parametrize("way", WAYS)
def test_batches_come_in_the_order_asked_for(way: dict[str, int]) -> None:
    indices = [[3, 1], [4, 4], [0, 2], [9, 8], [7, 6]]
    model = ToyModel()
    state = torch.get_rng_state()
    with open_batches(ToyData(10), indices, model.collate, **way) as source:
        assert [batch["index"].tolist() for batch in source] == indices
    assert torch.equal(torch.get_rng_state(), state), "loading must not draw on the global generator"


@pytest.mark.parametrize("way", WAYS[:2])
def test_an_error_surfaces_at_its_batch(way: dict[str, int]) -> None:
    with open_batches(ToyData(4), [[0], [1], [99], [2]], ToyModel().collate, **way) as source:
        batches = iter(source)
        assert [next(batches)["index"].tolist() for _ in range(2)] == [[0], [1]]
        with pytest.raises(IndexError):
            next(batches)


def test_the_thread_stops_when_nobody_listens() -> None:
    with open_batches(ToyData(4), iter(lambda: [0], None), ToyModel().collate, num_workers=0, prefetch=2) as source:
        next(iter(source))
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]


class Pair(NamedTuple):
    first: Tensor
    second: str


@dataclass(frozen=True)
class Nested:
    tensors: dict[str, Tensor]
    pair: Pair
    names: tuple[str, ...]


def test_to_device_reaches_every_tensor() -> None:
    batch = Nested({"a": torch.ones(2)}, Pair(torch.zeros(1), "x"), ("n",))
    moved = to_device([batch, 3], torch.device("meta"))
    assert moved[1] == 3
    assert moved[0].tensors["a"].device.type == "meta" and moved[0].pair.first.device.type == "meta"
    assert moved[0].names == ("n",) and moved[0].pair.second == "x"
