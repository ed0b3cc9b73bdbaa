"""Parameter groups, the schedule, clipping and the average."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy_model import ToyModel

from vla3d.errors import ConfigError
from vla3d.training.config import TrainerConfig
from vla3d.training.ema import Ema
from vla3d.training.optim import build_optimizer, clip_gradients, gradient_norm, learning_rate, undecayed_names


def test_norms_biases_and_embeddings_do_not_decay() -> None:
    model = ToyModel()
    decayed = {name for name, _ in model.named_parameters()} - undecayed_names(model)
    assert decayed == {"layers.0.weight", "head.weight"}


def test_the_groups_hold_every_trained_parameter_once() -> None:
    model = ToyModel()
    model.head.weight.requires_grad_(False)
    groups = build_optimizer(model, TrainerConfig(weight_decay=0.3)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)


def test_a_tied_embedding_is_one_parameter_without_decay() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(5, 4), "out": nn.Linear(4, 5, bias=False)})
    model["out"].weight = model["table"].weight
    groups = build_optimizer(model, TrainerConfig()).param_groups
    assert [len(group["params"]) for group in groups] == [1] and groups[0]["weight_decay"] == 0.0


def test_a_model_can_name_more() -> None:
    model = nn.Linear(3, 3)
    model.no_weight_decay = lambda: ["weight"]
    assert undecayed_names(model) == {"weight", "bias"}
    model.no_weight_decay = lambda: ["wieght"]
    with pytest.raises(ConfigError, match="wieght"):
        undecayed_names(model)


def test_an_all_frozen_model_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no trainable parameters"):
        build_optimizer(nn.Linear(2, 2).requires_grad_(False), TrainerConfig())


def test_schedule_by_hand() -> None:
    config = TrainerConfig(steps=110, warmup_steps=10, lr=2.0, final_lr=0.1)
    assert learning_rate(config, 0) == pytest.approx(0.2)
    assert learning_rate(config, 9) == pytest.approx(2.0)
    assert learning_rate(config, 10) == pytest.approx(2.0)
    assert learning_rate(config, 60) == pytest.approx(2.0 * 0.55)  # half way: mean of 1 and 0.1
    assert learning_rate(config, 110) == pytest.approx(0.2)
    assert learning_rate(TrainerConfig(steps=110, warmup_steps=10, lr=2.0, schedule="constant"), 100) == 2.0


def test_the_warm_up_begins_anew_when_weights_thaw() -> None:
    config = TrainerConfig(steps=110, warmup_steps=10, freeze_steps=60, lr=2.0, final_lr=0.1)
    plain = TrainerConfig(steps=110, warmup_steps=10, lr=2.0, final_lr=0.1)
    assert [learning_rate(config, step) for step in range(60)] == [learning_rate(plain, step) for step in range(60)]
    assert learning_rate(config, 60) == pytest.approx(2.0 * 0.55 * 0.1)
    assert learning_rate(config, 64) == pytest.approx(learning_rate(plain, 64) * 0.5)
    assert [learning_rate(config, step) for step in range(69, 110)] == [learning_rate(plain, step) for step in range(69, 110)]


@given(st.integers(1, 300), st.integers(0, 300), st.sampled_from(["cosine", "constant"]))
def test_learning_rate_stays_between_zero_and_peak(steps: int, warmup: int, schedule: str) -> None:
    config = TrainerConfig.from_mapping({"steps": steps, "warmup_steps": min(warmup, steps), "lr": 0.5, "schedule": schedule})
    rates = [learning_rate(config, step) for step in range(steps)]
    assert all(0.0 < rate <= 0.5 for rate in rates)
    after = rates[config.warmup :]
    assert after == sorted(after, reverse=True)


@given(st.floats(1e-3, 1e3), st.floats(1e-2, 1e2))
def test_clipping_equals_torchs(scale: float, limit: float) -> None:
    parameters = [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(5))]
    for parameter in parameters:
        parameter.grad = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) * scale
    mine = [parameter.grad.clone() for parameter in parameters]
    norm = gradient_norm(mine)
    clip_gradients(mine, norm, limit)
    theirs = nn.utils.clip_grad_norm_(parameters, limit)
    torch.testing.assert_close(norm, theirs)
    for own, parameter in zip(mine, parameters, strict=True):
        torch.testing.assert_close(own, parameter.grad, rtol=1e-4, atol=1e-6)


def test_ema_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    weights = [0.0, 1.0, 3.0, -2.0]
    nn.init.constant_(model.weight, weights[0])
    ema = Ema(model, decay=0.15)
    expected = 0.0
    for update, value in enumerate(weights[1:]):
        nn.init.constant_(model.weight, value)
        ema.update()
        decay = min(0.15, (1 + update) / (10 + update))  # 0.1, then 0.15
        expected = decay * expected + (1 - decay) * value
    assert ema.tensors()["weight"].item() == pytest.approx(expected)
    assert model.weight.item() == weights[-1]


def test_ema_swap_gives_back_the_same_bytes_even_after_an_error() -> None:
    model = ToyModel()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ema = Ema(model, decay=0.9)
    with torch.no_grad():
        ema.tensors()["head.bias"].fill_(math.pi)
    with pytest.raises(RuntimeError, match="inside"), ema.swapped():
        assert (model.head.bias == math.pi).all()
        raise RuntimeError("inside")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_ema_can_be_off() -> None:
    model = nn.Linear(1, 1)
    ema = Ema(model, decay=0.0)
    ema.update()
    assert ema.tensors() == {}
    with ema.swapped():
        pass
