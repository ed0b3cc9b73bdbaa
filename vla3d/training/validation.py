"""Offline validation on held-out samples, with the averaged weights."""

from collections.abc import Callable
from typing import Any

import torch

from vla3d.errors import TrainingError
from vla3d.policies.batch_mean import MeanOf
from vla3d.training.engine import Engine, seed_default_generator, step_seed
from vla3d.training.interfaces import SizedDataset
from vla3d.training.loader import open_batches, to_device


def validate(engine: Engine, data: SizedDataset[Any], interrupted: Callable[[], bool]) -> dict[str, float] | None:
    """Mean of the model's metrics over all samples, the same on every process.

    Args:
        engine: whose averaged weights are judged.
        data: held-out samples.
        interrupted: asked after every batch; True gives up.

    Returns:
        Metric to mean over the samples that it is about, or None when interrupted. A batch that does not report some metric
        does not count there.

    Raises:
        TrainingError: when the model does not report its own selection metric.
    """
    processes, config = engine.processes, engine.config
    batches = _rank_batches(len(data), config.batch_size, processes.rank, processes.count)
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    seed_default_generator(step_seed(config.seed, 0, 0, "validation"), engine.device)
    engine.module.eval()
    try:
        with (
            engine.ema.swapped(),
            torch.no_grad(),
            open_batches(
                data, batches, engine.model.collate, num_workers=config.num_workers, prefetch=config.prefetch
            ) as source,
        ):
            for indices, batch in zip(batches, source, strict=True):
                with engine.autocast():
                    metrics = engine.model.metrics(to_device(batch, engine.device))
                for key, value in metrics.items():
                    samples = value.samples if isinstance(value, MeanOf) else len(indices)
                    sums[key] = sums.get(key, 0.0) + value * samples
                    counts[key] = counts.get(key, 0) + samples
                if interrupted():
                    return None
    finally:
        engine.module.train()
    means = _mean_over_ranks(engine, sums, counts)
    if engine.model.selection_metric not in means:
        raise TrainingError(
            f"metrics() reports {sorted(means)}, expected the selection metric {engine.model.selection_metric!r} too."
        )
    return means


def _rank_batches(length: int, batch_size: int, rank: int, world_size: int) -> list[list[int]]:
    mine = list(range(rank, length, world_size))
    return [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]


def _mean_over_ranks(engine: Engine, sums: dict[str, float], counts: dict[str, int]) -> dict[str, float]:
    total: dict[str, float] = {}
    counted: dict[str, int] = {}
    for part, samples in zip(engine.processes.gather(sums), engine.processes.gather(counts), strict=True):
        for key, value in part.items():
            total[key] = total.get(key, 0.0) + value
            counted[key] = counted.get(key, 0) + samples[key]
    return {key: value / counted[key] for key, value in total.items()}
