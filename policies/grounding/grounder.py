"""Which thing of its scene graph does a sentence mean, if any?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vla3d.backbones.base import TextBatch
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.policies.grounding.scenes import SeenScenes
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.layers import GraphLayer
from vla3d.scene_graphs.encoder.model import SceneEncoder
from vla3d.scene_graphs.encoder.phrases import phrase_logits
from vla3d.scene_graphs.objectives.contrastive import Temperature


@dataclass(frozen=True, kw_only=True, eq=False)
class Grounding:
    """What sentences are taken to mean.

    Attributes:
        things: probability of each thing; 0 for what is none.
        nothing: probability that it is none of them. Together they add up to 1, or to 0 where a scene was not looked at.
    """

    things: Float[Tensor, "B N"]
    nothing: Float[Tensor, " B"]

    @classmethod
    def of(cls, logits: Float[Tensor, "B S"]) -> Self:
        """From logits whose last slot is "none of them"."""
        probability = logits.softmax(dim=-1)
        return cls(things=probability[:, :-1], nothing=probability[:, -1])

    @classmethod
    def certain(cls, slots: Int64[Tensor, " B"], things: int) -> Self:
        """All on one slot of ``things`` + 1, of which the last is "none of them"; a negative slot is no answer at all."""
        one_hot = nn.functional.one_hot(slots.clamp(min=0), things + 1).float() * (slots >= 0)[:, None]
        return cls(things=one_hot[:, :-1], nothing=one_hot[:, -1])

    @property
    def total(self) -> Float[Tensor, " B"]:
        """1 where a scene was looked at, up to rounding, else 0."""
        return self.things.sum(dim=1) + self.nothing

    def detached(self) -> Self:
        """The same without gradients."""
        return type(self)(things=self.things.detach(), nothing=self.nothing.detach())

    def kept(self, rows: Bool[Tensor, " B"]) -> Self:
        """Answers of some rows alone; the others are as if nobody had looked."""
        # Products rather than a choice of rows: every weight then takes part in every step, as several processes need it.
        return type(self)(things=self.things * rows[:, None], nothing=self.nothing * rows)


class Grounder(nn.Module):
    """Scores the things of a scene for a sentence, and "none of them", by similarity after fusion.

    Args:
        config: sizes of the encoder.
        tokenizer: of the sentences; it travels with the weights.

    Attributes:
        nothing: features that stand for "none of them".
        nothing_bias: added to their logit.
    """

    def __init__(self, config: SceneEncoderConfig, tokenizer: InstructionTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = SceneEncoder(config, tokenizer.vocab_size)
        self.temperature = Temperature()
        self.nothing = nn.Parameter(0.02 * torch.randn(config.width))
        self.nothing_bias = nn.Parameter(torch.zeros(()))
        for part in _unread(self.encoder):
            part.requires_grad_(False)

    def forward(self, scenes: SeenScenes, phrases: TextBatch) -> Float[Tensor, "B S"]:
        """Logits of every thing and, last, of none of them; minus infinity for what is no thing.

        Args:
            scenes: one for each phrase.
            phrases: see `read`.
        """
        logits = phrase_logits(self.encoder, self.temperature, scenes.graphs, phrases.ids, phrases.mask, self.nothing)
        things = logits[:, :-1].masked_fill(~scenes.things, float("-inf"))
        return torch.cat([things, logits[:, -1:] + self.nothing_bias], dim=1)

    def read(self, sentences: Sequence[str] | None, count: int) -> TextBatch:
        """Sentences as tokens; None for blank ones.

        Raises:
            InstructionError: one is too long to be read whole.
        """
        if sentences is None:
            text = self.tokenizer.blank(count)
        else:
            text = self.tokenizer.encode(sentences, self.encoder.config.max_text_tokens)
        return text.to(self.nothing.device)


def _unread(encoder: SceneEncoder) -> Iterator[nn.Module | nn.Parameter]:
    """Parts of the encoder that pre-training reads and grounding does not. They stay as they are: several processes can train
    only weights that all of them use."""
    yield from (encoder.pair_head, encoder.word_head, encoder.group_head)
    yield from (encoder.text.mask_token, encoder.objects.hidden_points, encoder.objects.hidden_box)
    if not len(encoder.graph_layers):
        yield encoder.edge_net
        return
    last = encoder.graph_layers[-1]
    assert isinstance(last, GraphLayer)
    yield from (last.edge_net, last.edge_norm)
