"""With graph and answers off, BridgeVLA is what it was: weights, configurations and losses, to the bit."""

import torch
import torch.nn.functional as F
from test_bridgevla import generator, small_config
from torch import Tensor
from toy_scenes import toy_sample, toy_sentences

from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.bridgevla import BridgeVLA, BridgeVLAConfig
from vla3d.policies.bridgevla.augmentation import augment, crop, uniform
from vla3d.policies.bridgevla.processor import BridgeVLABatch
from vla3d.policies.grounding import GraphRouteConfig
from vla3d.policies.heads.heatmap import heatmap_cross_entropy
from vla3d.views.heatmaps import heatmap_targets


def policy(**changes: object) -> BridgeVLA:
    return BridgeVLA.from_config(small_config(**changes).to_dict(), sentences=toy_sentences(), seed=0).eval()


def plain_losses(policy: BridgeVLA, batch: BridgeVLABatch, generator: torch.Generator) -> list[Tensor]:
    """Heatmaps, rotation, gripper and collisions, written down before there were graphs and answers."""
    config = policy.config
    picks = torch.rand(len(batch.sentences), generator=generator).tolist()
    said = [options[int(pick * len(options))] for options, pick in zip(batch.sentences, picks, strict=True)]
    text = policy.backbone.tokenize(said)
    batch = crop(augment(batch, config.augmentation, policy.low, policy.high, generator), policy.low, policy.high)
    to_cube = policy._to_cube()
    target = to_cube.apply(batch.position)
    to_zoom = SimilarityTransform.about(target + uniform(target.shape, config.zoom_jitter, generator), config.zoom)
    coarse, fine = (policy.look(batch, to_view, text) for to_view in (to_cube, to_zoom.compose(to_cube)))
    fine_pixels = policy._pixels(to_zoom.apply(target))
    rotation, gripper, collisions = policy._action_outputs(fine.grid, fine_pixels)

    def heat(logits: Tensor, pixels: Tensor) -> Tensor:
        return heatmap_cross_entropy(logits, heatmap_targets(pixels, config.backbone.resolution, config.heatmap_sigma)).mean()

    return [
        heat(coarse.heatmap_logits, policy._pixels(target)),
        heat(fine.heatmap_logits, fine_pixels),
        policy.rotation.loss(rotation, batch.quaternion).mean(),
        F.cross_entropy(gripper, batch.gripper_open.long()),
        F.cross_entropy(collisions, batch.ignore_collisions.long()),
    ]


def test_losses_are_what_they_were() -> None:
    plain = policy()
    batch = plain.collate([toy_sample(seed) for seed in range(5)])
    losses = plain.loss(batch, generator(3))
    wanted = plain_losses(plain, batch, generator(3))
    assert list(losses) == ["heatmap_coarse", "heatmap_fine", "rotation", "gripper", "collisions", "loss"]
    assert all(torch.equal(got, want) for got, want in zip(losses.values(), [*wanted, torch.stack(wanted).sum()], strict=True))


def test_configurations_say_nothing_of_what_is_off() -> None:
    config = small_config()
    assert not {"graph", "answers", "absent_threshold"} & set(config.to_dict())
    assert BridgeVLAConfig.from_dict(config.to_dict()) == config
    off = small_config(graph=GraphRouteConfig(weight=3.0), absent_threshold=0.2)
    assert off.to_dict() == config.to_dict()


def test_what_is_added_leaves_the_other_weights_as_they_were() -> None:
    plain, both = policy(), policy(graph=GraphRouteConfig(enabled=True), answers=True)
    assert {key.split(".")[0] for key in plain.state_dict()} == {"backbone", "heatmap_head", "action_head"}
    added = {key.split(".")[0] for key in both.state_dict().keys() - plain.state_dict().keys()}
    assert added == {"route", "absence_head"}
    assert all(torch.equal(value, both.state_dict()[key]) for key, value in plain.state_dict().items())
