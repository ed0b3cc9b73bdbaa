"""Checkpoints as the 2025 release of BridgeVLA names them, made here at any size."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

Nesting = Literal["4.51", "4.57", "5"]
NESTINGS: tuple[Nesting, ...] = ("4.51", "4.57", "5")


def paligemma_weights(config: PaliGemmaConfig, nesting: Nesting) -> dict[str, Tensor]:
    """Random weights under the names of one version of transformers, the output layer included."""
    model = PaliGemmaForConditionalGeneration._from_config(config)
    return {nested(name, nesting): value.detach() for name, value in model.state_dict().items()}


def nested(name: str, nesting: Nesting) -> str:
    """A name of transformers 5 as an earlier version has it."""
    if nesting == "5":
        return name
    name = name.replace("model.vision_tower.", "model.vision_tower.vision_model.")
    if nesting == "4.57":
        return name
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    return name.removeprefix("model.").replace("language_model.", "language_model.model.")


def head_shapes(dim: int, width: int, widths: tuple[int, int], patch: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the heads, as the release documents them."""
    for layer, (outputs, inputs, kernel) in {0: (width, dim, 3), 2: (width, width, 3), 4: (1, width, 3)}.items():
        yield from _layer(f"up0.net_out.{layer}", (outputs, inputs, kernel, kernel))
    yield from _layer("up0.net_mask.0", (width, dim, 3, 3))
    yield from _layer("up0.net_mask.2", (9 * patch**2, width, 1, 1))
    features = 6 * dim
    for name, outputs in {"feat_fc_ex_rot": 4, "feat_fc_x": 72, "feat_fc_y": 72, "feat_fc_z": 72}.items():
        for layer, shape in {0: (widths[0], features), 2: (widths[1], widths[0]), 4: (outputs, widths[1])}.items():
            yield from _layer(f"{name}.{layer}", shape)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"feat_fc_init_bn.{name}", (features,)
    yield "feat_fc_init_bn.num_batches_tracked", ()
    yield "feat_fc_pe.div_term", (1, features // 2)


def _layer(name: str, weight: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def fine_tuned(model: Mapping[str, Tensor], heads: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The names of a fine-tuned checkpoint's "model_state"."""
    names = {f"{prefix}mvt1.model.{name}": value for name, value in model.items()}
    return names | {f"{prefix}mvt1.{name}": value for name, value in heads.items()}


def pre_trained(model: Mapping[str, Tensor], heads: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The names of a pre-trained checkpoint, which has the heatmap head alone."""
    kept = {name: value for name, value in heads.items() if name.startswith("up0.")}
    return {f"{prefix}{name}": value for name, value in {**model, **kept}.items()}


def full_size(nesting: Nesting) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Names and shapes of the published model and heads, without memory."""
    from vla3d.backbones.config import PaliGemmaBackboneConfig

    config = PaliGemmaBackboneConfig(size="paligemma-3b-224").to_transformers()
    with torch.device("meta"):
        model = {name: value.to(torch.bfloat16) for name, value in paligemma_weights(config, nesting).items()}
        heads = {name: torch.empty(shape) for name, shape in head_shapes(2048, 4096, (4096, 2048), 14)}
    heads["feat_fc_init_bn.num_batches_tracked"] = torch.empty((), dtype=torch.int64, device="meta")
    return model, heads
