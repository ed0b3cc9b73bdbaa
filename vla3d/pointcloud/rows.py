"""Clouds of different sizes side by side: the two ways to hand them over, and the one form in which kernels take them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Clouds as rows of one flat tensor.

    Attributes:
        points: all points, those of one cloud next to each other; float32, or float64 as it came.
        starts: where each cloud begins.
        lengths: how many points each cloud has; what follows up to the next start is padding.
        packed: whether indices that are handed back count in the flat tensor (True) or within their cloud (False).
    """

    points: Float[Tensor, "T 3"]
    starts: Int64[Tensor, "B"]
    lengths: Int64[Tensor, "B"]
    packed: bool

    def outward(self, index: Int64[Tensor, "B *rest"]) -> Int64[Tensor, "B *rest"]:
        """Indices within a cloud as the caller counts them; -1 stays."""
        if not self.packed:
            return index
        starts = self.starts.view(-1, *(1 for _ in index.shape[1:]))
        return torch.where(index >= 0, index + starts, index)


def rows_of(
    name: str,
    points: Float[Tensor, "*shape 3"],
    lengths: Int[Tensor, "B"] | None = None,
    offsets: Int[Tensor, "B_plus_1"] | None = None,
    prefix: str = "",
) -> Rows:
    """Check clouds and bring them into the form of the kernels, without copying float32 points.

    Args:
        name: what the caller calls the points, for messages.
        points: ``(B, N, 3)`` padded clouds, or ``(T, 3)`` packed ones.
        lengths: real points of each padded cloud; all when None.
        offsets: borders of packed clouds, ``0 = offsets[0] <= ... <= offsets[B] = T``.
        prefix: what the caller writes before ``lengths`` and ``offsets``.

    Raises:
        ValueError: naming the argument, what it is and what was expected. Values of tensors on a GPU are not looked at, which
            would make the program wait for it; there lengths are clamped instead.
    """
    if offsets is None:
        _check_points(name, points, dimensions=3, hint=f"(B, N, 3); hand packed clouds (T, 3) over with {prefix}offsets")
        batch, size = points.shape[:2]
        if lengths is None:
            lengths = torch.full((batch,), size, device=points.device)
        _check_counts(f"{prefix}lengths", lengths, points, batch)
        if _readable(lengths) and bool(((lengths < 0) | (lengths > size)).any()):
            raise ValueError(f"{prefix}lengths: got {lengths.tolist()}, expected 0 to {size}, the size of {name}.")
        starts = torch.arange(batch, device=points.device) * size
        return Rows(points=_floats(points.reshape(-1, 3)), starts=starts, lengths=lengths.long().clamp(0, size), packed=False)
    _check_points(name, points, dimensions=2, hint=f"(T, 3) beside {prefix}offsets")
    if lengths is not None:
        raise ValueError(
            f"{prefix}lengths: got them beside offsets, expected one of the two; offsets say how long packed clouds are."
        )
    _check_counts(f"{prefix}offsets", offsets, points, None)
    total = points.shape[0]
    if _readable(offsets) and (offsets[0] != 0 or offsets[-1] != total or bool((offsets.diff() < 0).any())):
        raise ValueError(f"{prefix}offsets: got {offsets.tolist()}, expected whole numbers that rise from 0 to {total}.")
    borders = offsets.long().clamp(0, total)
    return Rows(points=_floats(points), starts=borders[:-1].contiguous(), lengths=borders.diff().clamp(min=0), packed=True)


def cloud_of_points(starts: Int64[Tensor, "B"], total: int) -> Int64[Tensor, "T"]:
    """Which cloud each of ``total`` flat points belongs to."""
    # Of clouds that begin at the same place all but the last are empty.
    return torch.searchsorted(starts, torch.arange(total, device=starts.device), right=True) - 1


def valid_points(
    points: Float[Tensor, "T 3"], starts: Int64[Tensor, "B"], lengths: Int64[Tensor, "B"], cloud: Int64[Tensor, "T"]
) -> Bool[Tensor, "T"]:
    """Which points are neither padding nor non-finite."""
    inside = torch.arange(len(points), device=points.device) < (starts + lengths)[cloud]
    return inside & points.isfinite().all(1)


def check_device(name: str, tensor: Tensor, points: Tensor) -> None:
    """Refuse a tensor that lies on another device than the points."""
    if tensor.device != points.device:
        raise ValueError(f"{name}: got device {tensor.device}, expected {points.device}, where the points are.")


def check_count(name: str, value: int) -> None:
    """Refuse what is no count."""
    if isinstance(value, bool) or not isinstance(value, int | torch.SymInt) or value < 0:
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least 0.")


def _check_points(name: str, points: Tensor, dimensions: int, hint: str) -> None:
    if points.ndim != dimensions or points.shape[-1] != 3:
        raise ValueError(f"{name}: got shape {tuple(points.shape)}, expected {hint}.")
    if not points.is_floating_point():
        raise ValueError(f"{name}: got {points.dtype}, expected floating-point coordinates.")


def _check_counts(name: str, counts: Tensor, points: Tensor, batch: int | None) -> None:
    shape_fits = counts.ndim == 1 and (counts.shape[0] == batch if batch is not None else counts.shape[0] >= 1)
    if not shape_fits or counts.is_floating_point() or counts.dtype == torch.bool:
        expected = f"({batch},)" if batch is not None else "(B + 1,)"
        raise ValueError(f"{name}: got {counts.dtype} of shape {tuple(counts.shape)}, expected whole numbers {expected}.")
    check_device(name, counts, points)


def _readable(counts: Tensor) -> bool:
    """Whether looking at the values neither waits for a GPU nor breaks a traced graph."""
    return counts.device.type == "cpu" and not torch.compiler.is_compiling()


def _floats(points: Tensor) -> Tensor:
    wide = points if points.dtype == torch.float64 else points.float()
    return wide.contiguous()
