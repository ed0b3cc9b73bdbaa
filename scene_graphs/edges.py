"""Directed edges of a scene graph, as columns: a scene of thousands of nodes has millions of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from vla3d.errors import DataError, unknown_name
from vla3d.scene_graphs.predicates.table import RELATIONS


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One triplet.

    Attributes:
        subject: id of a node.
        predicate: a name from the graph's vocabulary.
        object: id of another node.
        evidence: how many views showed it; 0 where it comes from something else than views.
        confidence: in [0, 1].
    """

    subject: int
    predicate: str
    object: int
    evidence: int = 0
    confidence: float = 1.0

    @property
    def triplet(self) -> tuple[int, str, int]:
        """What it says, without how sure that is."""
        return self.subject, self.predicate, self.object


@dataclass(frozen=True, kw_only=True, eq=False)
class Edges:
    """Edges in the order of subject, object and predicate, each triplet once.

    Attributes:
        subjects: ids of nodes.
        objects: ids of nodes.
        predicates: positions in ``vocabulary``.
        evidence: see ``Edge``.
        confidence: see ``Edge``.
        vocabulary: names of the predicates.

    Raises:
        DataError: a value cannot be right, or a triplet is there twice.
    """

    subjects: Int[np.ndarray, "E"]
    objects: Int[np.ndarray, "E"]
    predicates: Int[np.ndarray, "E"]
    evidence: Int[np.ndarray, "E"]
    confidence: Float[np.ndarray, "E"]
    vocabulary: tuple[str, ...] = RELATIONS

    def __post_init__(self) -> None:
        names = tuple(self.vocabulary)
        if not names or len(set(names)) != len(names) or not all(isinstance(name, str) and name for name in names):
            raise DataError(f"Edges: got the vocabulary {list(names)}, expected different names of predicates.")
        columns = {name: np.asarray(getattr(self, name)) for name in ("subjects", "objects", "predicates", "evidence")}
        confidence = np.array(self.confidence, dtype=np.float64)
        if len({values.shape for values in (*columns.values(), confidence)}) != 1 or confidence.ndim != 1:
            raise DataError("Edges: got columns of different lengths, expected one entry for each edge in all of them.")
        whole = {name: values.astype(np.int64) for name, values in columns.items()}
        predicates = whole["predicates"]
        if len(predicates) and (predicates.min() < 0 or predicates.max() >= len(names)):
            raise DataError(f"Edges: got predicate number {int(predicates.max())}, expected 0 to {len(names) - 1}.")
        order = np.lexsort((predicates, whole["objects"], whole["subjects"]))
        object.__setattr__(self, "vocabulary", names)
        for name, values in (*whole.items(), ("confidence", confidence)):
            values = values[order]
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        self._check_values()

    def _check_values(self) -> None:
        wrong = np.flatnonzero(~((self.confidence >= 0) & (self.confidence <= 1)))
        if len(wrong):
            value = self.confidence[wrong[0]]
            raise DataError(f"Edge {self._say(wrong[0])}: got confidence {value}, expected a number in [0, 1].")
        wrong = np.flatnonzero(self.evidence < 0)
        if len(wrong):
            value = self.evidence[wrong[0]]
            raise DataError(f"Edge {self._say(wrong[0])}: got evidence of {value} views, expected 0 or more.")
        wrong = np.flatnonzero(self.subjects == self.objects)
        if len(wrong):
            raise DataError(f"Edge {self._say(wrong[0])}: got a node related to itself, expected two; what one is, is a state.")
        rows = np.stack([self.subjects, self.objects, self.predicates], axis=1)
        wrong = np.flatnonzero((rows[1:] == rows[:-1]).all(axis=1))
        if len(wrong):
            raise DataError(f"Edge {self._say(wrong[0])} is there twice, expected each triplet once; add up its evidence.")

    def _say(self, row: int) -> str:
        return f"({self.subjects[row]}, {self.vocabulary[self.predicates[row]]}, {self.objects[row]})"

    @classmethod
    def of(cls, edges: Iterable[Edge], vocabulary: Sequence[str] = RELATIONS) -> Self:
        """Columns of single edges, in any order.

        Raises:
            ConfigError: a predicate is not in the vocabulary.
            DataError: see the class.
        """
        listed, numbers = list(edges), {name: number for number, name in enumerate(vocabulary)}
        for edge in listed:
            if edge.predicate not in numbers:
                raise unknown_name("predicate", edge.predicate, vocabulary)
        return cls(
            subjects=np.array([edge.subject for edge in listed], dtype=np.int64),
            objects=np.array([edge.object for edge in listed], dtype=np.int64),
            predicates=np.array([numbers[edge.predicate] for edge in listed], dtype=np.int64),
            evidence=np.array([edge.evidence for edge in listed], dtype=np.int64),
            confidence=np.array([edge.confidence for edge in listed], dtype=np.float64),
            vocabulary=tuple(vocabulary),
        )

    def __len__(self) -> int:
        return len(self.subjects)

    def __iter__(self) -> Iterator[Edge]:
        for row in range(len(self)):
            yield self[row]

    def __getitem__(self, row: int) -> Edge:
        return Edge(
            subject=int(self.subjects[row]),
            predicate=self.vocabulary[self.predicates[row]],
            object=int(self.objects[row]),
            evidence=int(self.evidence[row]),
            confidence=float(self.confidence[row]),
        )

    def take(self, rows: np.ndarray) -> "Edges":
        """Some of the edges.

        Args:
            rows: positions, or a mask.
        """
        return Edges(
            subjects=self.subjects[rows],
            objects=self.objects[rows],
            predicates=self.predicates[rows],
            evidence=self.evidence[rows],
            confidence=self.confidence[rows],
            vocabulary=self.vocabulary,
        )

    def same_as(self, other: "Edges") -> bool:
        """Whether everything is equal."""
        columns = ("subjects", "objects", "predicates", "evidence", "confidence")
        return self.vocabulary == other.vocabulary and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in columns
        )
