"""How fast scenes are drawn: with their graphs, with points, with sentences, with hard negatives. One process.

python benchmarks/scene_generator.py [--scenes 300]
"""

import argparse
import platform
import time
from collections.abc import Callable
from datetime import date

import numpy as np

from vla3d.scene_graphs.generator.catalog import SceneKind
from vla3d.scene_graphs.generator.scene import GeneratedScene, GeneratorConfig, generate, scenes
from vla3d.scene_graphs.generator.surface import sample_points
from vla3d.scene_graphs.text.negatives import ContrastMiner
from vla3d.scene_graphs.text.sentences import Speaker

KINDS: tuple[SceneKind, ...] = ("tabletop", "room")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=300)
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"scene generator, one process; {date.today()}, {platform.machine()}, {versions}")
    print(f"{'':28}{'scenes/s of processor time':>28}{'nodes':>8}{'edges':>8}")
    for kind in KINDS:
        measure(kind, options.scenes)


def measure(kind: SceneKind, count: int) -> None:
    """The rows of one kind of scene."""
    config = GeneratorConfig.usual(kind)
    drawn = list(scenes("train", count, config=config))
    nodes = sum(len(scene.graph.nodes) for scene in drawn) / count
    edges = sum(len(scene.graph.edges) for scene in drawn) / count
    miner: ContrastMiner[int] = ContrastMiner()
    pairs: list[object] = []
    row(f"{kind}, graph", drawn, lambda scene: generate("train", scene.index, config=config), f"{nodes:8.1f}{edges:8.0f}")
    row(f"{kind}, 256 points a node", drawn, lambda scene: sample_points(scene.graph, scene.seed))
    row(f"{kind}, 10 relations", drawn, lambda scene: list(Speaker(scene.graph).relations()))
    row(f"{kind}, hard negatives", drawn, lambda scene: pairs.extend(miner.add(scene.index, scene.graph)))
    print(f"{'':28}{len(pairs) / count:.1f} pairs for each scene")


def row(name: str, drawn: list[GeneratedScene], work: Callable[[GeneratedScene], object], more: str = "") -> None:
    """Time some work on every scene."""
    work(drawn[0])
    start = time.process_time()
    for scene in drawn:
        work(scene)
    print(f"{name:28}{len(drawn) / (time.process_time() - start):28.0f}{more}")


if __name__ == "__main__":
    main()
