"""Heatmap and rotation heads: convexity, layout, and that decoding undoes encoding."""

import math

import pytest
import torch
import torch.nn.functional as F

from vla3d.errors import ConfigError
from vla3d.geometry.rotations import matrix_to_rotation_6d, quaternion_to_matrix, random_rotation
from vla3d.policies.heads.heatmap import ConvexUpsampling, heatmap_cross_entropy, heatmap_probabilities
from vla3d.policies.heads.rotation import EulerBins, Rotation6D, make_rotation_head
from vla3d.policies.keyframe_errors import gripper_rotation_error
from vla3d.views.heatmaps import heatmap_targets


def quaternions(count: int, seed: int = 0) -> torch.Tensor:
    from vla3d.geometry.rotations import matrix_to_quaternion

    return matrix_to_quaternion(random_rotation(torch.Generator().manual_seed(seed), (count,)))


def upsample_by_definition(head: ConvexUpsampling, grid: torch.Tensor) -> torch.Tensor:
    """Each pixel separately: softmax weights times the 3 x 3 cells around."""
    batch, views, rows, columns, _ = grid.shape
    features = grid.flatten(0, 1).permute(0, 3, 1, 2)
    cells = F.pad(head.logits(features), (1, 1, 1, 1))
    weights = (head.mask_scale * head.mask(features)).view(-1, 9, head.patch, head.patch, rows, columns).softmax(1)
    image = torch.zeros(batch * views, rows * head.patch, columns * head.patch)
    for row in range(rows):
        for column in range(columns):
            around = cells[:, 0, row : row + 3, column : column + 3].reshape(-1, 9, 1, 1)
            block = (weights[:, :, :, :, row, column] * around).sum(1)
            at = slice(row * head.patch, (row + 1) * head.patch), slice(column * head.patch, (column + 1) * head.patch)
            image[:, at[0], at[1]] = block
    return image.view(batch, views, *image.shape[1:])


@pytest.mark.parametrize("hidden_layers", [0, 1, 2])
def test_convex_upsampling_equals_its_definition(hidden_layers: int) -> None:
    torch.manual_seed(0)
    head = ConvexUpsampling(dim=6, patch=4, width=8, hidden_layers=hidden_layers, mask_scale=2.0)
    grid = torch.randn(2, 3, 5, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(head(grid), upsample_by_definition(head, grid))


def test_upsampled_logits_stay_between_the_cells() -> None:
    torch.manual_seed(0)
    head = ConvexUpsampling(dim=6, patch=4, width=8)
    grid = torch.randn(4, 1, 5, 5, 6)
    with torch.no_grad():
        cells = F.pad(head.logits(grid.flatten(0, 1).permute(0, 3, 1, 2)), (1, 1, 1, 1))
        pixels = head(grid)
    assert pixels.max() <= cells.max() + 1e-6
    assert pixels.min() >= cells.min() - 1e-6


def test_heatmap_loss_is_lowest_at_the_target() -> None:
    target = heatmap_targets(torch.tensor([[[12.5, 20.0]]]), 32)
    right = heatmap_cross_entropy(target.clamp(min=1e-9).log(), target)
    wrong = heatmap_cross_entropy(target.flip(-1).clamp(min=1e-9).log(), target)
    entropy = -(target * target.clamp(min=1e-9).log()).sum()
    assert right.item() == pytest.approx(entropy.item(), rel=1e-4)
    assert wrong > right + 1


def test_a_view_without_target_adds_no_loss() -> None:
    assert heatmap_cross_entropy(torch.randn(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)).eq(0).all()


def test_heatmap_probabilities_sum_to_one_per_view() -> None:
    total = heatmap_probabilities(torch.randn(2, 3, 8, 8) * 50).sum((-2, -1))
    torch.testing.assert_close(total, torch.ones(2, 3))


def test_6d_decodes_what_it_was_given() -> None:
    target = quaternions(64)
    decoded = Rotation6D().decode(matrix_to_rotation_6d(quaternion_to_matrix(target)))
    assert torch.rad2deg(gripper_rotation_error(decoded, target)).max() < 0.1


def test_euler_bins_decode_the_labelled_bin() -> None:
    head = EulerBins(label_sigma=1.0)
    yaw = torch.linspace(-math.pi / 2, math.pi / 2, 50)
    zero = torch.zeros_like(yaw)
    top_down = torch.stack([zero, (yaw / 2).cos(), (yaw / 2).sin(), zero], dim=-1)
    from vla3d.geometry.euler_bins import quaternion_to_euler_bins
    from vla3d.geometry.rotations import canonical_gripper_quaternion

    bins = quaternion_to_euler_bins(canonical_gripper_quaternion(top_down), 72)
    decoded = head.decode(F.one_hot(bins, 72).float().flatten(1))
    assert torch.rad2deg(gripper_rotation_error(decoded, top_down)).max() <= 2.6


@pytest.mark.parametrize("head", [Rotation6D(), EulerBins(), EulerBins(label_sigma=1.5)])
def test_two_equivalent_grasps_have_the_same_loss(head: Rotation6D | EulerBins) -> None:
    target = quaternions(32)
    half_turn = torch.tensor([0.0, 0.0, 0.0, 1.0])
    from vla3d.geometry.rotations import quaternion_multiply

    outputs = torch.randn(32, head.num_outputs)
    same = quaternion_multiply(target, half_turn.expand(32, 4))
    torch.testing.assert_close(head.loss(outputs, target), head.loss(outputs, same), rtol=1e-3, atol=1e-3)


def test_bin_labels_wrap_around_the_circle() -> None:
    labels = EulerBins(label_sigma=1.0)._labels(torch.tensor([[0, 71, 36]]))
    torch.testing.assert_close(labels.sum(-1), torch.ones(1, 3))
    assert labels[0, 0, 71] == labels[0, 0, 1]
    assert labels[0, 1, 0] == labels[0, 1, 70]


def test_unknown_rotation_head_is_named_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'euler_bins'"):
        make_rotation_head("euler_bin")
