"""The one seam between policies and vision-language models: views and a sentence in, one token grid per view out.

A backbone owns prompt assembly, attention masks, grid order and image normalisation; nothing else in the library
knows in which order a model reads its tokens. `vla3d.backbones.contract` tests any implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Tokenised sentences, padded on the right.

    Attributes:
        ids: token ids, int64, ``(B, T)``.
        mask: True at real tokens, False at padding, ``(B, T)``.
    """

    ids: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]

    def __len__(self) -> int:
        return self.ids.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "TextBatch":
        """The same batch on another device."""
        return TextBatch(self.ids.to(device, non_blocking=non_blocking), self.mask.to(device, non_blocking=non_blocking))

    def select(self, index: Int[Tensor, "N"]) -> "TextBatch":
        """The rows ``index``, in that order (an index may repeat)."""
        return TextBatch(self.ids[index], self.mask[index])


@dataclass(frozen=True, eq=False)
class ViewTokens:
    """What a backbone says about each view and each word.

    Attributes:
        grid: one feature per image patch, rows downwards and columns to the right, ``(B, V, gh, gw, D)``.
        text: one feature per text token, zero at padding, ``(B, T, D)``.
    """

    grid: Float[Tensor, "B V gh gw D"]
    text: Float[Tensor, "B T D"]


class ViewBackbone(nn.Module, ABC):
    """Base class of all backbones.

    Attributes:
        dim: width D of the features that come out.
        grid: patches per view, ``(rows, columns)``.
        num_views: views V of one sample.
        resolution: side of a (square) view, pixels.
        proprio_dim: length P of the proprioception vector; 0 when the model takes none.
    """

    dim: int
    grid: tuple[int, int]
    num_views: int
    resolution: int
    proprio_dim: int

    @abstractmethod
    def forward(
        self,
        views: Float[Tensor, "B V 3 H W"],
        text: TextBatch,
        proprio: Float[Tensor, "B P"] | None = None,
        hints: Float[Tensor, "B V gh gw D"] | None = None,
    ) -> ViewTokens:
        """Read the views and the sentence together.

        Args:
            views: colours in [0, 1] (normalisation happens inside), ``(B, V, 3, H, W)``.
            text: what `tokenize` or `blank` returned, B rows.
            proprio: proprioception, ``(B, P)``; required exactly when ``proprio_dim`` is not 0.
            hints: what somebody else knows about each patch, added to its features before views and sentence are read
                together; zeros are the same as None, to the bit.

        Raises:
            ValueError: when a shape does not fit.
        """

    @abstractmethod
    def view_features(self, views: Float[Tensor, "B V 3 H W"]) -> Float[Tensor, "B V gh gw D"]:
        """Features of each view alone, before it is read together with the sentence and the other views."""

    @abstractmethod
    def tokenize(self, sentences: Sequence[str]) -> TextBatch:
        """Turn sentences into tokens on the model's device; a sentence is never shortened.

        Raises:
            InstructionError: when a sentence is empty or takes more tokens than the budget.
        """

    @abstractmethod
    def blank(self, batch_size: int) -> TextBatch:
        """A prompt without words, for measuring what a policy does when it cannot read (blind control)."""

    def parts(self) -> Mapping[str, nn.Module]:
        """Modules that may be frozen, by name; parts may lie in one another."""
        return {}

    def freeze(self, names: Iterable[str]) -> None:
        """Let the named parts never train."""
        for name in names:
            self.parts()[name].requires_grad_(False)

    def pretrained_names(self) -> Iterator[str]:
        """Names of the parameters that come with published weights: what may wait while new heads learn to read it."""
        return (name for name, _ in self.named_parameters())

    @abstractmethod
    def save_pretrained(self, directory: str | PathLike[str]) -> None:
        """Write weights, configuration and tokenizer into ``directory``."""

    @classmethod
    @abstractmethod
    def from_pretrained(cls, directory: str | PathLike[str]) -> Self:
        """Read what `save_pretrained` wrote.

        Raises:
            CheckpointError: when the directory is missing, damaged or of another architecture.
        """

    def check_inputs(self, views: Tensor, text: TextBatch, proprio: Tensor | None, hints: Tensor | None = None) -> None:
        """Refuse inputs whose shapes do not fit, before they fail deep inside the model.

        Raises:
            ValueError: naming the argument, its shape and the shape expected.
        """
        expected = (self.num_views, 3, self.resolution, self.resolution)
        if views.ndim != 5 or tuple(views.shape[1:]) != expected:
            raise ValueError(
                f"views has shape {tuple(views.shape)}, expected (B, {', '.join(map(str, expected))}): "
                "render the views at the backbone's own resolution and number."
            )
        batch = views.shape[0]
        if len(text) != batch:
            raise ValueError(f"text has {len(text)} rows, expected {batch}, one for each row of views.")
        if self.proprio_dim == 0 and proprio is not None:
            raise ValueError("proprio was given, expected None: this backbone was built with proprio_dim=0.")
        if self.proprio_dim and (proprio is None or tuple(proprio.shape) != (batch, self.proprio_dim)):
            got = "None" if proprio is None else str(tuple(proprio.shape))
            raise ValueError(f"proprio is {got}, expected shape ({batch}, {self.proprio_dim}).")
        features = (batch, self.num_views, *self.grid, self.dim)
        if hints is not None and tuple(hints.shape) != features:
            raise ValueError(f"hints has shape {tuple(hints.shape)}, expected {features}, as view_features gives them.")
