"""The words of goals: what things are called, which words tell like things apart, and where things are."""

from dataclasses import replace

from vla3d.scene_graphs.building.surfaces import TABLE_LABEL
from vla3d.scene_graphs.colors import PALETTE
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.text.words import PHRASES

BLOCK, BOX, DRAWER, BALL, TARGET = "block", "box", "drawer", "ball", "target"

NOUNS: dict[str, str] = {
    **dict.fromkeys(("block", "cube", "brick", "round block"), BLOCK),
    **dict.fromkeys(("box", "container", "tray", "bin"), BOX),
    **dict.fromkeys(("drawer", "handle"), DRAWER),  # a drawer is pulled by its handle, and named by the handle's colour
    **dict.fromkeys(("ball", "sphere"), BALL),
    **dict.fromkeys(("target", "square", "patch"), TARGET),
    **dict.fromkeys(("cabinet", "cupboard"), "cabinet"),
    **dict.fromkeys(("puck", "disc"), "puck"),
    "button": "button",
    TABLE_LABEL: TABLE_LABEL,
}
"""What each noun, of one word or two, means: nouns and labels of one meaning are one word here."""

DETERMINERS = frozenset({"the", "a", "an"})
PRONOUN = "one"

# Names of colours that no palette knows are understood as such: of things in them a graph is undecided, and so is the goal.
_OTHER_COLORS = ("lavender", "lime", "magenta", "mint", "navy", "olive", "teal")

ADJECTIVES: dict[str, tuple[str, str]] = {
    **{name: ("color", name) for name in (*PALETTE, *_OTHER_COLORS)},
    "grey": ("color", "gray"),
    "small": ("size", "small"),
    "large": ("size", "large"),
    "open": ("state", "open"),
    "closed": ("state", "closed"),
}
"""Attribute and value that each adjective stands for."""

_PLACES = ("on", "in", "under", "left_of", "right_of", "in_front_of", "behind", "near", "touching")
_MORE_PLACES = {
    "on the left of": "left_of",
    "on the right of": "right_of",
    "next to": "near",
    "within": "in",
}
RELATIVES: tuple[tuple[str, ...], ...] = ((), ("that", "is"), ("that", "stands"), ("that", "lies"), ("standing",), ("lying",))
"""What may stand between a noun and where the thing is."""

PLACES: dict[tuple[str, ...], str] = {
    **{tuple(phrase.split()): predicate for predicate in _PLACES for phrase in PHRASES[predicate]},
    **{tuple(phrase.split()): predicate for phrase, predicate in _MORE_PLACES.items()},
}
"""Predicates by the words that say them: those of our own sentences, and a few more."""


def meaning(label: str) -> str:
    """The one word for all labels that mean the same; a label that no noun knows stands for itself."""
    return NOUNS.get(label, label)


def in_plain_words(graph: SceneGraph) -> SceneGraph:
    """The graph with labels as `NOUNS` has them, so that "block" finds what its instance is called "cube"."""
    nodes = tuple(replace(node, label=meaning(node.label), label_scores={}) for node in graph.nodes)
    return replace(graph, nodes=nodes)
