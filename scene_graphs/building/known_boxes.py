"""From nodes whose boxes are known to a graph: what a simulator or an annotated scan gives."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from vla3d.scene_graphs.edges import Edges
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.relations import MOST_NEIGHBOURS, Relations, relate
from vla3d.scene_graphs.predicates.table import RELATIONS, STATES
from vla3d.scene_graphs.predicates.tolerances import Tolerances
from vla3d.scene_graphs.predicates.truth import TRUE
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint

HELD = "held"
"""State of what a gripper holds."""


def graph_of(
    nodes: Iterable[SceneNode],
    *,
    viewpoint: Viewpoint | None = None,
    tolerances: Tolerances | None = None,
    most_neighbours: int = MOST_NEIGHBOURS,
) -> SceneGraph:
    """The graph of all that is true of nodes.

    What is false or undecided gets no edge; `relate` tells the two apart. The states ``open``, ``closed`` and ``held`` of the
    nodes are set anew; other states stay.

    Args:
        nodes: in any order.
        viewpoint: of left, right, in front and behind; the robot base's by default.
        tolerances: the bands of the predicates.
        most_neighbours: how many neighbours each node is related to in large scenes, see `neighbour_pairs`.

    Raises:
        DataError: ids are not unique, or a part has no whole.
    """
    ordered = SceneGraph(nodes=tuple(nodes)).nodes
    relations = relate(ordered, viewpoint=viewpoint, tolerances=tolerances, most_neighbours=most_neighbours)
    edges = true_edges(relations)
    return SceneGraph(nodes=with_states(ordered, relations), edges=edges, viewpoint=viewpoint or Viewpoint())


def true_edges(relations: Relations) -> Edges:
    """An edge for every relation that is true, with the subject's and the object's id."""
    predicates, pairs = np.nonzero(relations.truth == TRUE)
    return Edges(
        subjects=relations.ids[relations.subjects[pairs]],
        objects=relations.ids[relations.objects[pairs]],
        predicates=predicates,
        evidence=np.zeros(len(pairs), dtype=np.int64),
        confidence=np.ones(len(pairs)),
    )


def with_states(nodes: Sequence[SceneNode], relations: Relations) -> tuple[SceneNode, ...]:
    """Nodes with the states that follow from relations.

    Args:
        nodes: in the order of the relations.
        relations: of these nodes.
    """
    held = relations.truth[RELATIONS.index("held_by")] == TRUE
    in_hand = set(relations.subjects[held].tolist())
    result = []
    for position, node in enumerate(nodes):
        states = [state for state in node.states if state not in (*STATES, HELD)]
        states += [name for row, name in enumerate(STATES) if relations.states[row, position] == TRUE]
        states += [HELD] if position in in_hand else []
        same = tuple(sorted(states)) == node.states
        result.append(node if same else replace(node, states=tuple(states)))
    return tuple(result)
