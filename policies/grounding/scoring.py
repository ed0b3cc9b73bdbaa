"""Two ways to score the things of a scene, and "none of them", for a sentence."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vla3d.backbones.base import TextBatch
from vla3d.scene_graphs.encoder.batch import GraphBatch
from vla3d.scene_graphs.encoder.composed import ComposedGrounding
from vla3d.scene_graphs.encoder.layers import GraphLayer
from vla3d.scene_graphs.encoder.model import SceneEncoder
from vla3d.scene_graphs.encoder.phrases import phrase_logits
from vla3d.scene_graphs.objectives.contrastive import Temperature

# What single parts of a sentence say is rarely all true of a thing that is not meant; see ``ComposedGrounding``.
_NOTHING_AT_FIRST = -3.0


class ComposedScoring(nn.Module):
    """Part by part, see `ComposedGrounding`; "none of them" where every thing scores below a bar that is learned.

    Args:
        encoder: of graphs and sentences.
    """

    def __init__(self, encoder: SceneEncoder) -> None:
        super().__init__()
        self.grounding = ComposedGrounding(encoder)
        self.nothing_bias = nn.Parameter(torch.tensor(_NOTHING_AT_FIRST))

    def forward(self, encoder: SceneEncoder, graphs: GraphBatch, phrases: TextBatch) -> Float[Tensor, "B S"]:
        """Logits of every thing and, last, of none of them."""
        things = self.grounding(encoder, graphs, phrases.ids, phrases.mask)
        return torch.cat([things, self.nothing_bias.expand(len(things), 1)], dim=1)

    @staticmethod
    def unread(encoder: SceneEncoder) -> Iterator[nn.Module | nn.Parameter]:
        """Parts of the encoder that take no part."""
        yield from (encoder.fusion, encoder.fused_word_norm, encoder.fused_node_norm, encoder.node_head, encoder.sentence_head)


class FusedScoring(nn.Module):
    """By similarity after fusion, as in pre-training.

    Args:
        encoder: of graphs and sentences.

    Attributes:
        nothing: features that stand for "none of them".
        nothing_bias: added to their logit.
    """

    def __init__(self, encoder: SceneEncoder) -> None:
        super().__init__()
        self.temperature = Temperature()
        self.nothing = nn.Parameter(0.02 * torch.randn(encoder.config.width))
        self.nothing_bias = nn.Parameter(torch.zeros(()))

    def forward(self, encoder: SceneEncoder, graphs: GraphBatch, phrases: TextBatch) -> Float[Tensor, "B S"]:
        """Logits of every thing and, last, of none of them."""
        logits = phrase_logits(encoder, self.temperature, graphs, phrases.ids, phrases.mask, self.nothing)
        return torch.cat([logits[:, :-1], logits[:, -1:] + self.nothing_bias], dim=1)

    @staticmethod
    def unread(encoder: SceneEncoder) -> Iterator[nn.Module | nn.Parameter]:
        """Parts of the encoder that take no part."""
        yield from ()


def unread(encoder: SceneEncoder) -> Iterator[nn.Module | nn.Parameter]:
    """Parts of the encoder that pre-training reads and no scoring does."""
    yield from (encoder.pair_head, encoder.word_head, encoder.group_head)
    yield from (encoder.text.mask_token, encoder.objects.hidden_points, encoder.objects.hidden_box)
    if not len(encoder.graph_layers):
        yield encoder.edge_net
        return
    last = encoder.graph_layers[-1]
    assert isinstance(last, GraphLayer)
    yield from (last.edge_net, last.edge_norm)
