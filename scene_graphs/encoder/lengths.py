"""Sentences of about the same length together: a short one does not pay for the padding of a long one."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

# So few sentences that one long text does not fill them all with padding, so many that a group is worth its calls.
_GROUP = 32


def rows_by_length(mask: Bool[Tensor, "M T"]) -> list[tuple[Tensor, int]]:
    """Groups of rows, the shortest first, and how many columns each group needs. A group is int64, ``(G,)``.

    Args:
        mask: which tokens are there, at least one row.
    """
    columns = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    lengths = (mask * columns).amax(dim=1)
    return [(rows, int(lengths[rows].max())) for rows in lengths.argsort(stable=True).split(_GROUP)]


def in_order(found: Sequence[Tensor], groups: Sequence[tuple[Tensor, int]]) -> Tensor:
    """What was found for the groups of `rows_by_length`, in the order of the rows.

    Args:
        found: one tensor for each group, alike but for the number of rows.
        groups: what it was found for.
    """
    return torch.cat(list(found))[torch.cat([rows for rows, _ in groups]).argsort()]
