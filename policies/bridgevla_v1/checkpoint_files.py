"""The release's checkpoints as files: what tensors they hold, read only when asked for."""

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vla3d.errors import CheckpointError

INDEX_FILE = "model.safetensors.index.json"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        shape: its shape.
        dtype: its number format.
        read: reads it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


def stored_tensors(source: Path) -> dict[str, StoredTensor]:
    """What a checkpoint holds, by its own names.

    Args:
        source: a ``.pth`` file with the keys "epoch" and "model_state", a ``.safetensors`` file, or a folder with one or with
            several and their index.

    Raises:
        CheckpointError: it is missing, damaged, or something else.
    """
    if source.is_dir():
        return _folder(source)
    if not source.is_file():
        raise CheckpointError(
            f"No checkpoint at {source}: expected a .pth file, a .safetensors file or a folder with {INDEX_FILE}."
        )
    return _safetensors(source) if source.suffix == ".safetensors" else _pickled(source)


def _folder(folder: Path) -> dict[str, StoredTensor]:
    index = folder / INDEX_FILE
    files = sorted(folder.glob("*.safetensors"))
    if index.is_file():
        files = _shards(index)
    elif len(files) != 1:
        raise CheckpointError(
            f"{folder} holds {len(files)} .safetensors files and no {INDEX_FILE}, expected one of them, or the index of "
            "several; give the file itself if it is a .pth."
        )
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        tensors |= _safetensors(file)
    return tensors


def _shards(index: Path) -> list[Path]:
    """The files that an index names, all of them beside it."""
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of safetensors files ({error!r}); fetch it again.") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (index.parent / name).is_file():
            raise CheckpointError(f"{index} names {name!r}, which is not a file beside it; fetch all parts of the checkpoint.")
    return [index.parent / name for name in names]


def _safetensors(path: Path) -> dict[str, StoredTensor]:
    def reader(name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            with safe_open(path, framework="pt") as opened:
                return opened.get_tensor(name)

        return read

    def described(opened: Any) -> Iterator[tuple[str, StoredTensor]]:
        for name in opened.keys():  # noqa: SIM118 (not a mapping)
            part = opened.get_slice(name)
            dtype = _DTYPES.get(part.get_dtype())
            if dtype is None:
                raise CheckpointError(
                    f"{path}: {name!r} is stored as {part.get_dtype()}, expected one of {', '.join(_DTYPES)}."
                )
            yield name, StoredTensor(shape=tuple(part.get_shape()), dtype=dtype, read=reader(name))

    try:
        with safe_open(path, framework="pt") as opened:
            return dict(described(opened))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error}); fetch it again.") from error


def _pickled(path: Path) -> dict[str, StoredTensor]:
    """A ``torch.save`` file. Its pickle may hold tensors and plain values only; the tensors stay on the disk until read."""
    try:
        mapped = zipfile.is_zipfile(path)  # what torch saved before 1.6 cannot be mapped
        content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of tensors and plain values alone ({first_line}); fetch it again."
        ) from error
    state = content.get("model_state") if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        held = sorted(map(str, content))[:5] if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} holds {held}, expected a fine-tuned checkpoint: the keys 'epoch' and 'model_state', with tensors below."
        )

    def stored(value: Tensor) -> StoredTensor:
        return StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=lambda: value)

    return {str(name): stored(value) for name, value in state.items()}
