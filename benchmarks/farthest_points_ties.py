"""Who is right where programs for farthest point sampling disagree: beside brute force in float32 and in float64.

The clouds are those of `vla3d bench points`. A pick is judged at the first place where a program leaves brute force in float32,
since all picks after it have another past.
"""

import argparse

import numpy as np
import torch

from vla3d.benchmarks.cases import uniform
from vla3d.benchmarks.sampling import numpy_loop
from vla3d.optional import require, usable
from vla3d.pointcloud import farthest_point_sampling


def distance_to(points: np.ndarray, picked: np.ndarray, candidate: int) -> float:
    """Squared distance of a point to the nearest of those picked, in the precision of the points."""
    x, y, z = ((points[picked] - points[candidate]) ** 2).T
    return ((x + y) + z).min()


def main() -> None:
    """Print where each program leaves the oracle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=65536)
    parser.add_argument("--seeds", type=int, default=1, help="clouds to look at")
    arguments = parser.parse_args()
    k = max(1, arguments.points // 16)
    for seed in range(arguments.seeds):
        cloud = uniform((1, arguments.points, 3), seed, torch.device("cpu"))
        single, double = cloud[0].numpy(), cloud[0].double().numpy()
        oracle = numpy_loop(single, k)
        found = {"vla3d": farthest_point_sampling(cloud, k)[0].numpy(), "float64 brute force": numpy_loop(double, k)}
        if usable("torch_quickfps"):
            found["torch_quickfps"] = require("torch_quickfps").sample_idx(cloud, k, start_idx=0)[0].numpy()
        for name, picks in found.items():
            differing = np.flatnonzero(picks != oracle)
            print(f"cloud {seed}, {name}: {len(differing)} of {k} picks are not those of float32 brute force")
            if len(differing) > 0:
                at = int(differing[0])
                for pick in (picks[at], oracle[at]):
                    distances = (distance_to(points, oracle[:at], pick) for points in (single, double))
                    print(
                        f"    pick {at}, point {pick}: squared distance {' in float32, '.join(map(str, distances))} in float64"
                    )


if __name__ == "__main__":
    main()
