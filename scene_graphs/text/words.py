"""The words: how predicates, attributes and numbers are said, and the patterns of sentences."""

from vla3d.scene_graphs.predicates.table import PREDICATES

PHRASES: dict[str, tuple[str, ...]] = {
    "on": ("on", "on top of"),
    "in": ("in", "inside"),
    "under": ("under", "below"),
    "left_of": ("left of", "to the left of"),
    "right_of": ("right of", "to the right of"),
    "in_front_of": ("in front of",),
    "behind": ("behind",),
    "near": ("near", "close to"),
    "touching": ("touching", "in contact with"),
    "supported_by": ("supported by", "resting on"),
    "held_by": ("held by",),
    "inside_gripper": ("between the fingers of",),
    "larger": ("larger than", "bigger than"),
    "same_colour": ("of the same colour as", "coloured like"),
}
"""After "is": each way to say a predicate."""

FRAMED = frozenset(name for name, predicate in PREDICATES.items() if predicate.frame.startswith("viewpoint"))
"""Predicates that depend on who looks: their sentences say from where."""

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
PLURALS = {"box": "boxes", "shelf": "shelves", "bench": "benches", "couch": "couches", "dish": "dishes"}
"""Plurals that do not end in a plain s."""

# {a} a thing with its article, {the} the same with "the", {these} so many of them, {s} and {o} subject and object with "the",
# {p} the predicate, {value} an attribute. The frame of left and right goes where {frame} is, or where {Frame} starts the
# sentence; a pattern without either is for what needs no frame.
EXISTS = ("There is {a}{frame}.", "The scene contains {a}{frame}.", "You can see {a}{frame}.")
COUNT = ("There {are} {these}{frame}.", "The scene contains {these}{frame}.", "You can count {these}{frame}.")
HAS = {
    "color": ("{s} is {value}{frame}.", "The colour of {s} is {value}{frame}.", "You can see that {s} is {value}{frame}."),
    "size": ("{s} is {value}{frame}.", "{s} is a {value} one{frame}.", "You can see that {s} is {value}{frame}."),
    "state": ("{s} is {value}{frame}.", "You can see that {s} is {value}{frame}."),
}
RELATED = (
    "{s} is {p} {o}{frame}.",
    "You can see that {s} is {p} {o}{frame}.",
    "{Frame}{s} is {p} {o}.",
)
BOTH_EXIST = ("There is {a} and {b}{frame}.", "The scene contains {a} and {b}{frame}.")
BOTH_COUNT = ("There {are} {these} and {those}{frame}.", "The scene contains {these} and {those}{frame}.")

ASK_EXISTS = ("Is there {a}{frame}?", "Does the scene contain {a}{frame}?")
ASK_COUNT = ("{Are} there {these}{frame}?", "Does the scene contain {these}{frame}?")
ASK_HAS = ("Is {s} {value}{frame}?",)
ASK_RELATED = ("Is {s} {p} {o}{frame}?", "{Frame}is {s} {p} {o}?")
ASK_HOW_MANY = ("How many {plural} are there{frame}?", "What is the number of {plural}{frame}?")
ASK_WHICH = {
    "color": ("What colour is {s}{frame}?", "What is the colour of {s}{frame}?"),
    "size": ("Is {s} small or large{frame}?",),
    "state": ("Is {s} open or closed{frame}?",),
}
ASK_WHAT = ("What is {p} {o}{frame}?", "Which thing is {p} {o}{frame}?")


def number_word(number: int) -> str:
    """A number in words, or in figures where it is large."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def article(word: str) -> str:
    """``"a"`` or ``"an"``."""
    return "an" if word[0] in "aeio" else "a"


def plural(label: str) -> str:
    """More than one of it."""
    return PLURALS.get(label, f"{label}s")
