"""Scenes that tests of scene graphs share: drawn ones, and a small one whose relations can be told by looking."""

import numpy as np
from hypothesis import strategies as st

from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.shapes.boxes import OrientedBox

# A grid makes contacts, stacks and equal boxes common, which hardly ever happens among free numbers.
_PLACES = st.integers(-4, 4).map(lambda step: step * 0.02)
_EDGES = st.sampled_from([0.001, 0.004, 0.02, 0.04, 0.05, 0.1])
_YAWS = st.sampled_from([0.0, np.pi / 2, -np.pi / 4]) | st.floats(-3.2, 3.2)


@st.composite
def upright_nodes(draw: st.DrawFn, least: int = 2, most: int = 5) -> list[SceneNode]:
    """Objects with upright boxes on a grid, some of them coloured, some opened."""
    nodes = []
    for number in range(draw(st.integers(least, most))):
        center = [draw(_PLACES), draw(_PLACES), draw(_PLACES)]
        box = OrientedBox.upright(center, [draw(_EDGES) for _ in range(3)], draw(_YAWS))
        rgb = draw(st.none() | st.tuples(*[st.floats(0, 1)] * 3).map(np.array))
        opening = draw(st.none() | st.floats(0, 1))
        nodes.append(SceneNode(id=number, label="block", box=box, rgb=rgb, opening=opening))
    return nodes


def table() -> SceneNode:
    return SceneNode(id=9, label="table", kind="surface", box=OrientedBox.upright([0.5, 0, -0.02], [1.2, 1.6, 0.04]))


def cube(number: int, x: float, y: float, z: float = 0.02, yaw: float = 0.0, color: str = "red") -> SceneNode:
    rgb = {"red": np.array([0.82, 0.06, 0.08]), "blue": np.array([0.08, 0.18, 0.82])}[color]
    return SceneNode(id=number, label="cube", box=OrientedBox.upright([x, y, z], [0.04] * 3, yaw), color=color, rgb=rgb)


def tray(number: int, x: float, y: float) -> SceneNode:
    return SceneNode(id=number, label="tray", box=OrientedBox.upright([x, y, 0.025], [0.15, 0.15, 0.05]))


def known_scene() -> SceneGraph:
    """A table; a red cube with a blue one on it; a tray with a red cube in it, to the right and farther away."""
    nodes = [table(), cube(0, 0.4, 0.2), cube(1, 0.4, 0.2, z=0.06, yaw=0.6, color="blue"), tray(2, 0.6, -0.2)]
    return graph_of([*nodes, cube(3, 0.6, -0.2, z=0.026)])


def full_graph() -> SceneGraph:
    """A graph in which every field has another value than its default."""
    rng = np.random.default_rng(3)
    cup = SceneNode(
        id=7, label="cup", label_scores={"cup": 0.7, "mug": 0.3}, color="red", rgb=np.array([0.8, 0.1, 1 / 3]),
        box=OrientedBox(center=rng.normal(size=3), size=rng.uniform(0.1, 1, 3), quaternion=np.array([0.5, 0.5, -0.5, 0.5])),
        states=("held", "wet"), incomplete=True, views=3, attributes={"grams": 12.5, "full": True, "maker": "x", "count": 2},
        points=rng.normal(size=(5, 3)).astype(np.float32), feature=rng.normal(size=4).astype(np.float32),
    )  # fmt: skip
    drawer = SceneNode(
        id=2, label="drawer", kind="part", part_of=3, opening=0.4, box=OrientedBox.upright([0, 0, 0], [1, 2, 3], 0.3),
        feature=rng.normal(size=4).astype(np.float32),
    )  # fmt: skip
    whole = SceneNode(id=3, label="cabinet", box=OrientedBox.upright([0, 0, 1e-7], [1, 1, 1]), feature=np.zeros(4, np.float32))
    hand = SceneNode(
        id=11, label="gripper", kind="gripper", holding=True, box=OrientedBox.upright([1, 0, 0], [1, 1, 1], -2.0),
        feature=np.ones(4, np.float32),
    )  # fmt: skip
    edges = [
        Edge(subject=7, predicate="held_by", object=11, evidence=2, confidence=0.75),
        Edge(subject=2, predicate="near", object=7, evidence=1, confidence=0.1),
        Edge(subject=7, predicate="near", object=2),
    ]
    return SceneGraph.of([cup, drawer, whole, hand], edges, viewpoint=Viewpoint(heading=0.7, name="visitor"))
