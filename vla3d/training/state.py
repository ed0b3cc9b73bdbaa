"""What a run is made of, as safetensors and JSON: weights, averages, optimiser, random states. No pickle."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vla3d.errors import CheckpointError
from vla3d.training.config import RESUMABLE, TrainerConfig

_NAMED = 5  # differing keys that a message lists


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a safetensors file, from any device."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: when it is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: when it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(value, dict):
        raise _damaged(path, ValueError("not a JSON object"))
    return value


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters (a shared one once) and persistent buffers, by name."""
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    owned = {id(tensor) for tensor in parameters.values()}
    saved = model.state_dict(keep_vars=True)
    buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved and id(tensor) not in owned}
    return {name: tensor.detach() for name, tensor in {**parameters, **buffers}.items()}


@torch.no_grad()
def restore_into(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy a file's values into ``tensors``, which must have the same names and shapes.

    Raises:
        CheckpointError: when the file is damaged or does not fit.
    """
    stored = read_tensors(path)
    require_fit(tensors, stored, path)
    for name, tensor in tensors.items():
        tensor.copy_(stored[name])


def require_fit(expected: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Refuse stored tensors whose names or shapes differ from ``expected``.

    Raises:
        CheckpointError: naming the first that differ.
    """
    want = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    got = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    if differing := [name for name in sorted(want.keys() | got.keys()) if want.get(name) != got.get(name)]:
        shown = "; ".join(f"{name}: stored {got.get(name)}, expected {want.get(name)}" for name in differing[:_NAMED])
        raise CheckpointError(
            f"{path} does not fit this model in {len(differing)} tensors ({shown}). Use the model it was made by."
        )


def check_architecture(stored: Mapping[str, Any], current: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint of another architecture.

    Raises:
        CheckpointError: naming the first keys that differ.
    """
    old, new = dict(_leaves("", stored)), dict(_leaves("", json.loads(json.dumps(current))))
    if differing := [key for key in sorted(old.keys() | new.keys()) if old.get(key, _ABSENT) != new.get(key, _ABSENT)]:
        shown = "; ".join(f"{key}: stored {old.get(key, _ABSENT)}, now {new.get(key, _ABSENT)}" for key in differing[:_NAMED])
        raise CheckpointError(
            f"{path} was made by another architecture; {len(differing)} settings differ ({shown}). "
            f"Set them back, or begin a new run in another out folder."
        )


def check_config(stored: Mapping[str, Any], config: TrainerConfig) -> None:
    """Refuse to continue a run under settings that would change its updates.

    A setting that the run's version of vla3d did not have counts as its default.

    Raises:
        CheckpointError: naming the settings.
    """
    now = json.loads(json.dumps(config.as_dict()))
    before = {**json.loads(json.dumps(TrainerConfig().as_dict())), **stored}
    differing = [key for key in now if key not in RESUMABLE and before[key] != now[key]]
    if differing:
        shown = "; ".join(f"{key}: was {before[key]}, now {now[key]}" for key in differing)
        raise CheckpointError(
            f"Cannot resume with other settings ({shown}). Set them back, or begin a new run in another out folder."
        )


def optimizer_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The optimiser as named tensors (``exp_avg/<parameter>``) and its groups as JSON."""
    # All of the model's: some that the optimiser holds may be frozen for the time being.
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors = {
        f"{key}/{names[id(parameter)]}": value for parameter, values in optimizer.state.items() for key, value in values.items()
    }
    groups = [
        {
            "parameters": [names[id(parameter)] for parameter in group["params"]],
            "weight_decay": group["weight_decay"],
            "betas": list(group["betas"]),
            "eps": group["eps"],
        }
        for group in optimizer.param_groups
    ]
    return tensors, groups


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, path: Path, groups: Iterable[Mapping[str, Any]]
) -> None:
    """Restore what ``optimizer_state`` gave.

    Raises:
        CheckpointError: when it is of other parameters.
    """
    parameters = dict(model.named_parameters())
    _, current = optimizer_state(optimizer, model)
    if [group["parameters"] for group in groups] != [group["parameters"] for group in current]:
        raise CheckpointError(f"{path} optimises other parameters than this model has. Use the model the run was started with.")
    for key, value in read_tensors(path).items():
        kind, name = key.split("/", 1)
        if name not in parameters:
            raise CheckpointError(f"{path} holds {key}, but the model has no parameter {name}. Use the model it was made by.")
        parameter = parameters[name]
        if value.ndim and value.shape != parameter.shape:
            raise CheckpointError(f"{path}: {key} has shape {tuple(value.shape)}, expected {tuple(parameter.shape)}.")
        optimizer.state[parameter][kind] = value.to(parameter.device)


def random_state(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The global random states of torch, NumPy and Python: arrays, and JSON-able rest."""
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    version, words, gauss = random.getstate()
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        "python": torch.tensor(words, dtype=torch.int64),
    }
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    rest = {
        "numpy": {"pos": numpy_state["state"]["pos"], "has_gauss": numpy_state["has_gauss"], "gauss": numpy_state["gauss"]},
        "python": {"version": version, "gauss": gauss},
    }
    return tensors, rest


def restore_random_state(tensors: Mapping[str, Tensor], rest: Mapping[str, Any], device: torch.device) -> None:
    """Restore what ``random_state`` gave."""
    torch.set_rng_state(tensors["torch"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    key = tensors["numpy"].numpy().astype(np.uint32)
    numpy_rest = rest["numpy"]
    np.random.set_state(("MT19937", key, numpy_rest["pos"], numpy_rest["has_gauss"], numpy_rest["gauss"]))
    random.setstate((rest["python"]["version"], tuple(tensors["python"].tolist()), rest["python"]["gauss"]))


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, value


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint file {path} cannot be read ({error}). Remove that checkpoint to continue from an earlier one."
    )
