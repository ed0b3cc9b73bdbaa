"""One thing in a scene graph."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32

from vla3d.errors import DataError, unknown_name
from vla3d.scene_graphs.boxes import OrientedBox

NodeKind = Literal["object", "part", "surface", "gripper"]
KINDS: tuple[str, ...] = get_args(NodeKind)
UNKNOWN = "unknown"
"""The label of a thing that nothing names."""

Attribute = str | float | int | bool
# Scores that were written in half precision still add up to this.
_SUM_TOLERANCE = 1e-2
_LARGEST_ID = 2**53


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneNode:
    """A thing, where it is, and what is known about it.

    Attributes:
        id: unique in its graph, 0 or more; it outlives updates of the graph.
        label: what it is; ``"unknown"`` where nothing says so.
        box: where it is.
        kind: ``"object"``; ``"part"`` of another thing that moves by itself, like a drawer; ``"surface"`` on which things
            stand, like a table; ``"gripper"``, whose box is the room between its fingers.
        label_scores: probabilities of labels, adding up to 1; ``label`` is the likeliest. Empty where there is one opinion.
        color: name of its colour.
        rgb: its colour, sRGB in [0, 1].
        opening: of what opens and shuts: 0 is shut, 1 fully open; None where that is unknown or has no meaning.
        holding: of a gripper: whether it is closed on something; None where that is unknown or has no meaning.
        states: words that hold of it now, sorted: ``"open"``, ``"closed"``, ``"held"``, and others of one's own.
        part_of: id of the whole that it is a part of.
        incomplete: whether in every view the picture's border, or something before it, may hide that it reaches out of its
            box.
        views: how many views saw it.
        attributes: further facts, JSON-able.
        points: some of its surface, world metres.
        feature: an embedding.

    Raises:
        DataError: a value cannot be right; one sentence that names the node.
    """

    id: int
    label: str
    box: OrientedBox
    kind: NodeKind = "object"
    label_scores: Mapping[str, float] = field(default_factory=dict)
    color: str | None = None
    rgb: Float[np.ndarray, "3"] | None = None
    opening: float | None = None
    holding: bool | None = None
    states: tuple[str, ...] = ()
    part_of: int | None = None
    incomplete: bool = False
    views: int = 0
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    points: Float32[np.ndarray, "N 3"] | None = None
    feature: Float32[np.ndarray, "D"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.id, bool) or not isinstance(self.id, int | np.integer) or not 0 <= self.id < _LARGEST_ID:
            raise DataError(f"Node: got id {self.id!r}, expected a whole number of 0 or more.")
        object.__setattr__(self, "id", int(self.id))
        if not isinstance(self.label, str) or not self.label.strip():
            raise self._wrong(f"label {self.label!r}", f"a word, or {UNKNOWN!r} where nothing names it")
        if self.kind not in KINDS:
            raise unknown_name("kind of node", str(self.kind), KINDS)
        self._check_scores()
        self._check_state()
        self._check_attributes()
        self._freeze("rgb", (3,), np.float64)
        self._freeze("points", (None, 3), np.float32)
        self._freeze("feature", (None,), np.float32)
        if self.rgb is not None and not ((self.rgb >= 0) & (self.rgb <= 1)).all():
            raise self._wrong(f"rgb {self.rgb.tolist()}", "numbers in [0, 1]")

    def _check_scores(self) -> None:
        scores = {str(label): float(score) for label, score in self.label_scores.items()}
        if scores:
            if any(not math.isfinite(score) or score < 0 for score in scores.values()):
                raise self._wrong(f"label_scores {scores}", "probabilities of 0 or more")
            if abs(sum(scores.values()) - 1) > _SUM_TOLERANCE:
                raise self._wrong(f"label_scores that add up to {sum(scores.values()):.3f}", "1; divide by the sum")
            if scores.get(self.label, -1.0) < max(scores.values()):
                raise self._wrong(f"label {self.label!r} with label_scores {scores}", "the likeliest label")
        object.__setattr__(self, "label_scores", MappingProxyType(dict(sorted(scores.items()))))

    def _check_state(self) -> None:
        if self.opening is not None:
            if not (math.isfinite(self.opening) and 0 <= self.opening <= 1):
                raise self._wrong(f"opening {self.opening}", "a number from 0 (shut) to 1 (fully open)")
            object.__setattr__(self, "opening", float(self.opening))
        if self.part_of == self.id:
            raise self._wrong(f"part_of {self.part_of}, itself,", "the id of another node")
        if isinstance(self.views, bool) or self.views < 0:
            raise self._wrong(f"views {self.views!r}", "0 or more")
        if isinstance(self.states, str) or any(not isinstance(state, str) or not state for state in self.states):
            raise self._wrong(f"states {self.states!r}", "a tuple of words")
        object.__setattr__(self, "states", tuple(sorted(set(self.states))))

    def _check_attributes(self) -> None:
        for name, value in self.attributes.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            if not isinstance(name, str) or not isinstance(value, str | float | int | bool) or not finite:
                raise self._wrong(f"attribute {name!r} of {value!r}", "a text, a finite number, or true or false")
        object.__setattr__(self, "attributes", MappingProxyType(dict(sorted(self.attributes.items()))))

    def _freeze(self, name: str, shape: tuple[int | None, ...], dtype: type) -> None:
        if getattr(self, name) is None:
            return
        value: np.ndarray = np.array(getattr(self, name), dtype=dtype)
        fits = value.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, value.shape, strict=True))
        if not fits or not np.isfinite(value).all():
            raise self._wrong(
                f"{name} of shape {value.shape}, or with a number that is not finite,",
                "finite numbers of shape " + " x ".join("N" if want is None else str(want) for want in shape),
            )
        value.flags.writeable = False
        object.__setattr__(self, name, value)

    def _wrong(self, got: str, expected: str) -> DataError:
        return DataError(f"Node {self.id} ({self.label!r}): got {got}, expected {expected}.")

    @property
    def name(self) -> str:
        """How a person would tell it from others: colour, label and id."""
        words = [self.color] if self.color else []
        return " ".join([*words, self.label, str(self.id)])

    def same_as(self, other: "SceneNode") -> bool:
        """Whether everything is equal, to the last bit."""
        plain = (
            "id", "label", "kind", "label_scores", "color", "opening", "holding", "states", "part_of", "incomplete", "views",
            "attributes",
        )  # fmt: skip
        return (
            all(getattr(self, name) == getattr(other, name) for name in plain)
            and self.box.same_as(other.box)
            and all(_equal_arrays(getattr(self, name), getattr(other, name)) for name in ("rgb", "points", "feature"))
        )


def _equal_arrays(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)
