"""Messages along the edges of a graph: on PyTorch Geometric, and the same in plain torch to compare with."""

import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

with warnings.catch_warnings():  # it warns about torch.jit, which it uses itself
    warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
    from torch_geometric.nn import MessagePassing


def _network(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


class GraphLayer(MessagePassing):
    """Nodes hear from the nodes whose edges lead to them, and edges from their ends.

    A message is computed from the sender, the receiver and the edge; a node takes the mean and the largest of what it hears
    (zeros where nothing leads to it). Then every edge is updated from its new ends.

    Args:
        width: of node and edge features.
    """

    def __init__(self, width: int) -> None:
        super().__init__(aggr=["mean", "max"])
        self.message_net = _network(3 * width, width)
        self.node_net = _network(3 * width, width)
        self.edge_net = _network(3 * width, width)
        self.node_norm = nn.LayerNorm(width)
        self.edge_norm = nn.LayerNorm(width)

    def forward(
        self, nodes: Float[Tensor, "S D"], edges: Float[Tensor, "R D"], edge_index: Int64[Tensor, "2 R"]
    ) -> tuple[Float[Tensor, "S D"], Float[Tensor, "R D"]]:
        """New features of nodes and edges.

        Args:
            nodes: features.
            edges: features.
            edge_index: rows of subject and object; messages run from subject to object.
        """
        heard = self.propagate(edge_index, x=nodes, edge_attr=edges, size=(len(nodes), len(nodes)))
        nodes = self.node_norm(nodes + self.node_net(torch.cat([nodes, heard], dim=1)))
        subject, target = edge_index
        return nodes, self.edge_norm(edges + self.edge_net(torch.cat([nodes[subject], edges, nodes[target]], dim=1)))

    def message(self, x_i: Tensor, x_j: Tensor, edge_attr: Tensor) -> Tensor:
        """What a sender ``j`` tells a receiver ``i``."""
        sent: Tensor = self.message_net(torch.cat([x_j, edge_attr, x_i], dim=1))
        return sent


class PlainGraphLayer(nn.Module):
    """`GraphLayer` without PyTorch Geometric: the same parameters by the same names, and the same answers.

    Args:
        width: of node and edge features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.message_net = _network(3 * width, width)
        self.node_net = _network(3 * width, width)
        self.edge_net = _network(3 * width, width)
        self.node_norm = nn.LayerNorm(width)
        self.edge_norm = nn.LayerNorm(width)

    def forward(
        self, nodes: Float[Tensor, "S D"], edges: Float[Tensor, "R D"], edge_index: Int64[Tensor, "2 R"]
    ) -> tuple[Float[Tensor, "S D"], Float[Tensor, "R D"]]:
        """See `GraphLayer.forward`."""
        subject, target = edge_index
        sent = self.message_net(torch.cat([nodes[subject], edges, nodes[target]], dim=1))
        count = torch.bincount(target, minlength=len(nodes)).clamp(min=1)[:, None]
        mean = torch.zeros_like(nodes, dtype=sent.dtype).index_add(0, target, sent) / count
        largest = torch.zeros_like(nodes, dtype=sent.dtype).scatter_reduce(
            0, target[:, None].expand_as(sent), sent, reduce="amax", include_self=False
        )
        nodes = self.node_norm(nodes + self.node_net(torch.cat([nodes, mean, largest], dim=1)))
        return nodes, self.edge_norm(edges + self.edge_net(torch.cat([nodes[subject], edges, nodes[target]], dim=1)))
