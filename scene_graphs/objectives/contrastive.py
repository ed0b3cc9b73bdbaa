"""Contrast with several positives, in both directions."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vla3d.errors import ConfigError


class Temperature(nn.Module):
    """A factor on similarities that is learned as its logarithm (Radford et al., "CLIP", 2021).

    In training the parameter is put back into its range before it is used, rather than cut off afterwards: a cut has no
    gradient, and what is once beyond it would stay there.

    Args:
        start: temperature at first.
        low: least temperature, so largest factor.
        high: largest temperature.

    Raises:
        ConfigError: not 0 < low <= start <= high.
    """

    def __init__(self, start: float = 0.07, low: float = 0.01, high: float = 1.0) -> None:
        super().__init__()
        if not 0 < low <= start <= high:
            raise ConfigError(f"temperature: got {low} <= {start} <= {high}, expected rising numbers above 0.")
        self.range = (-math.log(high), -math.log(low))
        self.log_factor = nn.Parameter(torch.tensor(-math.log(start)))

    def forward(self, similarities: Tensor) -> Tensor:
        """Logits of similarities."""
        if self.training:
            with torch.no_grad():
                self.log_factor.clamp_(*self.range)
        return similarities * self.log_factor.exp()


def info_nce(
    logits: Float[Tensor, "R C"], positives: Bool[Tensor, "R C"], candidates: Bool[Tensor, "R C"] | None = None
) -> Float[Tensor, ""]:
    """How far rows are from their positives.

    The mean over rows of ``-1/|P| * sum over P of log softmax(row)`` (van den Oord et al. 2018; several positives as in Khosla
    et al., "Supervised contrastive learning", 2020). Rows without a positive do not count; without any such row the loss is 0,
    and gradients are zeros.

    Args:
        logits: similarity over temperature.
        positives: what is true of each row.
        candidates: what each row is compared with; positives always are. All by default.
    """
    if candidates is not None:
        logits = logits.masked_fill(~(candidates | positives), float("-inf"))
    counted = positives.any(dim=1)
    if not bool(counted.any()):
        return torch.where(torch.isfinite(logits), logits, 0.0).sum() * 0.0
    logits, positives = logits[counted], positives[counted]
    likelihood = logits - logits.logsumexp(dim=1, keepdim=True)
    likelihood = torch.where(positives, likelihood, 0.0)
    return -(likelihood.sum(dim=1) / positives.sum(dim=1)).mean()


def symmetric_info_nce(
    logits: Float[Tensor, "R C"], positives: Bool[Tensor, "R C"], candidates: Bool[Tensor, "R C"] | None = None
) -> Float[Tensor, ""]:
    """`info_nce` of rows and of columns, half each."""
    back = None if candidates is None else candidates.T
    return (info_nce(logits, positives, candidates) + info_nce(logits.T, positives.T, back)) / 2
