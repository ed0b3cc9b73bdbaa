"""The levels at which scenes and sentences are compared."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from vla3d.pretraining.batch import SceneBatch
from vla3d.scene_graphs.encoder.model import GraphEncoding, SceneEncoder
from vla3d.scene_graphs.encoder.similarity import late_interaction
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """What is compared at one level.

    Attributes:
        similarities: of rows and columns.
        positives: what belongs together.
        candidates: what else it is compared with.
    """

    similarities: Float[Tensor, "R C"]
    positives: Bool[Tensor, "R C"]
    candidates: Bool[Tensor, "R C"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """Everything of a batch, in the space in which it is compared.

    Attributes:
        nodes: of the things.
        pairs: of the edges.
        words: of all tokens.
        sentences: by their first token.
        groups: of the things that each sentence speaks of, together.
        scenes: of all things of a scene, together.
        members: which things of its scene each sentence speaks of.
    """

    nodes: Float[Tensor, "S C"]
    pairs: Float[Tensor, "R C"]
    words: Float[Tensor, "M T C"]
    sentences: Float[Tensor, "M C"]
    groups: Float[Tensor, "M C"]
    scenes: Float[Tensor, "B C"]
    members: Bool[Tensor, "M N"]


def embed(encoder: SceneEncoder, batch: SceneBatch, encoding: GraphEncoding, words: Float[Tensor, "M T D"]) -> Embeddings:
    """Embeddings of a batch.

    Args:
        encoder: what encoded it.
        batch: the batch.
        encoding: of its graphs.
        words: of its sentences.
    """
    graphs = batch.graphs
    dense = graphs.dense_nodes(encoding.nodes)
    spoken_of = things_of(batch, batch.sentence_things)
    return Embeddings(
        nodes=encoder.embed_nodes(encoding.nodes),
        pairs=encoder.embed_pairs(encoding, graphs.edge_index),
        words=encoder.embed_words(words),
        sentences=encoder.embed_sentences(words),
        groups=encoder.embed_groups(dense[batch.scene], spoken_of),
        scenes=encoder.embed_groups(dense, graphs.node_mask),
        members=spoken_of,
    )


def things_of(batch: SceneBatch, links: Int64[Tensor, "2 V"]) -> Bool[Tensor, "M N"]:
    """Rows of sentences and things as a table of the things of each sentence's scene."""
    row, node = links
    table = torch.zeros((len(batch.ids), batch.graphs.node_mask.shape[1]), dtype=torch.bool, device=batch.ids.device)
    table[row, batch.graphs.node_slot[node]] = True
    return table


def word_object(batch: SceneBatch, embedded: Embeddings) -> Contrast:
    """Words of noun phrases and the things of their scene."""
    words, scene, positives = _linked(batch, embedded, batch.word_things, len(embedded.nodes))
    return Contrast(
        similarities=words @ embedded.nodes.T,
        positives=positives,
        candidates=scene[:, None] == batch.graphs.node_scene[None],
    )


def phrase_edge(batch: SceneBatch, embedded: Embeddings) -> Contrast:
    """Words of predicates and the pairs of their scene; a pair the other way round is another one."""
    words, scene, positives = _linked(batch, embedded, batch.word_pairs, len(embedded.pairs))
    return Contrast(
        similarities=words @ embedded.pairs.T,
        positives=positives,
        candidates=scene[:, None] == batch.graphs.edge_scene[None],
    )


def _linked(
    batch: SceneBatch, embedded: Embeddings, links: Int64[Tensor, "2 Q"], columns: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Words that stand for something, the scene of each, and a table of what they stand for."""
    chosen, row = torch.unique(links[0], return_inverse=True)
    positives = torch.zeros((len(chosen), columns), dtype=torch.bool, device=links.device)
    positives[row, links[1]] = True
    return embedded.words.flatten(0, 1)[chosen], batch.scene[chosen // batch.ids.shape[1]], positives


def sentence_subgraph(batch: SceneBatch, embedded: Embeddings) -> Contrast:
    """Sentences and the groups of things that true sentences speak of.

    A sentence belongs to every group of its scene with the same members. It is compared with the other groups of its scene, and
    with those of scenes of which it is false; a sentence that is false of its own scene, with all groups there.
    """
    spoken = embedded.members.any(dim=1).nonzero()[:, 0]
    scene, spoken_of = batch.scene[spoken], embedded.members
    here = batch.scene[:, None] == scene[None]
    same = (spoken_of[:, None] == spoken_of[spoken][None]).all(dim=2) & here & batch.true[:, None]
    false = batch.truth[:, scene] == FALSE
    return Contrast(
        similarities=embedded.sentences @ embedded.groups[spoken].T,
        positives=same,
        candidates=(here & batch.true[:, None]) | false,
    )


def scene_text(batch: SceneBatch, embedded: Embeddings) -> Contrast:
    """Texts and scenes; a text belongs to every scene of which it is true, and is not compared with undecided ones."""
    return Contrast(
        similarities=scene_scores(batch, embedded, torch.arange(len(batch.ids), device=batch.ids.device)),
        positives=batch.truth == TRUE,
        candidates=batch.truth != UNDECIDED,
    )


def scene_scores(batch: SceneBatch, embedded: Embeddings, chosen: Int64[Tensor, "K"]) -> Float[Tensor, "K B"]:
    """How well some of the sentences fit every scene: word by word, and as a whole. The mean of both.

    Args:
        batch: of scenes and sentences.
        embedded: its embeddings.
        chosen: rows of sentences.
    """
    items, mask = scene_items(batch, embedded)
    by_word = late_interaction(embedded.words[chosen], batch.word_mask[chosen], items, mask)
    return (by_word + embedded.sentences[chosen] @ embedded.scenes.T) / 2


def scene_items(batch: SceneBatch, embedded: Embeddings) -> tuple[Float[Tensor, "B K C"], Bool[Tensor, "B K"]]:
    """Things and pairs of every scene, and which are there."""
    graphs = batch.graphs
    items = torch.cat([graphs.dense_nodes(embedded.nodes), graphs.dense_edges(embedded.pairs)], dim=1)
    return items, torch.cat([graphs.node_mask, graphs.edge_mask], dim=1)


def own_scores(batch: SceneBatch, embedded: Embeddings) -> Float[Tensor, "M"]:
    """How well each sentence fits its own scene; as in `scene_scores`."""
    items, mask = scene_items(batch, embedded)
    scores = embedded.words.new_zeros(len(batch.ids))
    for scene in range(len(batch.graphs)):
        mine = (batch.scene == scene).nonzero()[:, 0]
        by_word = late_interaction(
            embedded.words[mine], batch.word_mask[mine], items[scene : scene + 1], mask[scene : scene + 1]
        )
        as_whole = functional.linear(embedded.sentences[mine], embedded.scenes[scene : scene + 1])
        scores[mine] = ((by_word + as_whole) / 2)[:, 0]
    return scores
