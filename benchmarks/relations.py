"""Time of all predicates on scenes of many objects.

    python benchmarks/relations.py [--objects 10,50,200,1000,5000] [--repeats 20]

Objects are yawed boxes on and above a table of a square metre. Prints the median processor time of `relate` and the peak memory
that it adds.
"""

import argparse
import platform
import resource
import time
from datetime import date

import numpy as np

from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates import PREDICATES
from vla3d.scene_graphs.relations import relate


def scene(count: int, seed: int = 0) -> list[SceneNode]:
    """Boxes anywhere above a square metre."""
    rng = np.random.default_rng(seed)
    nodes = []
    for number in range(count):
        center, size = rng.uniform([0, -0.5, 0], [1, 0.5, 0.3]), rng.uniform(0.02, 0.1, 3)
        box = OrientedBox.upright(center, size, rng.uniform(-np.pi, np.pi))
        nodes.append(SceneNode(id=number, label="box", box=box, rgb=rng.uniform(0, 1, 3)))
    return nodes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objects", default="10,50,200,1000,5000")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    print(f"{len(PREDICATES)} predicates, {date.today()}, NumPy {np.__version__}, {platform.machine()}, one thread")
    print(f"{'objects':>8} {'ordered pairs':>14} {'median ms':>10} {'peak MB':>8}")
    for count in map(int, options.objects.split(",")):
        nodes, times, pairs = scene(count), [], 0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(options.repeats if count <= 200 else 2):
            began = time.process_time()
            pairs = len(relate(nodes).subjects)
            times.append(1e3 * (time.process_time() - began))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{count:>8} {pairs:>14} {np.median(times):>10.1f} {grown:>8.0f}")


if __name__ == "__main__":
    main()
