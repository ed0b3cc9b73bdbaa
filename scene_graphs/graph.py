"""The scene graph: nodes, directed edges, and the viewpoint that left and right refer to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np

from vla3d.errors import DataError, unknown_name
from vla3d.scene_graphs.edges import Edge, Edges
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.table import RELATIONS
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneGraph:
    """Things and what holds between them. The order in which nodes and edges are given makes no difference.

    Attributes:
        nodes: by id.
        edges: what is known to hold; what is false or undecided has no edge.
        viewpoint: of left, right, in front and behind.

    Raises:
        DataError: an id is there twice, an edge or a part leads nowhere.
    """

    nodes: tuple[SceneNode, ...] = ()
    edges: Edges = field(default_factory=lambda: Edges.of(()))
    viewpoint: Viewpoint = field(default_factory=Viewpoint)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.nodes, key=lambda node: node.id))
        for first, second in pairwise(ordered):
            if first.id == second.id:
                raise DataError(f"Scene graph: the nodes {first.label!r} and {second.label!r} both have the id {first.id}.")
        object.__setattr__(self, "nodes", ordered)
        ids = np.array([node.id for node in ordered], dtype=np.int64)
        for name in ("subjects", "objects"):
            ends = getattr(self.edges, name)
            lost = np.flatnonzero(~np.isin(ends, ids))
            if len(lost):
                edge = self.edges[int(lost[0])]
                raise DataError(f"Scene graph: edge {edge.triplet} leads to node {ends[lost[0]]}, which is not in the graph.")
        for node in ordered:
            if node.part_of is not None and node.part_of not in self._positions:
                raise DataError(f"Scene graph: node {node.id} is a part of node {node.part_of}, which is not in the graph.")

    @classmethod
    def of(
        cls, nodes: Iterable[SceneNode], edges: Iterable[Edge] = (), *, vocabulary: Sequence[str] = RELATIONS,
        viewpoint: Viewpoint | None = None,
    ) -> Self:  # fmt: skip
        """Build from single nodes and edges, in any order.

        Raises:
            ConfigError: a predicate is not in the vocabulary.
            DataError: see the class.
        """
        return cls(nodes=tuple(nodes), edges=Edges.of(edges, vocabulary), viewpoint=viewpoint or Viewpoint())

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {node.id: position for position, node in enumerate(self.nodes)}

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the nodes, ascending."""
        return tuple(node.id for node in self.nodes)

    def __contains__(self, node_id: int) -> bool:
        return node_id in self._positions

    def node(self, node_id: int) -> SceneNode:
        """The node with an id.

        Raises:
            DataError: there is none.
        """
        if node_id not in self._positions:
            raise DataError(f"Scene graph: got node {node_id}, expected one of {_few(self.ids)}.")
        return self.nodes[self._positions[node_id]]

    def find(self, label: str | None = None, *, color: str | None = None, kind: str | None = None) -> tuple[SceneNode, ...]:
        """Nodes with a label, a colour's name, a kind, or several of these."""
        wanted = {"label": label, "color": color, "kind": kind}
        return tuple(
            node for node in self.nodes if all(value is None or getattr(node, name) == value for name, value in wanted.items())
        )

    def edges_of(
        self, *, subject: int | None = None, predicate: str | None = None, object: int | None = None
    ) -> tuple[Edge, ...]:
        """Edges with a subject, a predicate, an object, or several of these.

        Raises:
            ConfigError: the predicate is not in the vocabulary.
        """
        edges, rows = self.edges, np.ones(len(self.edges), dtype=bool)
        if predicate is not None:
            if predicate not in edges.vocabulary:
                raise unknown_name("predicate", predicate, edges.vocabulary)
            rows &= edges.predicates == edges.vocabulary.index(predicate)
        for wanted, ends in ((subject, edges.subjects), (object, edges.objects)):
            if wanted is not None:
                rows &= ends == wanted
        return tuple(edges[int(row)] for row in np.flatnonzero(rows))

    def triplets(self) -> frozenset[tuple[int, str, int]]:
        """What the edges say."""
        return frozenset(edge.triplet for edge in self.edges)

    def subgraph(self, ids: Iterable[int]) -> "SceneGraph":
        """The nodes with these ids, and the edges between them. A part whose whole is left out belongs to nothing.

        Raises:
            DataError: a node is not in the graph.
        """
        kept = [self.node(node_id) for node_id in dict.fromkeys(ids)]
        present = {node.id for node in kept}
        nodes = tuple(replace(node, part_of=node.part_of if node.part_of in present else None) for node in kept)
        inside = np.isin(self.edges.subjects, list(present)) & np.isin(self.edges.objects, list(present))
        return SceneGraph(nodes=nodes, edges=self.edges.take(inside), viewpoint=self.viewpoint)

    def components(self) -> tuple[frozenset[int], ...]:
        """Ids that edges join, whichever way they point; the component with the lowest id first."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ids = np.array(self.ids, dtype=np.int64)
        rows, columns = (np.searchsorted(ids, ends) for ends in (self.edges.subjects, self.edges.objects))
        joined = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(ids), len(ids)))
        count, labels = connected_components(joined, directed=False) if len(ids) else (0, np.zeros(0))
        groups = [frozenset(int(node_id) for node_id in ids[labels == label]) for label in range(count)]
        return tuple(sorted(groups, key=min))

    def same_as(self, other: "SceneGraph") -> bool:
        """Whether nodes, edges and viewpoint are equal, to the last bit."""
        return (
            len(self.nodes) == len(other.nodes)
            and all(mine.same_as(its) for mine, its in zip(self.nodes, other.nodes, strict=True))
            and self.edges.same_as(other.edges)
            and self.viewpoint == other.viewpoint
        )


def _few(ids: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return f"{shown}, ... {ids[-1]}" if len(ids) > 10 else shown or "none, the graph is empty"
