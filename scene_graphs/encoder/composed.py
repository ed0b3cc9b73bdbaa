"""Which thing does a phrase mean? One that looks as it says, and stands as it says to another one that looks as it says."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from vla3d.scene_graphs.encoder.batch import GraphBatch
from vla3d.scene_graphs.encoder.model import GraphEncoding, SceneEncoder

# Far below every logarithm of a probability that is learned, and still a number: its gradient is 0 rather than undefined.
_NEVER = -1e4


class Match(nn.Module):
    """How probable it is that words describe a thing or a pair, from the angle between their features.

    Args:
        width: of the words.
        key_width: of what is described.
    """

    def __init__(self, width: int, key_width: int) -> None:
        super().__init__()
        self.query_net = nn.Linear(width, width, bias=False)
        self.key_net = nn.Sequential(nn.Linear(key_width, width), nn.GELU(), nn.Linear(width, width))
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, queries: Float[Tensor, "M D"], keys: Float[Tensor, "K E"]) -> Float[Tensor, "M K"]:
        """Logarithms of probabilities, of every description and everything that it could describe."""
        query = functional.normalize(self.query_net(queries), dim=-1)
        key = functional.normalize(self.key_net(keys), dim=-1)
        return functional.logsigmoid(self.log_scale.exp() * (query @ key.T) + self.bias)


class ComposedGrounding(nn.Module):
    """Scores things for phrases part by part: how a thing looks, and its relation to an anchor (Yu et al., "MAttNet", 2018).

    A part of a phrase is a mean of its words that attention weighs. Attention sees the words in their sentence; what is
    averaged are single words. A relation is matched with the predicates of an edge and not with the things at its ends; an
    anchor with how it looks and not with how it stands. So a pair of words has no features of its own, and words that never met
    are understood by what each means elsewhere. What does not depend on the phrase, such as that the hand holds a thing
    already, is a part of its own, from features in the light of the whole scene.

    Args:
        encoder: whose words and things are scored.
    """

    def __init__(self, encoder: SceneEncoder) -> None:
        super().__init__()
        width = encoder.config.width
        self.attention = nn.Linear(width, 3)
        self.subject = Match(width, width)
        self.relation = Match(width, len(encoder.config.predicates))
        self.anchor = Match(width, width)
        self.unrelated = nn.Parameter(torch.tensor(-6.0))
        self.salience = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.salience.weight)

    def forward(
        self, encoder: SceneEncoder, graphs: GraphBatch, ids: Tensor, mask: Bool[Tensor, "M T"]
    ) -> Float[Tensor, "M N"]:
        """How well each thing of its scene fits each phrase, as logits; minus infinity where there is none.

        Args:
            encoder: see above.
            graphs: of the scenes, one for each phrase.
            ids: token ids, int64, ``(M, T)``.
            mask: which tokens are there.
        """
        encoding = encoder.encode_graph(graphs)
        weights = self.attention(encoder.encode_text(ids, mask)).masked_fill(~mask[..., None], float("-inf")).softmax(dim=1)
        words = torch.einsum("mtk,mtd->kmd", weights, encoder.text.embedding(ids))
        with torch.autocast(ids.device.type, enabled=False):
            logits = self._score(words.float(), graphs, encoding)
        return logits.masked_fill(~graphs.node_mask, float("-inf"))

    def _score(self, words: Float[Tensor, "3 M D"], graphs: GraphBatch, encoding: GraphEncoding) -> Float[Tensor, "M N"]:
        subject, relation, anchor = words
        looks = encoding.looks.float()
        is_anchor = _own(self.anchor(anchor, looks), graphs)
        related = self._related(self.relation(relation, graphs.edge_predicates), is_anchor, graphs)
        # A phrase without a relation is fitted by things that stand in none.
        related = torch.logaddexp(related, self.unrelated.expand_as(related))
        salient = graphs.dense_nodes(self.salience(encoding.nodes.float())[:, 0])
        return _own(self.subject(subject, looks), graphs) + related + salient

    def _related(
        self, stands: Float[Tensor, "M R"], is_anchor: Float[Tensor, "M N"], graphs: GraphBatch
    ) -> Float[Tensor, "M N"]:
        """Each thing's probability to stand right to an anchor, as a logarithm: the sum over the edges that leave it."""
        scene, (subject, target) = graphs.edge_scene, graphs.node_slot[graphs.edge_index]
        edge = torch.arange(len(scene), device=scene.device)
        table = is_anchor.new_full((*is_anchor.shape, is_anchor.shape[1]), _NEVER)
        both = stands[scene, edge] + is_anchor[scene, target]
        return table.index_put((scene, subject, target), both).logsumexp(dim=2)


def _own(scores: Float[Tensor, "M S"], graphs: GraphBatch) -> Float[Tensor, "M N"]:
    """Of the scores of all things those of each phrase's own scene."""
    node = torch.arange(len(graphs.node_scene), device=scores.device)
    dense = graphs.dense_nodes(scores[graphs.node_scene, node])
    return dense.masked_fill(~graphs.node_mask, _NEVER)
