"""Rotation, gripper and collision flag from the view tokens of the second look."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vla3d.policies.bridgevla_v1.rotation import ROTATION_BINS
from vla3d.views.rvt2_heatmaps import sample_by_inverse_distance


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionLogits:
    """What the action heads answer.

    Attributes:
        gripper: closed and open.
        collisions: avoid and ignore.
        rotation: bins of the angles about x, y and z.
    """

    gripper: Float[Tensor, "B 2"]
    collisions: Float[Tensor, "B 2"]
    rotation: Float[Tensor, "B 3 N"]


class ActionHead(nn.Module):
    """Four small networks over one feature; those of the angles read it normalised over the batch.

    The angles come one after the other: the network of y also reads the bin of x, that of z the bins of x and y, each as a
    sinusoidal code added to the feature (RVT-2, Goyal et al. 2024).

    Args:
        dim: channels of a view token.
        views: number of views.
        widths: hidden units of the two layers of each network.
    """

    def __init__(self, dim: int, views: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.width = 2 * dim * views
        self.normalization = nn.BatchNorm1d(self.width)
        self.gripper_and_collisions = _network(self.width, widths, 4)
        self.rotation = nn.ModuleList(_network(self.width, widths, ROTATION_BINS) for _ in range(3))

    def forward(self, features: Float[Tensor, "B F"], given: Int64[Tensor, "B 2"] | None = None) -> ActionLogits:
        """Logits of all answers.

        Args:
            features: from `action_features`.
            given: bins of x and y that the later networks read; None takes the likeliest.
        """
        flags = self.gripper_and_collisions(features)
        normalized = self.normalization(features)
        rotation: list[Tensor] = []
        for axis, network in enumerate(self.rotation):
            if axis:
                known = rotation[-1].argmax(dim=-1) if given is None else given[:, axis - 1]
                normalized = normalized + sinusoidal_code(known, self.width)
            rotation.append(network(normalized))
        return ActionLogits(gripper=flags[:, :2], collisions=flags[:, 2:], rotation=torch.stack(rotation, dim=1))


def action_features(grid: Float[Tensor, "B V gh gw D"], cells: Float[Tensor, "B V 2"]) -> Float[Tensor, "B F"]:
    """What the whole views say, and what they say at one place; ``F = 2 V D``.

    Args:
        grid: view tokens.
        cells: ``(column, row)`` of the place in each view, in cells; values lie at whole numbers, and beyond the last one the
            tokens count as zero.

    Returns:
        The largest value of each channel in each view, channels before views; then the tokens at the place, views before
        channels. The published weights learned these two orders.
    """
    batch, views = grid.shape[:2]
    overall = grid.flatten(2, 3).amax(dim=2).transpose(1, 2).flatten(1)
    maps = grid.flatten(0, 1).permute(0, 3, 1, 2)
    local = sample_by_inverse_distance(maps, cells.reshape(batch * views, 1, 2)).view(batch, -1)
    return torch.cat((overall, local), dim=-1)


def sinusoidal_code(numbers: Int64[Tensor, "B"], width: int) -> Float[Tensor, "B W"]:
    """Sines, then cosines, of whole numbers at wavelengths from ``2 pi`` to ``20000 pi`` (Vaswani et al. 2017, section 3.5)."""
    angles = numbers[:, None] * code_frequencies(width, numbers.device)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def code_frequencies(width: int, device: torch.device | None = None) -> Float[Tensor, "K"]:
    """Radians for each unit, of the sines of a code; ``K = width / 2``."""
    return torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))


def _network(inputs: int, widths: tuple[int, int], outputs: int) -> nn.Sequential:
    first, second = widths
    return nn.Sequential(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, outputs))
