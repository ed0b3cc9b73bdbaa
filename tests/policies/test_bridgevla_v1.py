"""The 2025 release of BridgeVLA as a policy: its losses by definition, what training sees, saving, bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_bridgevla import CAMERA, generator, learn, observation
from toy_scenes import HIGH, LOW, toy_sample, toy_sentences

from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.data.samples import KeyframeSample
from vla3d.errors import CheckpointError, ConfigError, InstructionError, TrainingError
from vla3d.geometry.rotations import matrix_to_quaternion, random_rotation
from vla3d.policies.bridgevla.augmentation import augment
from vla3d.policies.bridgevla.base import Look
from vla3d.policies.bridgevla.config import AugmentationConfig
from vla3d.policies.bridgevla.prediction import keyframe_metrics
from vla3d.policies.bridgevla.processor import BridgeVLABatch
from vla3d.policies.bridgevla_v1 import BridgeVLAV1, BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.processor import augmentation_reach
from vla3d.policies.bridgevla_v1.rotation import quaternion_to_rotation_bins, rotation_bins_to_quaternion
from vla3d.policies.learned import load_policy
from vla3d.types import KeyframeAction, Observation, Workspace
from vla3d.views import project_to_rvt2_views, rvt2_bytes, rvt2_colors, rvt2_heatmap_targets

LEARNING_STEPS = 400
STILL = AugmentationConfig(translation=(0.0, 0.0, 0.0), yaw_degrees=0.0)


def small_config(**changes: object) -> BridgeVLAV1Config:
    backbone = PaliGemmaBackboneConfig(size="nano", resolution=32, vision_width=32, text_width=32, text_layers=1)
    values: dict = {"cameras": (CAMERA,), "backbone": backbone, "backbone_dtype": "float32", "frozen": ()}
    values |= {"head_width": 16, "action_widths": (32, 16), "workspace_low": LOW, "workspace_high": HIGH}
    return BridgeVLAV1Config(**(values | changes))


def new_policy(**changes: object) -> BridgeVLAV1:
    torch.set_num_threads(1)
    return BridgeVLAV1.from_config(small_config(**changes).to_dict(), sentences=toy_sentences(), seed=0)


@pytest.fixture(scope="module")
def policy() -> BridgeVLAV1:
    return new_policy().eval()


@pytest.fixture
def batch(policy: BridgeVLAV1) -> BridgeVLABatch:
    return policy.collate([toy_sample(seed) for seed in range(5)])


# Losses


def test_loss_is_a_pure_function_of_batch_and_generator(policy: BridgeVLAV1, batch: BridgeVLABatch) -> None:
    first, again, other = (policy.loss(batch, generator(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["loss"], other["loss"])
    assert all(torch.isfinite(value) for value in first.values())


def recorded_looks(policy: BridgeVLAV1, monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, Look]]:
    """The places at which clouds are looked at, and what was seen."""
    looks: list[tuple[torch.Tensor, Look]] = []
    look = policy.look

    def recorded(points: torch.Tensor, *rest: object) -> Look:
        looks.append((points, look(points, *rest)))  # type: ignore[arg-type]
        return looks[-1][1]

    monkeypatch.setattr(policy, "look", recorded)
    return looks


def test_losses_are_what_their_definitions_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moved or jittered: soft labels over all pixels, the mean over both looks and all views, plus five classes."""
    policy = new_policy(augmentation=STILL, zoom_jitter=0.0, rotation_noise=0).eval()
    batch = policy.collate([toy_sample(seed) for seed in range(4)])
    looks = recorded_looks(policy, monkeypatch)
    losses = policy.loss(batch, generator())
    low, high = torch.tensor(LOW), torch.tensor(HIGH)
    target = (batch.position - (low + high) / 2) * 2 / (high - low).max()
    terms = []
    for (points, look), place, zoom in zip(looks, (target, torch.zeros_like(target)), (1, 4), strict=True):
        inside = ((batch.points >= low) & (batch.points <= high)).all(-1)
        cube = (batch.points - (low + high) / 2) * 2 / (high - low).max()
        expected = cube if zoom == 1 else 4 * (cube - target[:, None])
        torch.testing.assert_close(points[inside], expected[inside], rtol=0, atol=2e-5)
        labels = rvt2_heatmap_targets(project_to_rvt2_views(place[:, None], 32)[:, 0], 32)
        terms.append(F.cross_entropy(look.heatmap_logits.flatten(0, 1).flatten(1), labels.flatten(0, 1).flatten(1)))
    torch.testing.assert_close(losses["heatmap_coarse"], terms[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses["heatmap_fine"], terms[1], rtol=1e-4, atol=1e-4)
    bins = quaternion_to_rotation_bins(batch.quaternion)
    logits = policy.act_at(looks[1][1].grid, torch.full((4, 3, 2), 16.0), bins[:, :2])
    classes = [F.cross_entropy(logits.rotation[:, axis], bins[:, axis]) for axis in range(3)]
    classes += [F.cross_entropy(logits.gripper, batch.gripper_open.long())]
    classes += [F.cross_entropy(logits.collisions, batch.ignore_collisions.long())]
    total = torch.stack(terms).mean() + torch.stack(classes).sum()
    torch.testing.assert_close(losses["loss"], total, rtol=1e-4, atol=1e-4)


def test_the_second_look_is_jittered_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = new_policy(augmentation=STILL).eval()
    batch = policy.collate([toy_sample(seed) for seed in range(5)])
    looks = recorded_looks(policy, monkeypatch)
    centers = []
    for seed in range(20):
        policy.loss(batch, generator(seed))
        (coarse, _), (fine, _) = looks[-2:]
        centers.append((coarse - fine / 4)[:, 0])
    target = policy._in_cube(batch.position)
    offset = (torch.stack(centers) - target).abs()
    assert 0.09 < offset.max() <= 0.1 + 1e-5


def test_the_second_look_is_labelled_and_read_where_the_target_lies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at its centre, which is jittered; and the heads read inside the image even when the target has left it."""
    policy = new_policy(augmentation=STILL, zoom_jitter=0.4, rotation_noise=0).eval()
    batch = policy.collate([toy_sample(seed) for seed in range(8)])
    looks = recorded_looks(policy, monkeypatch)
    read: list[torch.Tensor] = []
    act_at = policy.act_at
    monkeypatch.setattr(policy, "act_at", lambda grid, pixels, given: read.append(pixels) or act_at(grid, pixels, given))
    losses = policy.loss(batch, generator())
    (coarse, _), (fine, seen) = looks
    center = (coarse - fine / 4)[:, 0]
    pixels = project_to_rvt2_views(4 * (policy._in_cube(batch.position) - center)[:, None], 32)[:, 0]
    assert (pixels < 0).any() and (pixels > 31).any()
    torch.testing.assert_close(read[0], pixels.clamp(0, 31), rtol=0, atol=1e-3)
    labels = rvt2_heatmap_targets(pixels, 32)
    expected = F.cross_entropy(seen.heatmap_logits.flatten(0, 1).flatten(1), labels.flatten(0, 1).flatten(1))
    torch.testing.assert_close(losses["heatmap_fine"], expected, rtol=1e-3, atol=1e-3)


def test_the_heads_of_y_and_z_read_bins_that_are_a_little_off(policy: BridgeVLAV1) -> None:
    bins = torch.tensor([[0, 71, 5]]).expand(400, 3)
    given = policy._given_bins(bins, generator())
    off = (given - bins[:, :2] + 36) % 72 - 36
    assert sorted(off.unique().tolist()) == [-2, -1, 0, 1]
    assert given.min() >= 0 and given.max() <= 71


def test_every_trained_weight_gets_a_gradient_and_frozen_ones_none(batch: BridgeVLABatch) -> None:
    policy = new_policy(frozen=("vision_tower", "embeddings"))
    policy.loss(batch, generator())["loss"].backward()
    still = {name for name, value in policy.named_parameters() if value.grad is None}
    assert still == {name for name, _ in policy.named_parameters() if "vision_tower" in name or "embed_tokens" in name}
    moved = [value.grad for name, value in policy.named_parameters() if name not in still]
    assert all(grad is not None and grad.any() for grad in moved)
    assert new_policy().backbone.model.vision_tower.embeddings.patch_embedding.weight.requires_grad


def test_training_normalises_over_the_batch_and_acting_does_not(batch: BridgeVLABatch) -> None:
    policy = new_policy()
    normalization = policy.action_head.normalization
    before = normalization.running_mean.clone()
    policy.loss(batch, generator())
    assert int(normalization.num_batches_tracked) == 1 and not torch.equal(normalization.running_mean, before)
    after = normalization.running_mean.clone()
    policy.eval().metrics(batch)
    assert torch.equal(normalization.running_mean, after)
    with pytest.raises(TrainingError, match="at least 2"):
        policy.train().loss(policy.collate([toy_sample(0)]), generator())


def test_a_few_updates_lower_the_loss(batch: BridgeVLABatch) -> None:
    policy = new_policy(augmentation=STILL, zoom_jitter=0.0)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = policy.loss(batch, generator())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_heads_stay_precise_under_autocast(policy: BridgeVLAV1) -> None:
    grid = torch.randn(2, 3, 4, 4, 32, generator=generator())
    pixels = torch.rand(2, 3, 2, generator=generator()) * 20
    plain = policy.act_at(grid, pixels).rotation
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(policy.act_at(grid, pixels).rotation, plain)
        assert policy.action_head.gripper_and_collisions(torch.ones(1, 192)).dtype == torch.bfloat16  # unprotected


# Rotations


def test_binned_rotations_stay_within_half_a_bin_of_each_axis() -> None:
    quaternions = matrix_to_quaternion(random_rotation(torch.Generator().manual_seed(0), (500,)))
    bins = quaternion_to_rotation_bins(quaternions)
    again = rotation_bins_to_quaternion(bins)
    cosine = (quaternions * again).sum(-1).abs().clamp(max=1)
    assert torch.rad2deg(2 * cosine.acos()).max() < 7.6  # three turns of at most 2.5 degrees
    steep = (bins[:, 1] - 36).abs() == 18  # upright: roll and yaw are one
    assert torch.equal(quaternion_to_rotation_bins(again)[~steep], bins[~steep])


# What is seen


def test_the_model_sees_bytes_that_were_cut(policy: BridgeVLAV1, batch: BridgeVLABatch) -> None:
    sample = toy_sample(0)
    assert torch.equal(policy.collate([sample]).colors[0], rvt2_colors(sample.colors))
    text = policy.backbone.tokenize([options[0] for options in batch.sentences])
    views = policy.look(policy._in_cube(batch.points), batch, text).views
    steps = views * 255
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    seen = {tuple(color.tolist()) for color in steps.round().to(torch.uint8)[0].movedim(1, -1).flatten(0, 2).unique(dim=0)}
    held = {tuple(color.tolist()) for color in rvt2_bytes(rvt2_colors(sample.colors)).unique(dim=0)}
    assert seen - {(0, 0, 0)} <= held and len(seen) > 10
    assert held != {tuple(color.tolist()) for color in sample.colors.unique(dim=0)}


@pytest.mark.parametrize("yaw", [0.0, 45.0])
def test_the_reach_holds_whatever_the_augmentation_brings_in(yaw: float) -> None:
    workspace, augmentation = Workspace.from_bounds(LOW, HIGH), AugmentationConfig(yaw_degrees=yaw)
    reach = augmentation_reach(workspace, augmentation)
    low, high = torch.tensor(LOW), torch.tensor(HIGH)
    source = torch.Generator().manual_seed(0)
    count, points = 64, 2000
    position = low + torch.rand(count, 3, generator=source) * (high - low)
    cloud = low - 1.5 + torch.rand(count, points, 3, generator=source) * (high - low + 3)
    samples = new_policy().collate([toy_sample(0)] * count)
    scenes = replace(samples, points=cloud, colors=torch.zeros_like(cloud), position=position)
    moved = augment(scenes, augmentation, low, high, source)
    inside = ((moved.points >= low) & (moved.points <= high)).all(-1)
    entered = inside & ~((cloud >= low) & (cloud <= high)).all(-1)
    assert entered.sum() > 100
    held = reach.contains(cloud[inside].double().numpy())
    assert held.all()


def test_training_clouds_reach_further_than_acting_sees(policy: BridgeVLAV1) -> None:
    """A table far below is kept for the augmentation, and hidden from a prediction."""
    seen = observation()
    far = seen.frames[CAMERA].depth.copy()
    far[:8] = 0.8 + 0.05  # 5 cm below the workspace, as far as a shift along z reaches
    seen = replace(seen, frames={CAMERA: replace(seen.frames[CAMERA], depth=far)})
    action = KeyframeAction(position=np.array([0.5, 0.0, 0.1]), quaternion=np.array([0, 1.0, 0, 0]), gripper_open=True)
    sample = KeyframeSample(
        observation=seen, action=action, paraphrases=("pick up the red cube",), task="t", keyframe=0, from_keyframe=True
    )
    prepared = policy.prepare(sample)
    assert (prepared.points[:, 2] < LOW[2]).any()
    batch = policy.collate([prepared])
    text = policy.backbone.tokenize([seen.instruction])
    decision = policy.decide([seen])[0].explanation
    assert decision is not None
    np.testing.assert_array_equal(policy.predict(batch, text).views[0].numpy(), decision.views)


# Acting


def test_a_row_of_a_batch_predicts_what_it_predicts_alone(policy: BridgeVLAV1, batch: BridgeVLABatch) -> None:
    together = policy.predict(batch, policy.backbone.tokenize([options[0] for options in batch.sentences]))
    alone = policy.collate([toy_sample(2)])
    single = policy.predict(alone, policy.backbone.tokenize([alone.sentences[0][0]]))
    torch.testing.assert_close(single.heatmaps[0], together.heatmaps[2], atol=1e-4, rtol=1e-3)


def test_act_answers_inside_the_workspace_and_explains_itself(policy: BridgeVLAV1) -> None:
    action = policy.act(observation())
    assert policy.config.workspace.contains(action.position)
    shown = policy.explain()
    assert shown is not None and shown.view_names == ("top", "front", "right")
    assert shown.views.shape == (2, 3, 3, 32, 32)
    np.testing.assert_allclose(shown.heatmaps.sum((-2, -1)), 1, atol=1e-4)


def test_the_explanation_tells_where_the_heat_is(policy: BridgeVLAV1) -> None:
    """Each look's point is where the three maps, read at the pixels it is shown at, have the most heat together."""
    policy.act(observation())
    shown = policy.explain()
    assert shown is not None and shown.pixel_maps is not None
    for look in range(2):
        at = shown.pixel_maps[look] @ np.append(shown.positions[look], 1.0)
        if look and not policy.config.workspace.contains(shown.positions[1] - 1e-6):
            continue  # held inside the workspace
        pixels = np.floor(at).astype(int).clip(0, 31)
        heat = [shown.heatmaps[look, view, row, column] for view, (column, row) in enumerate(pixels)]
        assert np.sum(heat) > 0.5 * shown.heatmaps[look].max((-2, -1)).sum() / 3


def test_masked_text_makes_the_sentence_irrelevant(policy: BridgeVLAV1) -> None:
    def heat(seen: Observation) -> np.ndarray:
        policy.act(seen)
        shown = policy.explain()
        assert shown is not None
        return shown.heatmaps

    red, blue = observation(), observation(instruction="pick up the blue cube")
    assert not np.array_equal(heat(red), heat(blue))
    policy.mask_text = True
    try:
        np.testing.assert_array_equal(heat(red), heat(blue))
    finally:
        policy.mask_text = False


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_and_loaded_it_acts_the_same(dtype: str, tmp_path: Path) -> None:
    policy = new_policy(backbone_dtype=dtype).eval()
    policy.action_head.normalization.running_mean.normal_(generator=generator())
    policy.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path)
    assert {str(value.dtype) for value in loaded.backbone.parameters()} == {f"torch.{dtype}"}
    first, second = policy.act(observation()), loaded.act(observation())
    np.testing.assert_array_equal(first.position, second.position)
    np.testing.assert_array_equal(first.quaternion, second.quaternion)
    assert loaded.architecture() == policy.architecture()
    assert loaded.loss(loaded.collate([toy_sample(0), toy_sample(1)]), generator())["loss"].dtype == torch.float32


def test_training_can_start_from_a_saved_policy_alone_of_its_size(tmp_path: Path) -> None:
    saved = new_policy()
    saved.save_pretrained(tmp_path)
    started = new_policy(pretrained=str(tmp_path), augmentation=STILL)
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in started.state_dict().items())
    assert started.config.pretrained == "" and started.architecture() == saved.architecture()
    with pytest.raises(CheckpointError, match=r"another architecture.*heatmap_head"):
        new_policy(pretrained=str(tmp_path), head_width=8)
    with pytest.raises(CheckpointError, match=r"No tokenizer.json"):
        new_policy(pretrained=str(tmp_path / "nowhere"))


# Bad input


@pytest.mark.parametrize("sentence", ["", "pick " * 2000])
def test_a_sentence_that_cannot_be_read_whole_is_refused(policy: BridgeVLAV1, sentence: str) -> None:
    with pytest.raises(InstructionError):
        policy.act(observation(instruction=sentence))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("views", ["top"], "Unknown policy setting"),
        ("zoom", 0, "policy.zoom"),
        ("cameras", [], "policy.cameras"),
        ("workspace_low", [1.0, 1.0, 1.0], "workspace"),
        ("frozen", ["vision_towr"], "Did you mean 'vision_tower'"),
        ("backbone_dtype", "float16", "policy.backbone_dtype"),
        ("action_widths", [32], "policy.action_widths"),
        ("rotation_noise", -1, "policy.rotation_noise"),
        ("backbone", {"mask": "text_first_causal"}, "policy.backbone.mask"),
    ],
)
def test_bad_settings_are_named(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BridgeVLAV1.check_config(small_config().to_dict() | {key: value})


def test_the_registry_opens_it() -> None:
    from vla3d.policies.registry import policy_class, policy_names

    assert policy_class("bridgevla_v1") is BridgeVLAV1 and "bridgevla_v1" in policy_names()


@pytest.mark.slow
def test_it_learns_to_follow_the_sentence() -> None:
    torch.set_num_threads(1)
    config = BridgeVLAV1Config(
        workspace_low=LOW,
        workspace_high=HIGH,
        backbone=PaliGemmaBackboneConfig(size="nano", max_text_tokens=32),
        backbone_dtype="float32",
        frozen=(),
        head_width=48,
        action_widths=(256, 128),
    )
    policy = BridgeVLAV1.from_config(config.to_dict(), sentences=toy_sentences(), seed=0)
    learn(policy, LEARNING_STEPS, 2e-3)
    scenes = policy.eval().collate([toy_sample(10_000 + seed) for seed in range(90)])
    seeing = policy.metrics(scenes)
    blind = keyframe_metrics(policy.predict(scenes, policy.backbone.blank(90)), scenes)
    assert seeing["within_2cm"] > 0.6, seeing
    assert blind["within_2cm"] < seeing["within_2cm"] - 0.15, (seeing, blind)
