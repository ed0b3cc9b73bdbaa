"""What the official BridgeVLA program computed, head by head; `data/README.md` says where the numbers come from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vla3d.backbones.base import TextBatch, ViewTokens
from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.geometry.rotations import xyzw_to_wxyz
from vla3d.policies.bridgevla.processor import PreparedSample
from vla3d.policies.bridgevla_v1 import BridgeVLAV1, BridgeVLAV1Config, modeling
from vla3d.policies.bridgevla_v1.heads import ActionLogits, action_features, code_frequencies, sinusoidal_code
from vla3d.policies.bridgevla_v1.names import our_name
from vla3d.policies.bridgevla_v1.rotation import (
    ROTATION_BINS,
    quaternion_to_rotation_bins,
    rotation_bins_to_quaternion,
)
from vla3d.policies.heads.heatmap import heatmap_probabilities
from vla3d.types import KeyframeAction
from vla3d.views import lift_rvt2_heatmaps, project_to_rvt2_views, render_rvt2_views, rvt2_bytes, rvt2_colors

NUMBERS = np.load(Path(__file__).parent / "data/bridgevla_v1.npz")
SCENE = np.load(Path(__file__).parents[1] / "views/data/rvt2.npz")
PATCH, SIDE = 14, 224
# All of the numbers, which are too many for the repository.
ALL = Path(__file__).parents[3] / "shared/golden"
needs_all = pytest.mark.skipif(not ALL.exists(), reason="the full set of the official program's numbers is not here")


def number(name: str) -> Tensor:
    return torch.from_numpy(NUMBERS[name])


def close(found: Tensor, name: str, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, number(name), rtol=0, atol=atol)


@pytest.fixture
def policy() -> BridgeVLAV1:
    """The heads of the official program's network, 16 wide; what its vision-language model would say is given."""
    backbone = PaliGemmaBackboneConfig(
        size="nano", resolution=SIDE, patch=PATCH, vision_width=8, text_width=16, text_layers=1, vocab_size=400,
        positions="rotary",
    )  # fmt: skip
    policy = BridgeVLAV1(
        BridgeVLAV1Config(backbone=backbone, backbone_dtype="float32", head_width=32, action_widths=(32, 16)), None
    )
    official = [name for name in NUMBERS.files if name.startswith("pose.")]
    weights = {our_name(name.removeprefix("pose.")): number(name) for name in official if "div_term" not in name}
    missing, unexpected = policy.load_state_dict(weights, strict=False)
    assert unexpected == [] and {name.split(".")[0] for name in missing} == {"backbone"}
    return policy.eval()


def grid() -> Tensor:
    """Tokens of the views: the first of each row that are not padding, which is on the left."""
    hidden, mask = number("pose_hidden"), number("pose_attention_mask").bool()
    tokens = torch.stack([row[real][: 3 * 16 * 16] for row, real in zip(hidden, mask, strict=True)])
    return tokens.view(len(tokens), 3, 16, 16, -1)


def check_logits(found: ActionLogits, stage: str) -> None:
    close(torch.cat((found.gripper, found.collisions), dim=-1), f"{stage}_feat_ex_rot")
    for axis, rotation in zip("xyz", found.rotation.unbind(1), strict=True):
        close(rotation, f"{stage}_feat_{axis}")


@torch.no_grad()
def test_heatmaps(policy: BridgeVLAV1) -> None:
    close(policy.heatmap_head(grid())[:, :, 3::16], "pose_trans")


@needs_all
@torch.no_grad()
def test_every_pixel_of_heatmaps_and_a_head_with_other_weights(policy: BridgeVLAV1) -> None:
    """Before and after they are enlarged."""
    full = {name: torch.from_numpy(value) for name, value in np.load(ALL / "heads.npz").items()}
    assert torch.equal(grid().permute(0, 1, 4, 2, 3), full["pose_grid"])
    torch.testing.assert_close(policy.heatmap_head(grid()), full["pose_trans"], rtol=0, atol=1e-5)
    head = policy.heatmap_head
    official = {name: value for name, value in load_file(ALL / "heads.safetensors").items() if name.startswith("up0.")}
    weights = {our_name(name): value for name, value in official.items()}
    head.load_state_dict({str(name).removeprefix("heatmap_head."): value for name, value in weights.items()})
    torch.testing.assert_close(head.logits(full["up_in"]), full["up_low"], rtol=0, atol=1e-5)
    tokens = full["up_in"].permute(0, 2, 3, 1)[:, None]
    torch.testing.assert_close(head(tokens), full["up_out"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_place_and_the_answers_there(policy: BridgeVLAV1) -> None:
    place, _ = lift_rvt2_heatmaps(heatmap_probabilities(policy.heatmap_head(grid())))
    close(place, "pose_wpt_cube", 1e-6)
    assert torch.equal(voxels(place), voxels(number("pose_wpt_cube")))
    pixels = project_to_rvt2_views(place[:, None])[:, 0]
    close(pixels, "pose_wpt_px", 1e-4)
    features = action_features(grid(), pixels / PATCH)
    close(features, "pose_feat")
    close(policy.action_head.normalization(features), "pose_feat_bn")
    logits = policy.act_at(grid(), pixels)
    check_logits(logits, "pose")
    given = logits.rotation.argmax(dim=-1)[:, :2]
    assert torch.equal(policy.act_at(grid(), pixels, given).rotation, logits.rotation)
    assert not torch.allclose(policy.act_at(grid(), pixels, (given + 7) % ROTATION_BINS).rotation, logits.rotation)


def voxels(points: Tensor) -> Tensor:
    return ((points + 1) * (SIDE / 2) - 0.5).round().long()


@torch.no_grad()
def test_training(policy: BridgeVLAV1) -> None:
    """Statistics of the batch, given bins, and pixels that are held inside the image."""
    policy.train()
    pixels = project_to_rvt2_views(number("train_wpt_cube")[:, None])[:, 0]
    assert pixels.max() > SIDE - PATCH  # beyond the last token
    pixels = pixels.clamp(0, SIDE - 1)
    close(action_features(grid(), pixels / PATCH), "train_feat")
    check_logits(policy.act_at(grid(), pixels, number("train_rot_x_y")), "train")
    normalization = policy.action_head.normalization
    close(normalization.running_mean, "train_bn_running_mean_after")
    close(normalization.running_var, "train_bn_running_var_after")
    normalized = torch.nn.functional.batch_norm(
        number("train_feat"), None, None, normalization.weight, normalization.bias, training=True
    )
    close(normalized, "train_feat_bn")


def test_clouds_of_both_looks_and_their_images(policy: BridgeVLAV1, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same points in the same cube, bit for bit, and so the images that `tests/views` finds equal."""
    world, rgb = torch.from_numpy(SCENE["pc_world"]), torch.from_numpy(SCENE["rgb_u8"])
    low, high = SCENE["scene_bounds"][:3].tolist(), SCENE["scene_bounds"][3:].tolist()
    policy.config = replace(policy.config, workspace_low=low, workspace_high=high)
    policy.low, policy.high = torch.tensor(low), torch.tensor(high)
    cube = (world - torch.from_numpy(SCENE["cube_centre_world"])) * float(SCENE["cube_scale"])
    zoom = torch.from_numpy(SCENE["zoom_loc"])
    monkeypatch.setattr(modeling, "lift_rvt2_heatmaps", lambda heat: (zoom, zoom.sum(-1)))
    tokens = ViewTokens(grid=grid()[:1], text=torch.zeros(1, 1, 16))
    monkeypatch.setattr(policy.backbone, "forward", lambda views, text: tokens)
    action = KeyframeAction(position=np.zeros(3), quaternion=np.array([1.0, 0, 0, 0]), gripper_open=True)
    sample = PreparedSample(points=world, colors=rgb, proprioception=(0.0,), sentences=(), action=action)
    looks: list[Tensor] = []
    look = policy.look
    monkeypatch.setattr(policy, "look", lambda points, *rest: looks.append(points) or look(points, *rest))
    batch = policy.collate([sample])
    views = policy.predict(batch, TextBatch(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))).views[0]
    for points, expected, seen in zip(looks, (cube, 4 * (cube - zoom)), views, strict=True):
        assert torch.equal(points[0], expected)
        drawn = render_rvt2_views(expected[None], rvt2_colors(rgb)[None], batch.lengths).rgb[0]
        assert torch.equal(seen * 255, rvt2_bytes(drawn).float() / 255 * 255)
        assert seen.any()


def test_positional_code() -> None:
    numbers = number("pe_in").flatten()
    close(sinusoidal_code(numbers, 96), "pe_out_96")
    close(sinusoidal_code(numbers[1:3], 12288)[:, ::97], "pe_out_12288")  # the width of the release
    pairs = torch.tensor([[3, 60], [71, 0]])
    close(torch.cat([sinusoidal_code(column, 8) for column in pairs.unbind(1)], dim=-1), "pe_out_2cols")
    close(code_frequencies(96)[None], "pose.feat_fc_pe.div_term", 1e-7)


def test_rotations_fall_into_the_same_bins() -> None:
    quaternions = xyzw_to_wxyz(number("rot_quat_xyzw"))
    bins = number("rot_bins")
    assert torch.equal(quaternion_to_rotation_bins(quaternions), bins)
    assert torch.equal(quaternion_to_rotation_bins(-3 * quaternions), bins)
    back, expected = rotation_bins_to_quaternion(bins).double(), xyzw_to_wxyz(number("rot_quat_back"))
    sign = (back * expected).sum(-1, keepdim=True).sign()  # a quaternion and its negative are one rotation
    torch.testing.assert_close(sign * back, expected, rtol=0, atol=1e-6)
