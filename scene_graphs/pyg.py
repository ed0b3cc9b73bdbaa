"""Scene graphs as PyTorch Geometric data, and back.

Row 0 of an ``edge_index`` is the subject and row 1 the object, so messages flow from subject to object (PyG's default,
``source_to_target``). PyG adds the number of nodes to every attribute whose name contains ``index`` when it batches, and to
those with ``batch`` likewise, so only ``edge_index`` is called so: labels are ``y``, predicates ``edge_type``. All values are
tensors or plain texts, so ``torch.save`` and ``torch.load(weights_only=True)`` work.
"""

import json
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vla3d.errors import DataError
from vla3d.scene_graphs.edges import Edges
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.plain import node_from_plain, node_to_plain, viewpoint_from_plain, viewpoint_to_plain

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData

NODE_TYPE = "object"
UNLISTED = -1
"""Class of a label that is not in the list of labels."""

_DETAILS = "details"


def to_data(graph: SceneGraph, labels: Sequence[str] = (), *, dtype: torch.dtype = torch.float32) -> "Data":
    """A graph as homogeneous ``Data``.

    Nodes have ``pos`` (N, 3), ``size`` (N, 3) and ``quaternion`` (N, 4, ``wxyz``) in metres, ``y`` (N,) and ``node_id`` (N,);
    edges ``edge_index`` (2, E), ``edge_type`` (E,), the position in ``graph.edges.vocabulary``, and ``edge_attr`` (E, 2),
    evidence and confidence. Features go into ``x`` where every node has one of the same length; ``details`` is a text with
    everything else but points and features.

    Args:
        graph: what to convert.
        labels: the classes that ``y`` counts; other labels get ``UNLISTED``.
        dtype: of the numbers.
    """
    data = _pyg().data.Data(**_node_values(graph, labels, dtype))
    data.edge_index, data.edge_type, data.edge_attr = _edge_values(graph, np.ones(len(graph.edges), dtype=bool), dtype)
    data[_DETAILS] = _details(graph)
    return data


def to_hetero(graph: SceneGraph, labels: Sequence[str] = (), *, dtype: torch.dtype = torch.float32) -> "HeteroData":
    """A graph as ``HeteroData``: one node type, ``"object"``, and one edge type for each predicate of the vocabulary.

    Every predicate gets its edge type, also one without edges, so that graphs batch. Values are those of `to_data`, without
    ``edge_type``.

    Args:
        graph: what to convert.
        labels: see `to_data`.
        dtype: of the numbers.
    """
    data = _pyg().data.HeteroData()
    for name, value in _node_values(graph, labels, dtype).items():
        data[NODE_TYPE][name] = value
    for number, predicate in enumerate(graph.edges.vocabulary):
        store = data[NODE_TYPE, predicate, NODE_TYPE]
        store.edge_index, _, store.edge_attr = _edge_values(graph, graph.edges.predicates == number, dtype)
    data[_DETAILS] = _details(graph)
    return data


def from_data(data: "Data") -> SceneGraph:
    """The inverse of `to_data`, but for points; numbers are as exact as its ``dtype``.

    Raises:
        DataError: the data do not come from `to_data`.
    """
    nodes, vocabulary, viewpoint = _read(data, data)
    ids = np.array([node.id for node in nodes], dtype=np.int64)
    columns = _read_edges(data, ids)
    return _graph(nodes, [(*columns, data.edge_type.cpu().numpy())], vocabulary, viewpoint)


def from_hetero(data: "HeteroData") -> SceneGraph:
    """The inverse of `to_hetero`, but for points; numbers are as exact as its ``dtype``.

    Raises:
        DataError: the data do not come from `to_hetero`.
    """
    nodes, vocabulary, viewpoint = _read(data, data[NODE_TYPE])
    ids = np.array([node.id for node in nodes], dtype=np.int64)
    found = []
    for number, predicate in enumerate(vocabulary):
        columns = _read_edges(data[NODE_TYPE, predicate, NODE_TYPE], ids)
        found.append((*columns, np.full(len(columns[0]), number, dtype=np.int64)))
    return _graph(nodes, found, vocabulary, viewpoint)


def _pyg() -> ModuleType:
    """PyTorch Geometric, loaded on first use: it takes seconds, and warns about torch.jit, which it uses itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        import torch_geometric
        import torch_geometric.data
    return torch_geometric


def _node_values(graph: SceneGraph, labels: Sequence[str], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    numbers = {label: number for number, label in enumerate(labels)}
    nodes = graph.nodes
    values = {
        name: torch.tensor(np.array([getattr(node.box, source) for node in nodes]).reshape(-1, width), dtype=dtype)
        for name, source, width in (("pos", "center", 3), ("size", "size", 3), ("quaternion", "quaternion", 4))
    }
    values["y"] = torch.tensor([numbers.get(node.label, UNLISTED) for node in nodes], dtype=torch.int64)
    values["node_id"] = torch.tensor(graph.ids, dtype=torch.int64)
    features = [node.feature for node in nodes if node.feature is not None]
    if nodes and len(features) == len(nodes) and len({feature.shape for feature in features}) == 1:
        values["x"] = torch.tensor(np.stack(features), dtype=dtype)
    return values


def _edge_values(graph: SceneGraph, rows: np.ndarray, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    edges, ids = graph.edges, np.array(graph.ids, dtype=np.int64)
    ends = [np.searchsorted(ids, column[rows]) for column in (edges.subjects, edges.objects)]
    known = torch.tensor(np.stack([edges.evidence[rows], edges.confidence[rows]], axis=1), dtype=dtype)
    return torch.tensor(np.stack(ends), dtype=torch.int64), torch.tensor(edges.predicates[rows]), known


def _details(graph: SceneGraph) -> str:
    nodes = [node_to_plain(node) for node in graph.nodes]
    described = {"viewpoint": viewpoint_to_plain(graph.viewpoint), "predicates": list(graph.edges.vocabulary), "nodes": nodes}
    return json.dumps(described, allow_nan=False)


def _read(data: Any, store: Any) -> tuple[list[SceneNode], tuple[str, ...], Any]:
    if _DETAILS not in data or not isinstance(data[_DETAILS], str):
        raise DataError("PyG data: details is missing or no text, expected data of to_data or to_hetero, one graph at a time.")
    described = json.loads(data[_DETAILS])
    plain = described["nodes"]
    if len(plain) != len(store.pos):
        raise DataError(f"PyG data: got {len(store.pos)} nodes, but details of {len(plain)}; convert the graph again.")
    nodes = []
    for row, values in enumerate(plain):
        for name, source in (("center", "pos"), ("size", "size"), ("quaternion", "quaternion")):
            values[name] = store[source][row].double().tolist()
        feature = {"feature": store.x[row].float().cpu().numpy()} if "x" in store else {}
        nodes.append(node_from_plain(values, feature))
    return nodes, tuple(described["predicates"]), viewpoint_from_plain(described["viewpoint"])


def _read_edges(store: Any, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    subjects, objects = ids[store.edge_index.cpu().numpy()]
    known = store.edge_attr.double().cpu().numpy()
    return subjects, objects, np.rint(known[:, 0]).astype(np.int64), known[:, 1]


def _graph(
    nodes: list[SceneNode], found: Sequence[tuple[np.ndarray, ...]], vocabulary: tuple[str, ...], viewpoint: Any
) -> SceneGraph:
    subjects, objects, evidence, confidence, predicates = (np.concatenate(column) for column in zip(*found, strict=True))
    edges = Edges(
        subjects=subjects,
        objects=objects,
        predicates=predicates,
        evidence=evidence,
        confidence=confidence,
        vocabulary=vocabulary,
    )
    return SceneGraph(nodes=tuple(nodes), edges=edges, viewpoint=viewpoint)
