"""Which thing does a phrase mean? The encoder answers by similarity after fusion; nothing is added to it."""

from contextlib import AbstractContextManager

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vla3d.scene_graphs.encoder.batch import GraphBatch
from vla3d.scene_graphs.encoder.model import SceneEncoder


def full_precision(tensor: Tensor) -> AbstractContextManager[None]:
    """For what is compared: temperatures multiply similarities, and their rounding in bfloat16, by up to 100."""
    return torch.autocast(tensor.device.type, enabled=False)


def phrase_logits(
    encoder: SceneEncoder,
    temperature: nn.Module,
    graphs: GraphBatch,
    ids: Int64[Tensor, "M T"],
    mask: Bool[Tensor, "M T"],
    nothing: Float[Tensor, "D"] | None = None,
) -> Float[Tensor, "M S"]:
    """How well each thing of its scene fits each phrase; minus infinity where there is none.

    Args:
        encoder: of graphs and words.
        temperature: turns similarities into logits.
        graphs: of the scenes, one for each phrase.
        ids: token ids.
        mask: which tokens are there.
        nothing: features that stand for "none of them". They take part in the fusion like one more thing, and their logit is
            the last slot, so that S is N + 1 instead of N. With them a graph may be without nodes.
    """
    nodes = graphs.dense_nodes(encoder.encode_graph(graphs).nodes)
    there = graphs.node_mask
    if nothing is not None:
        nodes = torch.cat([nodes, nothing.to(nodes.dtype).expand(len(nodes), 1, -1)], dim=1)
        there = nn.functional.pad(there, (0, 1), value=True)
    words, nodes = encoder.fuse(encoder.encode_text(ids, mask), mask, nodes, there)
    with full_precision(words):
        logits: Tensor = temperature(encoder.ground(words, nodes))
    return logits.masked_fill(~there, float("-inf"))
