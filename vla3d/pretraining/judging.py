"""What validation measures of a scene-graph encoder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.pretraining import levels
from vla3d.pretraining.batch import SceneBatch
from vla3d.pretraining.levels import Embeddings
from vla3d.scene_graphs.encoder.batch import GraphBatch
from vla3d.scene_graphs.encoder.inputs import UNLISTED
from vla3d.scene_graphs.encoder.phrases import full_precision
from vla3d.scene_graphs.predicates.truth import TRUE

if TYPE_CHECKING:
    from vla3d.pretraining.modeling import SceneGraphPretraining

# Sentences whose words are held against all scenes at once: memory grows with it.
_CHUNK = 16
_MASK_EVERY = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryBatch:
    """See `Gallery`.

    Attributes:
        scenes: among which a text has to find its own.
        compositions: scenes with held-out compositions.
    """

    scenes: SceneBatch
    compositions: SceneBatch


@torch.no_grad()
def judge(model: "SceneGraphPretraining", gallery: GalleryBatch) -> dict[str, float]:
    """Accuracies of a model.

    Returns:
        ``retrieval_r1``: texts about the whole whose best scene among all is one of which they are true, and
        ``retrieval_chance``, what a random scene would give; ``retrieval_error`` is what is left of 1.
        ``word_object_accuracy``: words of noun phrases whose nearest thing in the scene is one that they stand for.
        ``masked_category_accuracy``: see `category_accuracy`.
        ``contrast_accuracy``: sentences that fit their scene better than one that is false of it by a word;
        ``composition_accuracy``: the same where one of the two is about a held-out pair of colour and label. Half is what
        words alone give.
    """
    scenes, held_out = gallery.scenes, gallery.compositions
    embedded, held_out_embedded = encode(model, scenes), encode(model, held_out)
    category = category_accuracy(model, scenes.graphs)
    with full_precision(embedded.words):
        found, chance = retrieval(scenes, embedded)
        return {
            "retrieval_r1": found,
            "retrieval_chance": chance,
            "retrieval_error": 1.0 - found,
            "word_object_accuracy": word_accuracy(scenes, embedded),
            "masked_category_accuracy": category,
            "contrast_accuracy": share(contrast_wins(scenes, embedded)),
            "composition_accuracy": share(contrast_wins(held_out, held_out_embedded)),
        }


def encode(model: "SceneGraphPretraining", batch: SceneBatch) -> Embeddings:
    """Embeddings of a batch with nothing masked."""
    encoder = model.encoder
    encoding, words = encoder.encode_graph(batch.graphs), encoder.encode_text(batch.ids, batch.mask)
    with full_precision(words):
        return levels.embed(encoder, batch, encoding, words)


def share(wins: Bool[Tensor, "C"]) -> float:
    """Share of what is True; a half where there is nothing to win, as of a coin."""
    return float(wins.float().mean()) if len(wins) else 0.5


def retrieval(batch: SceneBatch, embedded: Embeddings) -> tuple[float, float]:
    """Share of texts about the whole that find a scene of which they are true, and what chance gives."""
    scores = torch.cat([levels.scene_scores(batch, embedded, chosen) for chosen in batch.summaries.split(_CHUNK)])
    true = batch.truth[batch.summaries] == TRUE
    hits = true.gather(1, scores.argmax(dim=1, keepdim=True))
    return float(hits.float().mean()), float(true.float().mean())


def word_accuracy(batch: SceneBatch, embedded: Embeddings) -> float:
    """Share of the words of noun phrases whose nearest thing is one that they stand for."""
    contrast = levels.word_object(batch, embedded)
    return share(_best_is_positive(contrast.similarities, contrast.positives, contrast.candidates))


def _best_is_positive(
    similarities: Float[Tensor, "R C"], positives: Bool[Tensor, "R C"], candidates: Bool[Tensor, "R C"]
) -> Bool[Tensor, "R"]:
    best = similarities.masked_fill(~candidates, float("-inf")).argmax(dim=1, keepdim=True)
    return positives.gather(1, best)[:, 0] if len(best) else positives.any(dim=1)


def category_accuracy(model: "SceneGraphPretraining", graphs: GraphBatch) -> float:
    """Share of hidden things whose category is told right. Every thing is hidden once, a quarter of each scene at a time."""
    right = listed = 0
    shapes = model.encoder.objects.shapes(graphs.points, graphs.point_mask)
    for turn in range(_MASK_EVERY):
        hidden = graphs.node_slot % _MASK_EVERY == turn
        told = model.category_logits(graphs, hidden, shapes).argmax(dim=1)
        counted = hidden & (graphs.labels != UNLISTED)
        right += int((told == graphs.labels)[counted].sum())
        listed += int(counted.sum())
    return right / max(listed, 1)


def contrast_wins(batch: SceneBatch, embedded: Embeddings) -> Bool[Tensor, "C"]:
    """Which true sentences fit their scene better than the false ones that differ in one thing."""
    positive, negative = batch.contrasts
    scores = levels.own_scores(batch, embedded)
    return scores[positive] > scores[negative]
