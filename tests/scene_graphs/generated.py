"""Digests of generated scenes, sentences and pairs, computed here and in other processes.

python tests/scene_graphs/generated.py
"""

import hashlib
import json

import numpy as np

from vla3d.scene_graphs.generator.scene import GeneratorConfig, generate, scenes
from vla3d.scene_graphs.generator.surface import Sampling, sample_points, with_points
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.plain import node_to_plain
from vla3d.scene_graphs.text.negatives import mine
from vla3d.scene_graphs.text.sentences import Speaker


def bytes_of(graph: SceneGraph) -> bytes:
    """Everything in a graph."""
    nodes = json.dumps([node_to_plain(node) for node in graph.nodes]).encode()
    points = b"".join(node.points.tobytes() for node in graph.nodes if node.points is not None)
    edges = (graph.edges.subjects, graph.edges.predicates, graph.edges.objects)
    return nodes + points + b"".join(np.ascontiguousarray(column).tobytes() for column in edges)


def digest() -> str:
    """Of scenes of each kind and split with points, of what is said of them, and of pairs of negatives."""
    found = hashlib.sha256()
    for kind in ("tabletop", "room"):
        config = GeneratorConfig.usual(kind)
        for split in ("train", "test_relations"):
            scene = generate(split, 3, seed=5, config=config)
            found.update(bytes_of(with_points(scene.graph, sample_points(scene.graph, scene.seed, Sampling(per_object=32)))))
            speaker = Speaker(scene.graph, seed=2)
            said = [*speaker.objects(), *speaker.references(), *speaker.relations(), *speaker.attributes(), speaker.summary()]
            found.update("\n".join(sentence.text for sentence in said).encode())
        for pair in mine((scene.index, scene.graph) for scene in scenes("train", 5, config=config)):
            found.update(repr(list(pair.labelled())).encode())
    return found.hexdigest()


if __name__ == "__main__":
    print(digest())
