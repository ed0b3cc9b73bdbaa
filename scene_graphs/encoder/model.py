"""The encoder of scene graphs and sentences: objects, graph layers, words, and what joins them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from vla3d.scene_graphs.encoder.attention import CrossAttentionLayer, TextEncoder
from vla3d.scene_graphs.encoder.batch import GraphBatch
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import GEOMETRY_FEATURES, LOOKS
from vla3d.scene_graphs.encoder.layers import GraphLayer
from vla3d.scene_graphs.encoder.lengths import in_order, rows_by_length
from vla3d.scene_graphs.encoder.objects import ObjectEncoder


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphEncoding:
    """Features of graphs, laid end to end as in their `GraphBatch`.

    Attributes:
        shapes: of the points of each thing, hidden or not.
        looks: of each thing by itself.
        nodes: of the things in the light of their scene.
        pairs: of the edges; without an edge that touches a hidden box.
    """

    shapes: Float[Tensor, "S D"]
    looks: Float[Tensor, "S D"]
    nodes: Float[Tensor, "S D"]
    pairs: Float[Tensor, "R D"]


class SceneEncoder(nn.Module):
    """Scene graphs and sentences, in one space in which they can be compared, and fused.

    Args:
        config: sizes and what is read of a graph.
        vocab_size: number of tokens of the sentences' tokenizer.
    """

    _looks: Tensor

    def __init__(self, config: SceneEncoderConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        width, embedding = config.width, config.embedding
        self.objects = ObjectEncoder(config)
        inputs = len(config.predicates) + GEOMETRY_FEATURES
        self.edge_net = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))
        self.graph_layers = nn.ModuleList(GraphLayer(width) for _ in range(config.graph_layers))
        self.text = TextEncoder(
            vocab_size,
            width=width,
            heads=config.heads,
            layers=config.text_layers,
            max_tokens=config.max_text_tokens,
        )
        self.fusion = nn.ModuleList(CrossAttentionLayer(width, config.heads) for _ in range(config.fusion_layers))
        self.fused_word_norm, self.fused_node_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.node_head = nn.Linear(width, embedding)
        self.pair_head = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, embedding))
        self.word_head = nn.Linear(width, embedding)
        self.sentence_head = nn.Linear(width, embedding)
        self.group_head = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, embedding))
        looks = [name in LOOKS for name in config.predicates]
        self.register_buffer("_looks", torch.tensor(looks), persistent=False)

    def encode_graph(
        self,
        graphs: GraphBatch,
        hide_points: Bool[Tensor, "S"] | None = None,
        hide_boxes: Bool[Tensor, "S"] | None = None,
        shapes: Float[Tensor, "S D"] | None = None,
    ) -> GraphEncoding:
        """Features of things and pairs in the light of their scene.

        Args:
            graphs: what to encode.
            hide_points: things of which only the place may be known: their points are not read, nor what edges say of looks.
            hide_boxes: things of which the place may not be known either: edges that touch them are left out.
            shapes: of an earlier encoding of these graphs, so that points, which cost most, are not read again.
        """
        shapes = self.objects.shapes(graphs.points, graphs.point_mask) if shapes is None else shapes
        looks = nodes = self.objects(shapes, graphs.boxes, hide_points, hide_boxes)
        index, edges = graphs.edge_index, self._edge_inputs(graphs, hide_points)
        if hide_boxes is not None:
            kept = ~hide_boxes[index].any(dim=0)
            index, edges = index[:, kept], edges[kept]
        pairs = self.edge_net(edges)
        for layer in self.graph_layers:
            nodes, pairs = layer(nodes, pairs, index)
        return GraphEncoding(shapes=shapes, looks=looks, nodes=nodes, pairs=pairs)

    def _edge_inputs(self, graphs: GraphBatch, hide_points: Tensor | None) -> Tensor:
        predicates, geometry = graphs.edge_predicates, graphs.edge_geometry
        if hide_points is not None:
            touched = hide_points[graphs.edge_index].any(dim=0)
            predicates = predicates.masked_fill(touched[:, None] & self._looks, 0.0)
        if self.config.edge_inputs == "geometry":
            predicates = torch.zeros_like(predicates)
        if self.config.edge_inputs == "predicates":
            geometry = torch.zeros_like(geometry)
        return torch.cat([predicates, geometry], dim=1)

    def encode_text(
        self, ids: Int64[Tensor, "M T"], mask: Bool[Tensor, "M T"], hidden: Bool[Tensor, "M T"] | None = None
    ) -> Float[Tensor, "M T D"]:
        """Features of words in the light of their sentence; see `TextEncoder`. Those of padding mean nothing."""

        def read(rows: Tensor, width: int) -> Tensor:
            there = (rows, slice(width))
            words: Tensor = self.text(ids[there], mask[there], None if hidden is None else hidden[there])
            return words

        groups = rows_by_length(mask)
        words = [functional.pad(read(rows, width), (0, 0, 0, mask.shape[1] - width)) for rows, width in groups]
        return in_order(words, groups)

    def fuse(
        self,
        words: Float[Tensor, "M T D"],
        word_mask: Bool[Tensor, "M T"],
        nodes: Float[Tensor, "M N D"],
        node_mask: Bool[Tensor, "M N"],
    ) -> tuple[Float[Tensor, "M T D"], Float[Tensor, "M N D"]]:
        """Words that have looked at the things of a scene, and things that have heard the words, row by row."""

        def join(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
            there = (rows, slice(width))
            said, things = words[there], nodes[rows]
            for layer in self.fusion:
                said, things = layer(said, word_mask[there], things, node_mask[rows])
            said = functional.pad(self.fused_word_norm(said), (0, 0, 0, words.shape[1] - width))
            return said, self.fused_node_norm(things)

        groups = rows_by_length(word_mask)
        fused_words, fused_nodes = zip(*(join(rows, width) for rows, width in groups), strict=True)
        return in_order(fused_words, groups), in_order(fused_nodes, groups)

    # Into the space in which they are compared. All have length 1.

    def embed_nodes(self, nodes: Float[Tensor, "*S D"]) -> Float[Tensor, "*S C"]:
        """Things."""
        return functional.normalize(self.node_head(nodes), dim=-1)

    def embed_pairs(self, encoding: GraphEncoding, edge_index: Int64[Tensor, "2 R"]) -> Float[Tensor, "R C"]:
        """Pairs: subject, edge and object."""
        subject, target = edge_index
        triplets = torch.cat([encoding.nodes[subject], encoding.pairs, encoding.nodes[target]], dim=1)
        return functional.normalize(self.pair_head(triplets), dim=-1)

    def embed_words(self, words: Float[Tensor, "*M D"]) -> Float[Tensor, "*M C"]:
        """Words."""
        return functional.normalize(self.word_head(words), dim=-1)

    def embed_sentences(self, words: Float[Tensor, "M T D"]) -> Float[Tensor, "M C"]:
        """Sentences, by their first token."""
        return functional.normalize(self.sentence_head(words[:, 0]), dim=-1)

    def embed_groups(self, nodes: Float[Tensor, "G N D"], members: Bool[Tensor, "G N"]) -> Float[Tensor, "G C"]:
        """Groups of things, such as all of a scene or those that a sentence speaks of: their mean and their largest values.

        Args:
            nodes: things to choose from, group by group.
            members: those that belong to the group; of an empty group the features mean nothing.
        """
        share = members.float() / members.sum(dim=1, keepdim=True).clamp(min=1)
        mean = torch.einsum("gn,gnd->gd", share, nodes)
        largest = nodes.masked_fill(~members[..., None], float("-inf")).amax(dim=1)
        largest = torch.where(members.any(dim=1, keepdim=True), largest, 0.0)
        return functional.normalize(self.group_head(torch.cat([mean, largest], dim=-1)), dim=-1)

    def ground(self, words: Float[Tensor, "M T D"], nodes: Float[Tensor, "M N D"]) -> Float[Tensor, "M N"]:
        """How well each sentence fits each thing, after `fuse`."""
        return torch.einsum("mc,mnc->mn", self.embed_sentences(words), self.embed_nodes(nodes))
