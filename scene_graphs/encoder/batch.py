"""Graphs of different sizes in one batch: nodes laid end to end, edges renumbered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vla3d.errors import DataError
from vla3d.scene_graphs.encoder.inputs import GraphTensors


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphBatch:
    """Graphs laid end to end.

    Attributes:
        points: see `GraphTensors`.
        point_mask: see `GraphTensors`.
        boxes: see `GraphTensors`.
        edge_index: rows of subject and object among all nodes.
        edge_predicates: see `GraphTensors`.
        edge_geometry: see `GraphTensors`.
        labels: see `GraphTensors`.
        node_scene: graph of each node, ascending.
        node_slot: position of each node in its graph.
        node_mask: ``(B, N)``, which slots of the largest graph's each graph fills.
        edge_scene: graph of each edge, ascending.
        edge_slot: position of each edge in its graph.
        edge_mask: ``(B, E)``.
    """

    points: Float[Tensor, "S P 6"]
    point_mask: Bool[Tensor, "S P"]
    boxes: Float[Tensor, "S 13"]
    edge_index: Int64[Tensor, "2 R"]
    edge_predicates: Float[Tensor, "R K"]
    edge_geometry: Float[Tensor, "R 6"]
    labels: Int64[Tensor, "S"]
    node_scene: Int64[Tensor, "S"]
    node_slot: Int64[Tensor, "S"]
    node_mask: Bool[Tensor, "B N"]
    edge_scene: Int64[Tensor, "R"]
    edge_slot: Int64[Tensor, "R"]
    edge_mask: Bool[Tensor, "B E"]

    def __len__(self) -> int:
        return len(self.node_mask)

    def to(self, device: torch.device | str) -> Self:
        """The batch on another device."""
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def dense_nodes(self, values: Float[Tensor, "S *D"]) -> Float[Tensor, "B N *D"]:
        """Values of nodes graph by graph; slots that a graph does not fill hold zeros."""
        return _dense(values, self.node_scene, self.node_slot, self.node_mask)

    def dense_edges(self, values: Float[Tensor, "R *D"]) -> Float[Tensor, "B E *D"]:
        """Values of edges graph by graph; slots that a graph does not fill hold zeros."""
        return _dense(values, self.edge_scene, self.edge_slot, self.edge_mask)


def stack_graphs(graphs: Sequence[GraphTensors]) -> GraphBatch:
    """One batch of several graphs.

    Raises:
        DataError: there are none.
    """
    if not graphs:
        raise DataError("encoder: got no graph to stack, expected at least one.")
    nodes = [len(graph) for graph in graphs]
    edges = [graph.edge_index.shape[1] for graph in graphs]
    starts = torch.tensor([0, *nodes[:-1]]).cumsum(0)
    index = [graph.edge_index + start for graph, start in zip(graphs, starts, strict=True)]
    node_scene, node_slot, node_mask = _places(nodes)
    edge_scene, edge_slot, edge_mask = _places(edges)
    joined = {
        name: torch.cat([getattr(graph, name) for graph in graphs])
        for name in ("points", "point_mask", "boxes", "edge_predicates", "edge_geometry", "labels")
    }
    return GraphBatch(
        **joined,
        edge_index=torch.cat(index, dim=1),
        node_scene=node_scene,
        node_slot=node_slot,
        node_mask=node_mask,
        edge_scene=edge_scene,
        edge_slot=edge_slot,
        edge_mask=edge_mask,
    )


def _places(counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Group and position in it of things laid end to end, and which positions each group fills."""
    lengths = torch.tensor(counts)
    scene = torch.repeat_interleave(torch.arange(len(counts)), lengths)
    slot = torch.arange(int(lengths.sum())) - (lengths.cumsum(0) - lengths)[scene]
    return scene, slot, torch.arange(max(counts)) < lengths[:, None]


def _dense(values: Tensor, scene: Tensor, slot: Tensor, mask: Tensor) -> Tensor:
    dense = values.new_zeros((*mask.shape, *values.shape[1:]))
    return dense.index_put((scene, slot), values)
