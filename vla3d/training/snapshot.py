"""Everything a run needs to go on, to and from one checkpoint folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import vla3d
from vla3d.errors import CheckpointError
from vla3d.training.checkpoint import POLICY
from vla3d.training.engine import Engine
from vla3d.training.sampler import EpochSampler
from vla3d.training.state import (
    check_architecture,
    check_config,
    model_tensors,
    optimizer_state,
    random_state,
    read_json,
    read_tensors,
    restore_into,
    restore_optimizer,
    restore_random_state,
    write_tensors,
)

FORMAT = 1
STATE = "state"


@dataclass
class Position:
    """How far a run is.

    Attributes:
        step: updates done.
        validated: step of the last validation, -1 before the first.
        best_step: step of the best validation, -1 before the first.
        best_metric: its selection metric.
    """

    step: int = 0
    validated: int = -1
    best_step: int = -1
    best_metric: float | None = None


def gather_rank_states(engine: Engine) -> list[dict[str, Any]]:
    """What each process has of its own: random states and sums not yet logged. Every process must call this."""
    tensors, rest = random_state(engine.device)
    own = {"tensors": tensors, "rest": rest, "meter": engine.meter.state()}
    return engine.processes.gather(own)


def write_snapshot(
    folder: Path,
    engine: Engine,
    sampler: EpochSampler,
    position: Position,
    ranks: list[dict[str, Any]],
    facts: Mapping[str, Any],
) -> None:
    """Fill a checkpoint folder.

    Args:
        folder: exists and is empty.
        engine: the model and optimiser.
        sampler: the data order.
        position: how far the run is.
        ranks: from ``gather_rank_states``.
        facts: further JSON-able values to store (``trackers``, ``settings``).
    """
    state = folder / STATE
    state.mkdir()
    write_tensors(model_tensors(engine.module), state / "weights.safetensors")
    write_tensors(engine.ema.tensors(), state / "ema.safetensors")
    optimizer, groups = optimizer_state(engine.optimizer, engine.module)
    write_tensors(optimizer, state / "optimizer.safetensors")
    random_tensors = {f"rank{rank}/{key}": value for rank, own in enumerate(ranks) for key, value in own["tensors"].items()}
    write_tensors(random_tensors, state / "random.safetensors")
    stored = {
        "format": FORMAT,
        "versions": {"vla3d": vla3d.__version__, "torch": torch.__version__},
        "position": asdict(position),
        "sampler": sampler.state(position.step),
        "architecture": engine.model.architecture(),
        "config": engine.config.as_dict(),
        "ema_updates": engine.ema.updates,
        "optimizer": groups,
        "ranks": [{"random": own["rest"], "meter": own["meter"]} for own in ranks],
        **facts,
    }
    (state / "state.json").write_text(json.dumps(stored, indent=2) + "\n")
    with engine.ema.swapped():
        engine.model.save_pretrained(folder / POLICY)


def read_snapshot(folder: Path, engine: Engine, sampler: EpochSampler) -> tuple[Position, dict[str, Any]]:
    """Restore a run from a checkpoint folder, after checking that it fits.

    Returns:
        How far the run was, and all that ``state.json`` holds.

    Raises:
        CheckpointError: when it is damaged, or of another model, configuration or data.
    """
    state = folder / STATE
    path = state / "state.json"
    stored = read_json(path)
    if stored.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {stored.get('format')}, expected {FORMAT}. Use the vla3d version it was made by."
        )
    try:
        position = Position(**stored["position"])
        check_architecture(stored["architecture"], engine.model.architecture(), folder)
        check_config(stored["config"], engine.config)
        sampler.check(position.step, stored["sampler"])
        own = stored["ranks"][engine.processes.rank]
        restore_into(model_tensors(engine.module), state / "weights.safetensors")
        restore_into(engine.ema.tensors(), state / "ema.safetensors")
        engine.ema.updates = stored["ema_updates"]
        restore_optimizer(engine.optimizer, engine.module, state / "optimizer.safetensors", stored["optimizer"])
        prefix = f"rank{engine.processes.rank}/"
        random_tensors = read_tensors(state / "random.safetensors")
        mine = {key.removeprefix(prefix): value for key, value in random_tensors.items() if key.startswith(prefix)}
        restore_random_state(mine, own["random"], engine.device)
        engine.meter.load(own["meter"], engine.device)
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path} lacks what a checkpoint must hold ({error!r}). Remove {folder} to continue earlier."
        ) from error
    return position, stored
