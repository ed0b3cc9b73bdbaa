"""The contract, on every size and mask small enough to run, and the controls that must break it."""

from pathlib import Path

import pytest
import torch

from vla3d.backbones.base import ViewBackbone, ViewTokens
from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.backbones.contract import CHECKS, ContractViolation, Probe, check_agree
from vla3d.backbones.paligemma import PaliGemmaBackbone

SENTENCES = ["pick up the red block", "pick up the red bowl", "put the blue cylinder into the open drawer, please"]
PROBE = Probe(sentence=SENTENCES[0], other=SENTENCES[1], longer=SENTENCES[2])

VARIANTS: dict[str, dict[str, object]] = {
    "bidirectional": {},
    "bidirectional-eager": {"attention": "eager"},
    "bidirectional-proprio": {"proprio_dim": 4},
    "bidirectional-96/12": {"resolution": 96, "patch": 12, "num_views": 2},
    "bidirectional-paligemma2": {"size": "nano2"},
    "text-first": {"mask": "text_first_causal"},
    "text-first-eager-proprio": {"mask": "text_first_causal", "attention": "eager", "proprio_dim": 4},
    "text-first-paligemma2": {"size": "nano2", "mask": "text_first_causal"},
    "images-first": {"mask": "images_first_causal"},
    "images-first-eager-proprio": {"mask": "images_first_causal", "attention": "eager", "proprio_dim": 4},
}
# What a causal model cannot do. Listed here so that a variant which begins to pass (or to fail elsewhere) is noticed.
BROKEN: dict[str, set[str]] = {
    "text-first": {"last_view_reaches_first"},
    "images-first": {"last_word_reaches_views", "last_view_reaches_first", "refuses_unreadable_text"},
}


def build(**options: object) -> PaliGemmaBackbone:
    return PaliGemmaBackbone.from_instructions(PaliGemmaBackboneConfig(**options), SENTENCES, seed=3)  # type: ignore[arg-type]


def broken(variant: str) -> set[str]:
    """The checks that a variant must fail."""
    for kind, checks in BROKEN.items():
        if variant.startswith(kind):
            return checks | ({"proprioception_reaches_views"} if variant == "images-first-eager-proprio" else set())
    return set()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_contract(variant: str, check: str) -> None:
    backbone = build(**VARIANTS[variant])
    if check in broken(variant):
        with pytest.raises(ContractViolation):
            CHECKS[check](backbone, PROBE)
    else:
        CHECKS[check](backbone, PROBE)


def test_images_first_causal_image_tokens_never_see_the_sentence() -> None:
    backbone = build(mask="images_first_causal").eval()
    views = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    grids = [backbone(views, backbone.tokenize([sentence])).grid for sentence in SENTENCES]
    assert torch.equal(grids[0], grids[1])
    # A prompt of another length: some processors' matrix products then add in another order.
    torch.testing.assert_close(backbone(views, backbone.blank(1)).grid, grids[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("mask", ["bidirectional", "text_first_causal", "images_first_causal"])
def test_attention_kernels_agree(mask: str) -> None:
    first, second = build(mask=mask, attention="sdpa"), build(mask=mask, attention="eager")
    second.load_state_dict(first.state_dict())
    check_agree(first, second, PROBE)


def test_agreement_check_can_fail() -> None:
    with pytest.raises(ContractViolation, match="differ by"):
        check_agree(build(), build(mask="text_first_causal"), PROBE)


class Transposed(PaliGemmaBackbone):
    """Returns the grid with rows and columns exchanged."""

    def view_features(self, views: torch.Tensor) -> torch.Tensor:
        return super().view_features(views).transpose(2, 3)


class LeaksPadding(PaliGemmaBackbone):
    """Forgets the padding mask."""

    def forward(self, views, text, proprio=None):  # type: ignore[no-untyped-def]
        return super().forward(views, type(text)(text.ids, torch.ones_like(text.mask)), proprio)


class LateHints(PaliGemmaBackbone):
    """Adds hints to what comes out, where they tell other patches nothing."""

    def forward(self, views, text, proprio=None, hints=None):  # type: ignore[no-untyped-def]
        tokens = super().forward(views, text, proprio)
        return tokens if hints is None else ViewTokens(tokens.grid + hints, tokens.text)


class Truncates(PaliGemmaBackbone):
    """Shortens what it cannot hold."""

    def tokenize(self, sentences):  # type: ignore[no-untyped-def]
        return super().tokenize([" ".join(sentence.split()[:8]) or "nothing" for sentence in sentences])


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (Transposed, "grid_order"),
        (LeaksPadding, "padding_never_leaks"),
        (LeaksPadding, "batch_of_one"),
        (LateHints, "hints_reach_views"),
        (Truncates, "refuses_unreadable_text"),
    ],
)
def test_contract_catches_a_wrong_backbone(wrong: type[PaliGemmaBackbone], check: str) -> None:
    with pytest.raises(ContractViolation):
        CHECKS[check](wrong.from_instructions(PaliGemmaBackboneConfig(), SENTENCES), PROBE)


class ForgetsWeights(PaliGemmaBackbone):
    """Saves everything but the trained weights."""

    @classmethod
    def from_pretrained(cls, directory, **options):  # type: ignore[no-untyped-def]
        kept = super().from_pretrained(directory, **options)
        return cls(kept.config, kept.tokenizer, seed=99)


def test_contract_catches_lost_weights(tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match="reloaded"):
        CHECKS["save_load"](ForgetsWeights.from_instructions(PaliGemmaBackboneConfig(), SENTENCES), PROBE)


def test_contract_names_a_useless_probe() -> None:
    with pytest.raises(ValueError, match="nothing is padded"):
        CHECKS["padding_never_leaks"](build(), Probe(sentence=SENTENCES[0], other=SENTENCES[1], longer=SENTENCES[1]))


def test_hints_of_another_shape_are_refused() -> None:
    backbone = build()
    with pytest.raises(ValueError, match=r"hints has shape \(1, 3, 8, 8, 3\), expected \(1, 3, 8, 8, 64\)"):
        backbone.check_inputs(torch.zeros(1, 3, 3, 64, 64), backbone.blank(1), None, torch.zeros(1, 3, 8, 8, 3))


def test_checks_leave_the_training_mode_alone() -> None:
    backbone: ViewBackbone = build().train()
    CHECKS["last_word_reaches_views"](backbone, PROBE)
    assert backbone.training
