"""Which thing of its scene graph does a sentence mean, if any?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vla3d.backbones.base import TextBatch
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.policies.grounding.config import Scoring
from vla3d.policies.grounding.scenes import SeenScenes
from vla3d.policies.grounding.scoring import ComposedScoring, FusedScoring, unread
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.model import SceneEncoder


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
    """Scores the things of a scene for a sentence, and "none of them".

    Args:
        config: sizes of the encoder.
        tokenizer: of the sentences; it travels with the weights.
        scoring: how; see `vla3d.policies.grounding.scoring`.
    """

    def __init__(self, config: SceneEncoderConfig, tokenizer: InstructionTokenizer, scoring: Scoring = "composed") -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = SceneEncoder(config, tokenizer.vocab_size)
        self.scoring = ComposedScoring(self.encoder) if scoring == "composed" else FusedScoring(self.encoder)
        # They stay as they are: several processes can train only weights that all of them use.
        for part in (*unread(self.encoder), *self.scoring.unread(self.encoder)):
            part.requires_grad_(False)

    def forward(self, scenes: SeenScenes, phrases: TextBatch) -> Float[Tensor, "B S"]:
        """Logits of every thing and, last, of none of them; minus infinity for what is no thing.

        Args:
            scenes: one for each phrase.
            phrases: see `read`.
        """
        logits = self.scoring(self.encoder, scenes.graphs, phrases)
        things = logits[:, :-1].masked_fill(~scenes.things, float("-inf"))
        return torch.cat([things, logits[:, -1:]], dim=1)

    def read(self, sentences: Sequence[str] | None, count: int) -> TextBatch:
        """Sentences as tokens; None for blank ones.

        Raises:
            InstructionError: one is too long to be read whole.
        """
        if sentences is None:
            text = self.tokenizer.blank(count)
        else:
            text = self.tokenizer.encode(sentences, self.encoder.config.max_text_tokens)
        return text.to(self.scoring.nothing_bias.device)
