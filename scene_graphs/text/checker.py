"""Is it true? A checker of claims on scene graphs, in three values. It knows nothing of how sentences are made.

Relations are evaluated anew from the boxes by the table of predicates, so that what is false can be told from what lies
inside a tolerance band: neither has an edge.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int8

from vla3d.errors import DataError
from vla3d.scene_graphs.colors import PALETTE, lab
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import UNKNOWN
from vla3d.scene_graphs.predicates.relations import Relations, relate
from vla3d.scene_graphs.predicates.table import PREDICATES, STATES
from vla3d.scene_graphs.predicates.tolerances import Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED
from vla3d.scene_graphs.text.claims import All, Attribute, Claim, Count, Description, Exists, Has, Related

# Rules that leave out a part and the whole it belongs to, and those that ask only of movable subjects.
_STRANGERS = frozenset({"on", "in", "under", "near", "touching", "supported_by"})
_MOVABLE = frozenset({"on", "in", "supported_by"})


class Facts:
    """What is true, false and undecided in a graph.

    A predicate that is not asked between two kinds of node, such as whether a table is left of something, is undecided here:
    a sentence that it would make false could still be said with reason.

    Args:
        graph: nodes and viewpoint count; its edges are not looked at.
        tolerances: the bands of the predicates.
    """

    def __init__(self, graph: SceneGraph, tolerances: Tolerances | None = None) -> None:
        self.graph = graph
        self._bands = tolerances or Tolerances()
        self._relations: dict[str, np.ndarray] = {}
        self._attributes: dict[tuple[str, str], np.ndarray] = {}
        self._members: dict[Description, np.ndarray] = {}

    @cached_property
    def _evaluated(self) -> Relations:
        return relate(self.graph.nodes, viewpoint=self.graph.viewpoint, tolerances=self._bands)

    def relation(self, predicate: str) -> Int8[np.ndarray, "N N"]:
        """Truth of a predicate, subjects in rows, in the order of the graph's nodes."""
        if predicate not in self._relations:
            found = self._evaluated
            table = np.full((len(found.ids), len(found.ids)), UNDECIDED, dtype=np.int8)
            table[found.subjects, found.objects] = found.of(predicate)
            table[~self._asked(predicate)] = UNDECIDED
            np.fill_diagonal(table, FALSE)
            self._relations[predicate] = table
        return self._relations[predicate]

    def _asked(self, predicate: str) -> Bool[np.ndarray, "N N"]:
        """Pairs of which a predicate can be said."""
        kinds = np.array([node.kind for node in self.graph.nodes], dtype="<U8")
        gripper, surface = kinds == "gripper", kinds == "surface"
        applies = PREDICATES[predicate].applies
        if applies == "gripper":
            return np.asarray(~(gripper | surface)[:, None] & gripper[None])
        left_out = gripper | surface if applies == "bodies" else gripper
        asked = ~(left_out[:, None] | left_out[None])
        if predicate in _MOVABLE:
            asked &= ~surface[:, None]
        if predicate == "under":
            asked &= ~surface[None]
        if predicate in _STRANGERS:
            ids = np.array([node.id for node in self.graph.nodes], dtype=np.int64)
            wholes = np.array([-1 if node.part_of is None else node.part_of for node in self.graph.nodes], dtype=np.int64)
            joined = wholes[:, None] == ids[None]
            asked &= ~(joined | joined.T)
        return asked

    def attribute(self, name: Attribute, value: str) -> Int8[np.ndarray, "N"]:
        """Truth of an attribute for each node."""
        if (name, value) not in self._attributes:
            rule = {"color": self._colored, "size": self._sized, "state": self._in_state}[name]
            self._attributes[name, value] = rule(value)
        return self._attributes[name, value]

    def _colored(self, value: str) -> Int8[np.ndarray, "N"]:
        """True of that name; false of another one, unless the colours could be confused."""
        names = [node.color for node in self.graph.nodes]
        known = [name if name in PALETTE else None for name in names]
        shown = np.array([
            node.rgb if node.rgb is not None else PALETTE[name] if name is not None else (np.nan,) * 3
            for node, name in zip(self.graph.nodes, known, strict=True)
        ]).reshape(-1, 3)  # fmt: skip
        claimed = np.array([PALETTE.get(value, (np.nan,) * 3)])
        away = np.linalg.norm((lab(shown) - lab(claimed)) * (1 / 3, 1.0, 1.0), axis=1)
        truth = np.where(away >= self._bands.color.no, FALSE, UNDECIDED)
        truth = np.where([name is None for name in names], UNDECIDED, truth)
        return np.where([name == value for name in names], TRUE, truth).astype(np.int8)

    def _sized(self, value: str) -> Int8[np.ndarray, "N"]:
        said = [node.attributes.get("size") for node in self.graph.nodes]
        return np.array([UNDECIDED if word is None else TRUE if word == value else FALSE for word in said], dtype=np.int8)

    def _in_state(self, value: str) -> Int8[np.ndarray, "N"]:
        if value in STATES:
            return self._evaluated.of(value)
        return np.array([TRUE if value in node.states else UNDECIDED for node in self.graph.nodes], dtype=np.int8)

    def _labelled(self, label: str | None) -> Int8[np.ndarray, "N"]:
        nodes = self.graph.nodes
        if label is None:
            return np.array([TRUE if node.kind in ("object", "part") else FALSE for node in nodes], dtype=np.int8)
        other = [UNDECIDED if node.label == UNKNOWN else FALSE for node in nodes]
        return np.where([node.label == label for node in nodes], TRUE, other).astype(np.int8)

    def members(self, description: Description) -> Int8[np.ndarray, "N"]:
        """Whether each node is such a thing, in the order of the graph's nodes."""
        if description not in self._members:
            truth = self._labelled(description.label)
            for name, value in description.attributes:
                truth = np.minimum(truth, self.attribute(name, value))
            if description.predicate is not None and description.anchor is not None:
                there = np.minimum(self.relation(description.predicate), self.members(description.anchor)[None])
                if description.near:
                    there = np.minimum(there, self.relation("near"))
                truth = np.minimum(truth, there.max(axis=1, initial=FALSE))
            self._members[description] = truth
        return self._members[description]

    def ids_of(self, description: Description) -> tuple[int, ...]:
        """Ids of the nodes that surely are such things."""
        return tuple(self.graph.nodes[row].id for row in np.flatnonzero(self.members(description) == TRUE))

    def referent(self, description: Description) -> int | None:
        """Id of the one node that is such a thing; None unless it surely is and no other one could be.

        Anchors must be unique as well.
        """
        if description.anchor is not None and self.referent(description.anchor) is None:
            return None
        truth = self.members(description)
        if (truth == TRUE).sum() != 1 or (truth != FALSE).sum() != 1:
            return None
        return self.graph.nodes[int(truth.argmax())].id


def check(claim: Claim, facts: Facts) -> int:
    """Whether a claim is true (1), false (-1) or undecided (0).

    A claim about "the one such thing" is true only if there surely is exactly one and the rest holds of it. It is false only if
    no thing at all that could be meant makes it true: also where there is none. So neither answer hangs on how "the" is read.

    Raises:
        DataError: something that is no claim.
    """
    if isinstance(claim, All):
        return min((check(part, facts) for part in claim.claims), default=TRUE)
    if isinstance(claim, Exists):
        return int(facts.members(claim.description).max(initial=FALSE))
    if isinstance(claim, Count):
        truth = facts.members(claim.description)
        surely, perhaps = int((truth == TRUE).sum()), int((truth != FALSE).sum())
        if not surely <= claim.number <= perhaps:
            return FALSE
        return TRUE if surely == perhaps else UNDECIDED
    if isinstance(claim, Has):
        subjects = facts.members(claim.subject)
        some = int(np.minimum(subjects, facts.attribute(claim.attribute, claim.value)).max(initial=FALSE))
        return _of_the_one(some, facts.referent(claim.subject) is not None)
    if isinstance(claim, Related):
        subjects, objects = facts.members(claim.subject), facts.members(claim.object)
        both = np.minimum(facts.relation(claim.predicate), np.minimum(subjects[:, None], objects[None]))
        unique = facts.referent(claim.subject) is not None and facts.referent(claim.object) is not None
        return _of_the_one(int(both.max(initial=FALSE)), unique)
    raise DataError(f"check: got {claim!r}, expected a claim.")


def _of_the_one(some: int, unique: bool) -> int:
    """False where it holds of none; true where it holds of the only one."""
    return some if some == FALSE or (some == TRUE and unique) else UNDECIDED
