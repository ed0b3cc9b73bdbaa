"""Losses against loops, hand-made cases and their gradients."""

import math

import pytest
import torch

from vla3d.errors import ConfigError
from vla3d.scene_graphs.objectives.contrastive import Temperature, info_nce, symmetric_info_nce
from vla3d.scene_graphs.objectives.masking import draw_mask, masked_cross_entropy, masked_mean


def brute_force(logits: torch.Tensor, positives: torch.Tensor, candidates: torch.Tensor) -> float:
    rows = []
    for row in range(len(logits)):
        right = [c for c in range(logits.shape[1]) if positives[row, c]]
        compared = [c for c in range(logits.shape[1]) if positives[row, c] or candidates[row, c]]
        if not right:
            continue
        total = sum(math.exp(float(logits[row, c])) for c in compared)
        rows.append(-sum(math.log(math.exp(float(logits[row, c])) / total) for c in right) / len(right))
    return sum(rows) / len(rows) if rows else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_contrast_is_what_a_loop_says(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(6, 5, generator=generator)
    positives = torch.rand(6, 5, generator=generator) < 0.3
    positives[2] = False
    candidates = torch.rand(6, 5, generator=generator) < 0.5
    rows = brute_force(logits, positives, candidates)
    columns = brute_force(logits.T, positives.T, candidates.T)
    assert float(info_nce(logits, positives, candidates)) == pytest.approx(rows, rel=1e-5)
    assert float(symmetric_info_nce(logits, positives, candidates)) == pytest.approx((rows + columns) / 2, rel=1e-5)


def test_contrast_by_hand() -> None:
    positives = torch.eye(2, dtype=torch.bool)
    assert float(info_nce(torch.zeros(2, 2), positives)) == pytest.approx(math.log(2))
    assert float(info_nce(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))) == pytest.approx(math.log(2))
    assert float(info_nce(50 * torch.eye(2), positives)) == pytest.approx(0.0, abs=1e-6)
    # A hard negative counts only where it is a candidate.
    logits = torch.tensor([[0.0, 10.0]])
    first = torch.tensor([[True, False]])
    assert float(info_nce(logits, first, torch.tensor([[True, False]]))) == pytest.approx(0.0)
    assert float(info_nce(logits, first)) == pytest.approx(10.0, abs=1e-3)


def test_contrast_pulls_positives_and_pushes_candidates_alone() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    positives = torch.tensor([[True, True, False, False]])
    info_nce(logits, positives, torch.tensor([[False, False, True, False]])).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-1 / 6, -1 / 6, 1 / 3, 0.0]]))


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0)])
def test_without_positives_the_loss_is_nothing_and_so_are_its_gradients(shape: tuple[int, int]) -> None:
    logits = torch.randn(shape, requires_grad=True)
    nothing = torch.zeros(shape, dtype=torch.bool)
    loss = symmetric_info_nce(logits, nothing, nothing)
    loss.backward()
    assert loss.item() == 0.0 and logits.grad is not None and not logits.grad.any()


def test_temperature_comes_back_from_beyond_its_range() -> None:
    temperature = Temperature(0.07, low=0.01, high=1.0).train()
    assert float(temperature(torch.tensor(1.0)).detach()) == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        temperature.log_factor.fill_(9.0)
    scaled = temperature(torch.tensor(1.0))
    scaled.backward()
    assert float(scaled.detach()) == pytest.approx(100.0, rel=1e-4)
    assert temperature.log_factor.grad is not None and float(temperature.log_factor.grad) == pytest.approx(100.0, rel=1e-4)
    assert "log_factor" in temperature.state_dict()
    with pytest.raises(ConfigError, match="rising numbers"):
        Temperature(2.0)


def test_masked_words_are_judged_alone() -> None:
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.arange(10).reshape(2, 5) % 7
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 1] = mask[1, 4] = True
    loss = masked_cross_entropy(logits, targets, mask)
    expected = sum(-float(logits[row, t].detach().log_softmax(0)[targets[row, t]]) for row, t in ((0, 1), (1, 4))) / 2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=-1) > 0).equal(mask)
    empty = masked_cross_entropy(logits, targets, torch.zeros_like(mask))
    assert empty.item() == 0.0 and empty.requires_grad


def test_masked_mean_ignores_what_is_not_masked() -> None:
    values = torch.tensor([1.0, float("nan"), 3.0, float("inf")])
    assert float(masked_mean(values, torch.tensor([True, False, True, False]))) == 2.0
    assert float(masked_mean(values, torch.zeros(4, dtype=torch.bool))) == 0.0


def test_masks_are_drawn_of_what_may_be_masked() -> None:
    eligible = torch.rand(200, 30, generator=torch.Generator().manual_seed(0)) < 0.7
    eligible[0], eligible[1] = False, False
    eligible[1, 3] = True
    drawn = draw_mask(eligible, 0.2, torch.Generator().manual_seed(1))
    assert not (drawn & ~eligible).any()
    assert drawn.any(dim=1).equal(eligible.any(dim=1)) and bool(drawn[1, 3])
    assert 0.18 < drawn.sum() / eligible.sum() < 0.22
    assert drawn.equal(draw_mask(eligible, 0.2, torch.Generator().manual_seed(1)))
    assert not drawn.equal(draw_mask(eligible, 0.2, torch.Generator().manual_seed(2)))
    scarce = draw_mask(eligible, 1e-9, torch.Generator().manual_seed(3))
    assert (scarce.sum(dim=1) == eligible.any(dim=1)).all()
