"""Attention blocks that text and fusion are made of."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017) from queries to keys that may be padded.

    Args:
        width: of all features.
        heads: they share ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, queries: Float[Tensor, "M Q D"], keys: Float[Tensor, "M K D"], key_mask: Bool[Tensor, "M K"]
    ) -> Float[Tensor, "M Q D"]:
        """What each query finds.

        Args:
            queries: who asks.
            keys: who is asked; their values are their own features.
            key_mask: which of them are there; at least one for each row.
        """
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(queries), *self.key_value(keys).chunk(2, dim=-1))
        )
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=key_mask[:, None, None, :])
        return self.out(found.transpose(1, 2).flatten(-2))


class FeedForward(nn.Sequential):
    """Two layers on each position, with a norm before them.

    Args:
        width: of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class SelfAttentionLayer(nn.Module):
    """A pre-norm transformer layer.

    Args:
        width: of the features.
        heads: of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, values: Float[Tensor, "M T D"], mask: Bool[Tensor, "M T"]) -> Float[Tensor, "M T D"]:
        """New features; those of padding mean nothing."""
        normed = self.norm(values)
        values = values + self.attention(normed, normed, mask)
        return values + self.feed_forward(values)


class CrossAttentionLayer(nn.Module):
    """Words attend to objects and objects to words, both to what the other side was before.

    Args:
        width: of the features.
        heads: of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.word_norm = nn.LayerNorm(width)
        self.node_norm = nn.LayerNorm(width)
        self.to_nodes = Attention(width, heads)
        self.to_words = Attention(width, heads)
        self.word_feed_forward = FeedForward(width)
        self.node_feed_forward = FeedForward(width)

    def forward(
        self,
        words: Float[Tensor, "M T D"],
        word_mask: Bool[Tensor, "M T"],
        nodes: Float[Tensor, "M N D"],
        node_mask: Bool[Tensor, "M N"],
    ) -> tuple[Float[Tensor, "M T D"], Float[Tensor, "M N D"]]:
        """New features of words and objects, row by row."""
        normed_words, normed_nodes = self.word_norm(words), self.node_norm(nodes)
        words = words + self.to_nodes(normed_words, normed_nodes, node_mask)
        nodes = nodes + self.to_words(normed_nodes, normed_words, word_mask)
        return words + self.word_feed_forward(words), nodes + self.node_feed_forward(nodes)


class TextEncoder(nn.Module):
    """Words in the light of their sentence.

    Args:
        vocab_size: number of tokens.
        width: of the features.
        heads: of attention.
        layers: of self-attention.
        max_tokens: most tokens of a text.

    Attributes:
        mask_token: stands for a word that is masked.
    """

    def __init__(self, vocab_size: int, *, width: int, heads: int, layers: int, max_tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(max_tokens, width))
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList(SelfAttentionLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(
        self, ids: Tensor, mask: Bool[Tensor, "M T"], hidden: Bool[Tensor, "M T"] | None = None
    ) -> Float[Tensor, "M T D"]:
        """A feature for each token; those of padding mean nothing.

        Args:
            ids: token ids, int64, ``(M, T)``.
            mask: which tokens are there.
            hidden: tokens that must not be read.
        """
        words = self.embedding(ids)
        if hidden is not None:
            words = torch.where(hidden[..., None], self.mask_token, words)
        words = words + self.position_embedding[: ids.shape[1]]
        for layer in self.layers:
            words = layer(words, mask)
        return self.norm(words)
