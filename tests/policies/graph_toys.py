"""Toy scenes with their scene graph, for policies that read one."""

from dataclasses import replace

import numpy as np
import torch
from toy_scenes import COLORS, HALF, toy_cubes, toy_sample

from vla3d.policies.bridgevla.processor import PreparedSample
from vla3d.policies.grounding import GraphRouteConfig
from vla3d.policies.grounding.boxes import BoxTensors
from vla3d.policies.grounding.scenes import SeenScene
from vla3d.policies.grounding.triplets import triplets_of
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import graph_tensors
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import OrientedBox

ENCODER = SceneEncoderConfig(width=16, embedding=16, heads=2, points=4, graph_layers=1, text_layers=1, fusion_layers=2)
GRAPH = GraphRouteConfig(enabled=True, encoder=ENCODER, dropout=0.0)


def toy_graph(seed: int, num_cubes: int = 3) -> SceneGraph:
    """The cubes of ``toy_sample``, in its order, a table and a gripper."""
    names, places, yaws = toy_cubes(np.random.default_rng(seed), num_cubes)
    rng = np.random.default_rng(seed)
    nodes = [
        SceneNode(
            id=number,
            label="cube",
            color=str(name),
            rgb=np.array(COLORS[str(name)]) / 255,
            box=OrientedBox.upright((*place, HALF), (2 * HALF,) * 3, yaw),
            points=(np.array([*place, HALF]) + rng.uniform(-HALF, HALF, (4, 3))).astype(np.float32),
        )
        for number, (name, place, yaw) in enumerate(zip(names, places, yaws, strict=True))
    ]
    nodes.append(SceneNode(id=50, label="table", kind="surface", box=OrientedBox.upright((0.5, 0, -0.01), (1, 1, 0.02))))
    nodes.append(SceneNode(id=51, label="gripper", kind="gripper", box=OrientedBox.upright((0.4, 0, 0.4), (0.02, 0.08, 0.03))))
    return graph_of(nodes)


def toy_scene(seed: int, num_cubes: int = 3, encoder: SceneEncoderConfig = ENCODER) -> SeenScene:
    """What a policy reads of it; the named cube is node 0."""
    graph = toy_graph(seed, num_cubes)
    return SeenScene(
        graph=graph_tensors(graph, encoder),
        boxes=BoxTensors.of([node.box for node in graph.nodes]),
        things=torch.tensor([node.kind == "object" for node in graph.nodes]),
        triplets=triplets_of(graph),
    )


def graph_sample(seed: int, *, num_cubes: int = 3, absent: bool = False) -> PreparedSample:
    """A toy sample with its graph; an absent one asks for a colour that is not there."""
    sample = replace(toy_sample(seed, num_cubes), scene=toy_scene(seed, num_cubes))
    if not absent:
        return sample
    names, _, _ = toy_cubes(np.random.default_rng(seed), num_cubes)
    other = next(color for color in COLORS if color not in names)
    sentences = tuple(sentence.replace(str(names[0]), other) for sentence in sample.sentences)
    return replace(sample, sentences=sentences, action=replace(sample.action, answer="absent"))
