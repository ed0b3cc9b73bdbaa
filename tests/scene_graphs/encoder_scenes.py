"""Small graphs for the encoder's tests."""

from dataclasses import replace

import numpy as np
import torch

from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import GraphTensors, graph_tensors
from vla3d.scene_graphs.encoder.model import SceneEncoder
from vla3d.scene_graphs.generator.scene import generate
from vla3d.scene_graphs.generator.surface import Sampling, sample_points, with_points
from vla3d.scene_graphs.graph import SceneGraph

SMALL = SceneEncoderConfig(width=16, embedding=12, heads=2, points=12, graph_layers=2, text_layers=1, fusion_layers=1)
LABELS = ("ball", "block", "cup", "table")
VOCABULARY = 40


def drawn_graph(index: int) -> SceneGraph:
    graph = generate("train", index).graph
    return with_points(graph, sample_points(graph, index, Sampling(per_object=40)))


def drawn_tensors(index: int, config: SceneEncoderConfig = SMALL) -> GraphTensors:
    return graph_tensors(drawn_graph(index), config, labels=LABELS)


def small_encoder(config: SceneEncoderConfig = SMALL) -> SceneEncoder:
    torch.manual_seed(0)
    return SceneEncoder(config, VOCABULARY).eval()


def reordered(tensors: GraphTensors, order: torch.Tensor) -> GraphTensors:
    """The same graph with its nodes in another order, and its edges too."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    back = torch.arange(tensors.edge_index.shape[1]).flip(0)
    return replace(
        tensors,
        points=tensors.points[order],
        point_mask=tensors.point_mask[order],
        boxes=tensors.boxes[order],
        labels=tensors.labels[order],
        edge_index=place[tensors.edge_index][:, back],
        edge_predicates=tensors.edge_predicates[back],
        edge_geometry=tensors.edge_geometry[back],
    )


def sentences(count: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and masks of texts of different lengths."""
    rng = np.random.default_rng(seed)
    lengths = torch.tensor(rng.integers(2, width + 1, count))
    lengths[0] = width
    ids = torch.tensor(rng.integers(1, VOCABULARY, (count, width)))
    return ids, torch.arange(width) < lengths[:, None]
