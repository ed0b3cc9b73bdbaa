"""Parts of BridgeVLA that never train, and parts that wait."""

from pathlib import Path

import pytest
import torch
from test_bridgevla import small_config
from toy_scenes import toy_sample, toy_sentences

from vla3d.backbones.config import PARTS, PaliGemmaBackboneConfig
from vla3d.backbones.paligemma import PaliGemmaBackbone
from vla3d.errors import CheckpointError, ConfigError
from vla3d.policies.bridgevla import BridgeVLA
from vla3d.policies.bridgevla_v1.config import BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.modeling import BridgeVLAV1
from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import Trainer


class ToyScenes:
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> object:
        return toy_sample(index)


def make(frozen: tuple[str, ...] = ()) -> BridgeVLA:
    torch.set_num_threads(1)
    return BridgeVLA.from_config(small_config(frozen=frozen).to_dict(), sentences=toy_sentences(), seed=0)


def train(policy: BridgeVLA, out: Path, *, resume: bool = False, **changes: object) -> None:
    values = {
        "steps": 6,
        "batch_size": 4,
        "lr": 1e-2,
        "warmup_steps": 1,
        "precision": "fp32",
        "progress": False,
        "save_every": 1,
    }
    config = TrainerConfig.from_mapping({**values, **changes})
    Trainer(config, policy, ToyScenes(), out=out, resume=resume, tasks=["red"] * 2 + ["blue"] * 10).train()


def copied(policy: BridgeVLA) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}


def test_each_part_freezes_its_own_weights() -> None:
    prefixes = {
        "vision_tower": "backbone.model.vision_tower.",
        "projector": "backbone.model.multi_modal_projector.",
        "language_model": "backbone.model.language_model.",
        "embeddings": "backbone.model.language_model.embed_tokens.",
    }
    assert prefixes.keys() == set(PARTS)
    for part, prefix in prefixes.items():
        named = dict(make((part,)).named_parameters())
        frozen = {name for name, parameter in named.items() if not parameter.requires_grad}
        assert frozen and frozen == {name for name in named if name.startswith(prefix)}


def test_the_full_size_model_has_the_parts() -> None:
    with torch.device("meta"):
        backbone = PaliGemmaBackbone(PaliGemmaBackboneConfig(size="paligemma-3b-224", proprio_dim=0))
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in backbone.parts().items()}
    assert sizes["embeddings"] == 257216 * 2048
    assert sizes["vision_tower"] == pytest.approx(0.41e9, rel=0.02)
    names = [name for name, _ in backbone.named_parameters()]
    assert list(backbone.pretrained_names()) == names  # nothing in it is our own


def test_frozen_parts_stay_and_the_others_learn(tmp_path: Path) -> None:
    policy = make(("vision_tower", "embeddings"))
    before = copied(policy)
    train(policy, tmp_path)
    for name, weight in policy.named_parameters():
        stays = "vision_tower" in name or "embed_tokens" in name
        assert torch.equal(weight, before[name]) == stays, name


def test_the_backbone_waits_but_not_what_is_new_in_it(tmp_path: Path) -> None:
    policy = make(("vision_tower", "embeddings"))
    waiting = set(policy.frozen_first())
    assert "backbone.view_embedding" not in waiting and "backbone.proprio.0.weight" not in waiting
    before = copied(policy)
    train(policy, tmp_path, steps=4, freeze_steps=3, max_minutes=1e-9)  # saves before the first update
    train(policy, tmp_path, resume=True, steps=4, freeze_steps=3)
    moved = {name for name, weight in policy.named_parameters() if not torch.equal(weight, before[name])}
    assert moved >= {name for name in waiting if "layers" in name and "language_model" in name}
    assert "backbone.view_embedding" in moved and "action_head.1.weight" in moved


def test_other_frozen_parts_are_refused_on_resume(tmp_path: Path) -> None:
    train(make(("vision_tower",)), tmp_path, steps=1)
    with pytest.raises(CheckpointError, match=r"frozen: stored \['vision_tower'\], now absent"):
        train(make(), tmp_path, resume=True, steps=2)


def test_an_unknown_part_is_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown part of the backbone to freeze 'vision_towr'\. Did you mean 'vision_tower'"
    ):
        small_config(frozen=("vision_towr",))


def test_the_2025_release_waits_with_its_backbone_too() -> None:
    with torch.device("meta"):
        policy = BridgeVLAV1(BridgeVLAV1Config(), None)
    waiting = set(policy.frozen_first())
    assert waiting == {name for name, _ in policy.named_parameters() if name.startswith("backbone.model.")}
    heads = [name for name, _ in policy.named_parameters() if name not in waiting]
    assert heads and all(name.startswith(("heatmap_head.", "action_head.")) for name in heads)
