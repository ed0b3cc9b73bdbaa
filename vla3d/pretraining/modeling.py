"""Scene-graph pre-training: contrast at several levels and masked modelling on one encoder."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from safetensors.torch import save_file
from torch import Tensor, nn

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import CheckpointError, ConfigError
from vla3d.policies.learned import load_weights
from vla3d.pretraining import judging, levels
from vla3d.pretraining.batch import SceneBatch, collate_scenes
from vla3d.pretraining.config import SceneGraphObjectiveConfig
from vla3d.pretraining.samples import Gallery, SceneSample
from vla3d.scene_graphs.encoder.batch import GraphBatch
from vla3d.scene_graphs.encoder.files import CONFIG_FILE, OBJECTIVE, WEIGHTS_FILE, read_objective
from vla3d.scene_graphs.encoder.inputs import UNLISTED
from vla3d.scene_graphs.encoder.model import SceneEncoder
from vla3d.scene_graphs.encoder.phrases import full_precision
from vla3d.scene_graphs.objectives.contrastive import Temperature, info_nce, symmetric_info_nce
from vla3d.scene_graphs.objectives.masking import draw_mask, masked_cross_entropy

LEVELS = ("word_object", "phrase_edge", "sentence_subgraph", "scene_text")


class SceneGraphPretraining(nn.Module):
    """An encoder of scene graphs and sentences with its pre-training objectives; a `TrainableModel`.

    Args:
        config: with labels.
        tokenizer: of the sentences.

    Attributes:
        selection_metric: the share of texts that do not find their scene.

    Raises:
        ConfigError: no labels are given.
    """

    selection_metric = "retrieval_error"

    def __init__(self, config: SceneGraphObjectiveConfig, tokenizer: InstructionTokenizer) -> None:
        super().__init__()
        if not config.labels:
            raise ConfigError("objective.labels: got none, expected the categories of things; see from_scenes.")
        self.config, self.tokenizer = config, tokenizer
        self.encoder = SceneEncoder(config.encoder, tokenizer.vocab_size)
        width = config.encoder.width
        self.category_head = nn.Linear(width, len(config.labels))
        self.word_out = nn.Linear(width, tokenizer.vocab_size)
        self.temperatures = nn.ModuleDict({level: Temperature(config.temperature) for level in (*LEVELS, "sentence_object")})

    @classmethod
    def from_scenes(
        cls, config: SceneGraphObjectiveConfig, samples: Sequence[SceneSample], labels: Sequence[str], *, seed: int
    ) -> Self:
        """A new model whose words are those of training scenes.

        Args:
            config: its labels are replaced if there are none.
            samples: scenes to learn from.
            labels: the categories of their things.
            seed: of the weights.
        """
        said = {text.text for sample in samples for text in (*sample.sentences, *sample.negatives)}
        tokenizer = InstructionTokenizer.train(said)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(replace(config, labels=config.labels or tuple(labels)), tokenizer)

    # TrainableModel

    def loss(self, batch: SceneBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses by name and their weighted sum ``"loss"``; all masks are drawn by ``generator``."""
        encoding = self.encoder.encode_graph(batch.graphs)
        words = self.encoder.encode_text(batch.ids, batch.mask)
        losses = {}
        with full_precision(words):
            embedded = levels.embed(self.encoder, batch, encoding, words)
            for level in LEVELS:
                contrast = getattr(levels, level)(batch, embedded)
                logits = self.temperatures[level](contrast.similarities)
                losses[level] = symmetric_info_nce(logits, contrast.positives, contrast.candidates)
        losses.update(self._fused(batch, batch.graphs.dense_nodes(encoding.nodes), generator))
        hidden = draw_mask(batch.graphs.node_mask, self.config.object_share, generator)[batch.graphs.node_mask]
        losses["masked_objects"] = self._masked_objects(batch.graphs, hidden, encoding.shapes)
        weights = self.config.weights
        total = torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()
        return {"loss": total, **losses}

    def _fused(self, batch: SceneBatch, nodes: Float[Tensor, "B N D"], generator: torch.Generator) -> dict[str, Tensor]:
        """What is left of a sentence finds its missing words in the scene, and what it is about.

        One side is masked at a time: here the words of true sentences, while the scene is whole (Chen et al., "UNITER", 2020).
        """
        hidden = draw_mask(batch.word_mask & batch.true[:, None], self.config.word_share, generator)
        words = self.encoder.encode_text(batch.ids, batch.mask, hidden)
        mask = batch.graphs.node_mask[batch.scene]
        fused_words, fused_nodes = self.encoder.fuse(words, batch.mask, nodes[batch.scene], mask)
        with full_precision(words):
            logits = self.temperatures["sentence_object"](self.encoder.ground(fused_words, fused_nodes))
        missing, targets = self.word_out(fused_words[hidden]), batch.ids[hidden]
        return {
            "sentence_object": info_nce(logits, levels.things_of(batch, batch.sentence_subjects), mask),
            "masked_words": masked_cross_entropy(missing, targets, torch.ones_like(targets, dtype=torch.bool)),
        }

    def _masked_objects(self, graphs: GraphBatch, hidden: Bool[Tensor, "S"], shapes: Float[Tensor, "S D"]) -> Tensor:
        logits = self.category_logits(graphs, hidden, shapes)
        return masked_cross_entropy(logits, graphs.labels, hidden & (graphs.labels != UNLISTED))

    def category_logits(
        self, graphs: GraphBatch, hidden: Bool[Tensor, "S"], shapes: Float[Tensor, "S D"] | None = None
    ) -> Float[Tensor, "S L"]:
        """What each thing could be, where the looks of the hidden ones are unknown and no text is read.

        Args:
            graphs: of scenes.
            hidden: things whose points are hidden; under the position-blind control their place is as well.
            shapes: of an earlier encoding of these graphs; see `SceneEncoder.encode_graph`.
        """
        encoding = self.encoder.encode_graph(graphs, hidden, hidden & self.config.position_blind, shapes)
        return self.category_head(encoding.nodes)

    def metrics(self, batch: list[judging.GalleryBatch]) -> dict[str, float]:
        """Means over galleries of what `judging.judge` reports."""
        judged = [judging.judge(self, gallery) for gallery in batch]
        return {key: sum(one[key] for one in judged) / len(judged) for key in judged[0]}

    def collate(self, samples: Sequence[SceneSample | Gallery]) -> SceneBatch | list[judging.GalleryBatch]:
        """Scenes become a batch to learn from, galleries one batch each to be judged."""
        budget = self.config.encoder.max_text_tokens
        scenes = [sample for sample in samples if isinstance(sample, SceneSample)]
        galleries = [sample for sample in samples if isinstance(sample, Gallery)]
        assert not (scenes and galleries), "scenes to learn from and galleries do not mix"
        if scenes:
            return collate_scenes(scenes, self.tokenizer, budget, negatives=self.config.hard_negatives)
        return [
            judging.GalleryBatch(
                scenes=collate_scenes(gallery.scenes, self.tokenizer, budget),
                compositions=collate_scenes(gallery.compositions, self.tokenizer, budget),
            )
            for gallery in galleries
        ]

    def architecture(self) -> dict[str, Any]:
        """What must agree for a run to go on."""
        return {"model": OBJECTIVE, "words": self.tokenizer.vocab_size, **self.config.to_dict()}

    # Files

    def save_pretrained(self, save_directory: Path | str) -> None:
        """Write configuration, tokenizer and weights into a folder."""
        directory = Path(save_directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(directory)
        stored = {"objective": OBJECTIVE, "config": self.config.to_dict()}
        (directory / CONFIG_FILE).write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(weights, directory / WEIGHTS_FILE)

    @classmethod
    def from_pretrained(cls, source: Path | str, *, map_location: str = "cpu") -> Self:
        """Open what `save_pretrained` wrote.

        Args:
            source: the folder.
            map_location: torch device.

        Raises:
            CheckpointError: it is missing, damaged, or holds something else.
        """
        directory = Path(source)
        values = read_objective(directory)
        try:
            config = SceneGraphObjectiveConfig.from_dict(values)
        except ConfigError as error:
            raise CheckpointError(f"{directory / CONFIG_FILE} does not fit this version of vla3d: {error}") from error
        model = cls(config, InstructionTokenizer.load(directory))
        load_weights(model, directory / WEIGHTS_FILE)
        return model.to(map_location).eval()
