"""Which thing does a phrase mean? The pre-trained encoder answers by similarity after fusion; nothing is added to it."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import ConfigError
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.encoder.batch import GraphBatch, stack_graphs
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import GraphTensors, graph_tensors
from vla3d.scene_graphs.encoder.phrases import phrase_logits
from vla3d.scene_graphs.generator.catalog import SceneKind
from vla3d.scene_graphs.generator.scene import GeneratorConfig, SceneSplit, generate
from vla3d.scene_graphs.generator.surface import Sampling, ScenePoints, sample_points
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.metrics.overlap import aligned, aligned_iou
from vla3d.scene_graphs.objectives.contrastive import info_nce
from vla3d.scene_graphs.shapes.box_fitting import upright_box
from vla3d.scene_graphs.text.sentence import Sentence
from vla3d.scene_graphs.text.sentences import Speaker

_FEWEST_POINTS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundingSample:
    """A scene as it was seen, and a phrase that means one thing of it.

    Attributes:
        graph: of the boxes around what was seen.
        phrase: words that fit one thing alone.
        ious: overlap of each box with the true box of what is meant, axis-aligned as in ScanRefer.
        unique: whether nothing else of the scene has its label.
    """

    graph: GraphTensors
    phrase: str
    ious: Float32[np.ndarray, "N"]
    unique: bool

    @property
    def target(self) -> int:
        """The box that overlaps most with the true one: what is learned."""
        return int(self.ious.argmax())


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundingBatch:
    """Phrases, each with its scene.

    Attributes:
        graphs: of the scenes, one for each phrase.
        ids: token ids.
        mask: which tokens are there.
        targets: the slot of what each phrase means.
        ious: overlaps of the boxes with the true one, by slot; 0 where there is no box.
        unique: see `GroundingSample`.
    """

    graphs: GraphBatch
    ids: Int64[Tensor, "M T"]
    mask: Bool[Tensor, "M T"]
    targets: Int64[Tensor, "M"]
    ious: Float[Tensor, "M N"]
    unique: Bool[Tensor, "M"]


def grounding_samples(
    split: SceneSplit, count: int, *, seed: int, kind: SceneKind, encoder: SceneEncoderConfig, first: int = 0, phrases: int = 4
) -> list[GroundingSample]:
    """Phrases about generated scenes whose boxes are fitted to the points that cameras see.

    Args:
        split: see `vla3d.scene_graphs.generator.scene.generate`.
        count: number of scenes.
        seed: the same one gives the same samples.
        kind: of scene.
        encoder: what it reads of a graph.
        first: number of the first scene of the split.
        phrases: of one scene, at most.
    """
    found = []
    config = GeneratorConfig.usual(kind)
    for number in range(first, first + count):
        scene = generate(split, number, seed=seed, config=config)
        points = sample_points(scene.graph, scene.seed, Sampling(per_object=2 * encoder.points))
        seen = seen_graph(scene.graph, points)
        tensors = graph_tensors(seen, encoder, sampled=points)
        for phrase in _phrases(scene.graph, scene.seed, phrases):
            found.append(_sample(scene.graph, seen, tensors, phrase))
    return found


def seen_graph(graph: SceneGraph, points: ScenePoints) -> SceneGraph:
    """The graph as geometry gives it: a box around the points of each thing, and what holds between these boxes.

    A thing of which next to nothing is seen is not in it. Of the old nodes only id, kind and colour are kept; labels, sizes and
    states, which sentences speak of, have to be told from points and boxes.
    """
    nodes = []
    for node in graph.nodes:
        mine = points.points[points.ids == node.id]
        if len(mine) >= _FEWEST_POINTS:
            nodes.append(
                replace(node, label="unknown", box=upright_box(mine), attributes={}, states=(), opening=None, part_of=None)
            )
    return graph_of(nodes, viewpoint=graph.viewpoint)


def _phrases(graph: SceneGraph, seed: int, most: int) -> list[Sentence]:
    said = list(Speaker(graph, seed=seed).references(2))
    kept = sorted(random.Random(seed).sample(range(len(said)), min(most, len(said))))
    return [said[place] for place in kept]


def _sample(graph: SceneGraph, seen: SceneGraph, tensors: GraphTensors, phrase: Sentence) -> GroundingSample:
    assert phrase.target is not None, "a reference has a target"
    meant = graph.node(phrase.target)
    boxes = np.stack([aligned(node.box) for node in seen.nodes])
    return GroundingSample(
        graph=tensors,
        phrase=phrase.text,
        ious=aligned_iou(boxes, np.tile(aligned(meant.box), (len(boxes), 1))).astype(np.float32),
        unique=len(graph.find(meant.label)) == 1,
    )


class SceneGrounding(nn.Module):
    """A scene encoder that is tuned to find what phrases mean; a `TrainableModel`.

    Args:
        pretrained: whose encoder, tokenizer and temperature are taken; a fresh one for the control without pre-training.

    Attributes:
        selection_metric: the share of phrases whose box overlaps too little with the true one.
    """

    selection_metric = "error_at_half"

    def __init__(self, pretrained: SceneGraphPretraining) -> None:
        super().__init__()
        self.base = pretrained

    @property
    def tokenizer(self) -> InstructionTokenizer:
        """Of the phrases."""
        return self.base.tokenizer

    def logits(self, batch: GroundingBatch) -> Float[Tensor, "M N"]:
        """How well each thing of its scene fits each phrase; minus infinity where there is none."""
        base = self.base
        return phrase_logits(base.encoder, base.temperatures["sentence_object"], batch.graphs, batch.ids, batch.mask)

    def loss(self, batch: GroundingBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy over the things of the scene."""
        logits = self.logits(batch)
        chosen = torch.nn.functional.one_hot(batch.targets, logits.shape[1]).bool()
        return {"loss": info_nce(logits, chosen, batch.graphs.node_mask)}

    def chosen_ious(self, batch: GroundingBatch) -> Float[Tensor, "M"]:
        """Overlap of the box that each phrase is taken to mean with the true one."""
        best = self.logits(batch).argmax(dim=1, keepdim=True)
        return batch.ious.gather(1, best)[:, 0]

    def metrics(self, batch: GroundingBatch) -> dict[str, float]:
        """Accuracy at both thresholds, and what perfect choices would reach with these boxes."""
        ious = self.chosen_ious(batch)
        half = float((ious >= 0.5).float().mean())
        return {
            "accuracy_at_quarter": float((ious >= 0.25).float().mean()),
            "accuracy_at_half": half,
            "error_at_half": 1.0 - half,
            "limit_at_half": float((batch.ious.amax(dim=1) >= 0.5).float().mean()),
        }

    def collate(self, samples: Sequence[GroundingSample]) -> GroundingBatch:
        """A batch of phrases."""
        graphs = stack_graphs([sample.graph for sample in samples])
        text = self.tokenizer.encode([sample.phrase for sample in samples], self.base.config.encoder.max_text_tokens)
        ious = torch.zeros(graphs.node_mask.shape)
        for row, sample in enumerate(samples):
            ious[row, : len(sample.ious)] = torch.from_numpy(sample.ious)
        return GroundingBatch(
            graphs=graphs,
            ids=text.ids,
            mask=text.mask,
            targets=torch.tensor([sample.target for sample in samples]),
            ious=ious,
            unique=torch.tensor([sample.unique for sample in samples]),
        )

    def architecture(self) -> dict[str, Any]:
        """What must agree for weights to fit."""
        return {**self.base.architecture(), "task": "grounding"}

    def save_pretrained(self, save_directory: Path | str) -> None:
        """Write the tuned model as `SceneGraphPretraining` does, which opens it again."""
        self.base.save_pretrained(save_directory)


def label_share(samples: Sequence[GroundingSample], share: float, seed: int) -> list[GroundingSample]:
    """Some of the phrases: as if only these had been annotated.

    Args:
        samples: all of them.
        share: in (0, 1]; at least one phrase is kept.
        seed: draws them. A smaller share is part of a larger one.

    Raises:
        ConfigError: ``share`` is out of range.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"label share: got {share}, expected a number above 0, at most 1.")
    order = list(range(len(samples)))
    random.Random(seed).shuffle(order)
    kept = sorted(order[: max(1, round(share * len(samples)))])
    return [samples[place] for place in kept]


def judged(model: SceneGrounding, samples: Sequence[GroundingSample], batch_size: int = 64) -> Iterator[tuple[float, bool]]:
    """Overlap of the chosen box with the true one, and whether the thing is unique, phrase by phrase."""
    model.eval()
    for start in range(0, len(samples), batch_size):
        batch = model.collate(samples[start : start + batch_size])
        with torch.no_grad():
            ious = model.chosen_ious(batch)
        yield from zip(ious.tolist(), batch.unique.tolist(), strict=True)
