"""From a coarse grid of view tokens to a heatmap with one logit per pixel."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ConvexUpsampling(nn.Module):
    """Logits per cell, spread over the cell's pixels as learned convex combinations of the 3 x 3 cells around.

    Source: RAFT (Teed and Deng 2020), section 3.3; used on view tokens by RVT-2 and BridgeVLA.

    Args:
        dim: channels of a view token.
        patch: pixels along a cell's edge.
        width: channels of the hidden convolutions.
        hidden_layers: hidden 3 x 3 convolutions before the logits; BridgeVLA has two.
        mask_scale: factor on the combination logits; small values start near plain averaging.
    """

    def __init__(self, dim: int, patch: int, width: int, hidden_layers: int = 2, mask_scale: float = 0.1) -> None:
        super().__init__()
        self.patch = patch
        self.mask_scale = mask_scale
        hidden: list[nn.Module] = []
        for layer in range(hidden_layers):
            hidden += [nn.Conv2d(width if layer else dim, width, 3, padding=1), nn.ReLU()]
        self.logits = nn.Sequential(*hidden, nn.Conv2d(width if hidden_layers else dim, 1, 3, padding=1))
        self.mask = nn.Sequential(nn.Conv2d(dim, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 9 * patch * patch, 1))

    def forward(self, grid: Float[Tensor, "B V gh gw D"]) -> Float[Tensor, "B V H W"]:
        """Heatmap logits, ``H = gh * patch`` and ``W = gw * patch``."""
        batch, views, height, width, dim = grid.shape
        features = grid.reshape(batch * views, height, width, dim).permute(0, 3, 1, 2).contiguous()
        around = F.unfold(self.logits(features), kernel_size=3, padding=1).transpose(1, 2)
        # One small matrix product per cell: the product of nine times the image is never written out.
        pixels = torch.bmm(around.reshape(-1, 1, 9), self._combinations(features))
        pixels = pixels.view(batch, views, height, width, self.patch, self.patch).permute(0, 1, 2, 4, 3, 5)
        return pixels.reshape(batch, views, height * self.patch, width * self.patch)

    def _combinations(self, features: Float[Tensor, "N D gh gw"]) -> Float[Tensor, "M 9 P"]:
        """Convex weights of the nine cells for each pixel of each cell, M = N * gh * gw."""
        hidden = self.mask[1](self.mask[0](features)).flatten(2).transpose(1, 2)
        last = cast(nn.Conv2d, self.mask[2])
        logits = F.linear(hidden, last.weight.flatten(1), last.bias) * self.mask_scale
        return logits.view(-1, 9, self.patch * self.patch).softmax(dim=1)


def heatmap_cross_entropy(logits: Float[Tensor, "B V H W"], targets: Float[Tensor, "B V H W"]) -> Float[Tensor, " B"]:
    """Soft-label cross-entropy over the pixels of each view, averaged over views.

    A view whose target is all zero (the point lies outside it) adds nothing.
    """
    log_probabilities = logits.flatten(2).log_softmax(dim=-1)
    return -(targets.flatten(2) * log_probabilities).sum(dim=-1).mean(dim=1)


def heatmap_probabilities(logits: Float[Tensor, "B V H W"]) -> Float[Tensor, "B V H W"]:
    """Softmax over the pixels of each view."""
    return torch.softmax(logits.flatten(2), dim=-1).view_as(logits)
