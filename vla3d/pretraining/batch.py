"""Scenes and sentences as one batch: graphs, token ids, what words stand for, and which sentence is true of which scene."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int8, Int64
from torch import Tensor

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import DataError
from vla3d.pretraining.samples import SceneSample
from vla3d.scene_graphs.encoder.batch import GraphBatch, stack_graphs
from vla3d.scene_graphs.predicates.truth import TRUE
from vla3d.scene_graphs.text.checker import check
from vla3d.scene_graphs.text.sentence import Sentence, Span


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneBatch:
    """Scenes and sentences. Words are numbered sentence by sentence, padding included: word ``t`` of sentence ``m`` is
    ``m * T + t``; things and pairs are numbered as in ``graphs``.

    Attributes:
        graphs: of the scenes.
        ids: token ids.
        mask: which tokens are there.
        word_mask: which of them are words or punctuation rather than control tokens.
        scene: of each sentence.
        true: whether it is true of its scene.
        truth: of each sentence of each scene: 1 true, -1 false, 0 undecided.
        summaries: the sentence about the whole of each scene.
        contrasts: rows of a true sentence and one that is false by a word, both about one scene.
        word_things: rows of words of true sentences and a thing that they stand for.
        word_pairs: rows of words of true sentences and a pair of which their predicate holds.
        sentence_things: rows of true sentences and a thing that they speak of.
        sentence_subjects: rows of true sentences and a thing that they are about: what a phrase refers to and not what that
            stands beside, the subject of a relation; where it is not one thing, whatever they speak of.
    """

    graphs: GraphBatch
    ids: Int64[Tensor, "M T"]
    mask: Bool[Tensor, "M T"]
    word_mask: Bool[Tensor, "M T"]
    scene: Int64[Tensor, "M"]
    true: Bool[Tensor, "M"]
    truth: Int8[Tensor, "M B"]
    summaries: Int64[Tensor, "B"]
    contrasts: Int64[Tensor, "2 C"]
    word_things: Int64[Tensor, "2 Q"]
    word_pairs: Int64[Tensor, "2 U"]
    sentence_things: Int64[Tensor, "2 V"]
    sentence_subjects: Int64[Tensor, "2 W"]


def collate_scenes(
    samples: Sequence[SceneSample], tokenizer: InstructionTokenizer, max_tokens: int, *, negatives: bool = True
) -> SceneBatch:
    """A batch of scenes.

    Args:
        samples: at least one; one of them has a sentence.
        tokenizer: of the sentences.
        max_tokens: most tokens of a sentence.
        negatives: whether false sentences are in it, and contrasts with them.

    Raises:
        DataError: nothing is said of any scene.
        InstructionError: a sentence has too many tokens.
    """
    sentences: list[tuple[int, Sentence, bool]] = []
    summaries, contrasts = [], []
    for number, sample in enumerate(samples):
        start = len(sentences)
        sentences += [(number, sentence, True) for sentence in sample.sentences]
        summaries.append(start + sample.summary)
        if negatives:
            false = len(sentences)
            sentences += [(number, sentence, False) for sentence in sample.negatives]
            contrasts += [(start + positive, false + negative) for positive, negative in sample.contrasts]
    if not sentences:
        raise DataError("pre-training: nothing is said of any scene of a batch, expected sentences; see the section scenes.")
    graphs = stack_graphs([sample.graph for sample in samples])
    text = tokenizer.encode([sentence.text for _, sentence, _ in sentences], max_tokens)
    width = text.ids.shape[1]
    ends = text.mask.sum(dim=1, keepdim=True) - 1
    columns = torch.arange(width)
    things, pairs, spoken_of, subjects = _links(samples, sentences, tokenizer, width)
    return SceneBatch(
        graphs=graphs,
        ids=text.ids,
        mask=text.mask,
        word_mask=(columns > 0) & (columns < ends),
        scene=torch.tensor([number for number, _, _ in sentences]),
        true=torch.tensor([true for _, _, true in sentences]),
        truth=truth_table([sentence for _, sentence, _ in sentences], samples),
        summaries=torch.tensor(summaries),
        contrasts=_rows(contrasts),
        word_things=_rows(things),
        word_pairs=_rows(pairs),
        sentence_things=_rows(spoken_of),
        sentence_subjects=_rows(subjects),
    )


def truth_table(sentences: Sequence[Sentence], samples: Sequence[SceneSample]) -> Int8[Tensor, "M B"]:
    """Whether each sentence is true of each scene, by the checker; what is said from elsewhere is undecided."""
    table = np.array(
        [[check(sentence.claim, sample.facts) for sample in samples] for sentence in sentences], dtype=np.int8
    ).reshape(len(sentences), len(samples))
    return torch.from_numpy(table)


def tokens_of(span: Span, pieces: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Positions of the tokens of a span, the one at the start of the text counted.

    Args:
        span: of a sentence.
        pieces: characters of the sentence's tokens.
    """
    for place, (start, end) in enumerate(pieces):
        if start < span.end and end > span.start:
            yield place + 1


def _links(
    samples: Sequence[SceneSample], sentences: Sequence[tuple[int, Sentence, bool]], tokenizer: InstructionTokenizer, width: int
) -> tuple[list[tuple[int, int]], ...]:
    """What words and sentences stand for, by number."""
    nodes, edges = _numbers(samples)
    things, pairs, spoken_of, subjects = [], [], [], []
    for row, (scene, sentence, true) in enumerate(sentences):
        if not true:
            continue
        pieces = tokenizer.spans(sentence.text)
        meant: set[int] = set()
        for span in sentence.spans:
            tokens = [row * width + token for token in tokens_of(span, pieces)]
            if span.role == "object":
                mine = [nodes[scene, node_id] for node_id in span.ids]
                things += [(token, node) for token in tokens for node in mine]
                meant.update(mine)
            elif span.role == "predicate":
                pairs += [(token, edges[scene, *ends]) for token in tokens for ends in _holds(span, samples[scene])]
        spoken_of += [(row, node) for node in sorted(meant)]
        if sentence.target is not None and sentence.kind != "object":  # "a red cup" is of one thing and may fit others
            meant = {nodes[scene, sentence.target]}
        subjects += [(row, node) for node in sorted(meant)]
    # Spans may overlap where a phrase holds another one.
    return sorted(set(things)), sorted(set(pairs)), spoken_of, subjects


def _holds(span: Span, sample: SceneSample) -> Iterator[tuple[int, int]]:
    """Ids of the pairs of which a span's predicate is true, of those it could be about."""
    if span.predicate is None:
        return
    truth, rows = sample.facts.relation(span.predicate), {node_id: row for row, node_id in enumerate(sample.ids)}
    for subject in span.ids:
        for target in span.object_ids:
            if subject != target and truth[rows[subject], rows[target]] == TRUE:
                yield subject, target


def _numbers(samples: Sequence[SceneSample]) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int, int], int]]:
    """Numbers in the batch of the things, by scene and id, and of the pairs, by scene and both ids."""
    nodes: dict[tuple[int, int], int] = {}
    edges: dict[tuple[int, int, int], int] = {}
    for scene, sample in enumerate(samples):
        for node_id in sample.ids:
            nodes[scene, node_id] = len(nodes)
        for subject, target in sample.graph.edge_index.T.tolist():
            edges[scene, sample.ids[subject], sample.ids[target]] = len(edges)
    return nodes, edges


def _rows(pairs: Sequence[tuple[int, int]]) -> Int64[Tensor, "2 Q"]:
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T.contiguous()
