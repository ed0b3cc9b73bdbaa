"""What is compared: one task on the same data, by us and by others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def _itself(result: Any) -> Any:
    return result


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One program for a task.

    Attributes:
        name: of the program.
        run: does it all, what it must build first included; this is what is timed.
        answer: from what ``run`` returns to what can be compared with the others' answers; not timed.
        right: whether an answer is right, for a program that solves the task in a way of its own; None where answers are
            compared with ours.
    """

    name: str
    run: Callable[[], Any]
    answer: Callable[[Any], Tensor] = _itself
    right: Callable[[Tensor], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One task.

    Attributes:
        op: the operation.
        name: operation and sizes, for example ``"fps:16k->1024"``.
        size: what the plot has along its axis.
        ours: the operation of vla3d.
        peers: the others.
        touched: bytes that every program must read or write at least once.
        agree: whether two answers are the same.
    """

    op: str
    name: str
    size: int
    ours: Contestant
    peers: Sequence[Contestant]
    touched: int
    agree: Callable[[Tensor, Tensor], bool] = torch.equal

    def agreement(self, peer: Contestant, ours: Tensor, theirs: Tensor) -> bool:
        """Whether a peer's answer is as good as ours."""
        return bool(self.agree(ours, theirs) if peer.right is None else peer.right(theirs))


def short(count: int) -> str:
    """16384 as 16k, 100000 as 100k."""
    for thousand in (1000, 1024):
        if count >= thousand and count % thousand == 0:
            return f"{count // thousand}k"
    return str(count)


def uniform(shape: Sequence[int], seed: int, device: torch.device) -> Tensor:
    """Random numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def same_neighbours(
    query: Float[Tensor, "B M 3"], points: Float[Tensor, "B N 3"]
) -> Callable[[Int64[Tensor, "B M K"], Int64[Tensor, "B M K"]], bool]:
    """Whether two searches found the same neighbours, or others that are equally far to within rounding.

    Peers compute in double precision, or multiply out the square of the difference: the order of nearly equal ones is theirs.
    """

    def far(index: Tensor) -> Tensor:
        found = torch.stack([cloud[row] for cloud, row in zip(points, index.clamp(min=0).to(points.device), strict=True)])
        distance = (found.double() - query[:, :, None].double()).square().sum(-1)
        return distance.masked_fill(index.to(points.device) < 0, torch.inf)

    def agree(one: Int64[Tensor, "B M K"], other: Int64[Tensor, "B M K"]) -> bool:
        return one.shape == other.shape and torch.allclose(far(one), far(other), rtol=1e-5, atol=1e-9)

    return agree
