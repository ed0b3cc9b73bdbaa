"""Running a benchmark of operations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from vla3d.benchmarks import gathering, lifting, neighbours, sampling, splatting, voxels
from vla3d.benchmarks.cases import Case
from vla3d.benchmarks.config import BenchConfig
from vla3d.benchmarks.measure import measure
from vla3d.errors import ConfigError, MissingExtraError
from vla3d.optional import require

QUICK_SIZE = 512
QUICK_RESOLUTION = 16


@dataclass(frozen=True)
class Operation:
    """One operation to time.

    Attributes:
        case: ``case(size, batch, seed, device)`` prepares the task of one size.
        fixed: the size that is always measured; None for an operation over resolutions.
    """

    case: Callable[[int, int, int, torch.device], Case]
    fixed: int | None


OPERATIONS: dict[str, tuple[Operation, ...]] = {
    "points": (
        Operation(sampling.case, sampling.FIXED),
        Operation(neighbours.ball_case, neighbours.FIXED),
        Operation(neighbours.knn_case, neighbours.FIXED),
        Operation(voxels.case, voxels.FIXED),
        Operation(gathering.case, gathering.FIXED),
    ),
    "views": (Operation(splatting.case, splatting.FIXED), Operation(lifting.case, None)),
}
# Peers that must be installed; pytorch3d is compared with on CUDA only.
PEERS: dict[str, tuple[str, ...]] = {"points": ("fpsample", "torch_quickfps", "open3d"), "views": ()}


def run(config: BenchConfig) -> list[dict[str, Any]]:
    """Measure every case.

    Returns:
        One row for each case and peer: ``op, case, size, ours_s, peer, peer_s, ratio, agree, repeats``; times are medians, in
        seconds, and the ratio is theirs over ours.

    Raises:
        ConfigError: a GPU is asked for where there is none.
    """
    assert config.operations is not None  # the configuration refuses it
    device = _device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    for reason in missing_peers(config.operations, device):
        print(f"Left out: {reason}")
    plan = [(operation, size) for operation in OPERATIONS[config.operations] for size in _sizes(config, operation)]
    rows = []
    with tqdm(plan, desc=f"bench {config.operations}", unit="case", dynamic_ncols=True) as bar:
        for operation, size in bar:
            case = operation.case(size, config.batch, config.seed, device)
            bar.set_postfix_str(case.name)
            rows += measure(case, 1 if config.quick else config.repeats, config.patience, device)
    return rows


def missing_peers(operations: str, device: torch.device) -> Iterator[str]:
    """Why peers of these operations cannot run."""
    for name in PEERS[operations] if device.type == "cpu" else ("pytorch3d",) if operations == "points" else ():
        try:
            require(name)
        except MissingExtraError as error:
            yield str(error)


def _sizes(config: BenchConfig, operation: Operation) -> list[int]:
    if config.quick:
        return [QUICK_RESOLUTION if operation.fixed is None else QUICK_SIZE]
    return sorted(set(config.resolutions) if operation.fixed is None else {*config.sizes, operation.fixed})


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: got cuda, but torch sees no GPU here; give device=cpu.")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name)
