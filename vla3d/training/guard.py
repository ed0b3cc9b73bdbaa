"""Stopping at the first non-finite loss or gradient, with the batch that caused it on disk."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from vla3d.errors import TrainingError


class FiniteGuard:
    """Looks at every step's loss and gradient norm.

    On CPU that happens before the weights change. On a GPU the answer is read one step later, because waiting for it would
    leave the GPU idle; by then the weights in memory are spoilt, the checkpoints are not.

    Args:
        directory: where the dump goes.
        rank: this process, part of the file names.
    """

    def __init__(self, directory: Path, rank: int = 0) -> None:
        self._directory = directory
        self._rank = rank
        self._pending: tuple[int, Any, Tensor, torch.cuda.Event, Callable[[], Mapping[str, Any]]] | None = None

    def check(self, step: int, batch: Any, loss: Tensor, norm: Tensor, details: Callable[[], Mapping[str, Any]]) -> None:
        """Raise if ``loss`` or ``norm`` is not finite.

        Args:
            step: update, from 0.
            batch: its batch.
            loss: its loss, a scalar without gradient.
            norm: its gradient norm, a scalar.
            details: called for what else to write down, JSON-able.

        Raises:
            TrainingError: after writing the batch to ``nonfinite-step-...``.
        """
        values = torch.stack([loss.float(), norm.float()])
        if values.device.type == "cpu":
            self._judge(step, batch, values, details)
            return
        self.flush()
        copied = values.to("cpu", non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = (step, batch, copied, event, details)

    def flush(self) -> None:
        """Judge the step that is still waiting, if any."""
        if self._pending is not None:
            step, batch, values, event, details = self._pending
            self._pending = None
            event.synchronize()
            self._judge(step, batch, values, details)

    def _judge(self, step: int, batch: Any, values: Tensor, details: Callable[[], Mapping[str, Any]]) -> None:
        loss, norm = values.tolist()
        if np.isfinite(loss) and np.isfinite(norm):
            return
        folder = self._directory / f"nonfinite-step-{step:08d}"
        what = "loss" if not np.isfinite(loss) else "gradient norm"
        try:
            dump_batch(
                batch, folder, f"rank{self._rank}", {"step": step, "loss": repr(loss), "gradient_norm": repr(norm), **details()}
            )
            where = f"The batch is in {folder}"
        except OSError as error:
            where = f"The batch could not be written ({error})"
        raise TrainingError(
            f"The {what} is not finite at step {step} (loss {loss}, gradient norm {norm}). {where}; the last checkpoint is "
            f"sound. Lower lr, set clip_norm, or look for bad values in that batch."
        )


def dump_batch(batch: Any, folder: Path, stem: str, details: Mapping[str, Any]) -> None:
    """Write a nested batch as ``<stem>.safetensors`` (arrays, named by their path) and ``<stem>.json`` (everything else)."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    others: dict[str, Any] = {}
    _flatten("batch", batch, tensors, others)
    save_file(tensors, folder / f"{stem}.safetensors")
    (folder / f"{stem}.json").write_text(json.dumps({**details, "values": others}, indent=2) + "\n")


def _flatten(path: str, value: Any, tensors: dict[str, Tensor], others: dict[str, Any]) -> None:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        tensors[path] = torch.from_numpy(np.ascontiguousarray(value).copy())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(f"{path}.{key}", item, tensors, others)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _flatten(f"{path}.{index}", item, tensors, others)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            _flatten(f"{path}.{field.name}", getattr(value, field.name), tensors, others)
    else:
        others[path] = value if isinstance(value, str | int | float | bool | None) else repr(value)
