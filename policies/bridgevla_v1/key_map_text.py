"""What becomes of a checkpoint's keys, in words."""

import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from vla3d.policies.bridgevla_v1.checkpoint_files import StoredTensor
from vla3d.policies.bridgevla_v1.key_map import KeyMap, Kind
from vla3d.policies.bridgevla_v1.names import TOWERS


def describe(key_map: KeyMap, stored: Mapping[str, StoredTensor], kind: Kind, *, whole: bool) -> Iterator[str]:
    """The key map for a screen.

    Args:
        key_map: what becomes of every key.
        stored: the checkpoint.
        kind: of the checkpoint.
        whole: name every weight, once for all layers of a tower; else name the modules.
    """
    yield f"A {kind} checkpoint of BridgeVLA's 2025 release, {len(stored)} keys."
    groups: dict[tuple[str, str], list[StoredTensor]] = {}
    for ours, theirs in key_map.used.items():
        pair = (_layers_as_one(theirs), _layers_as_one(ours)) if whole else _modules(theirs, ours)
        groups.setdefault(pair, []).append(stored[theirs])
    yield f"Used and renamed ({len(key_map.used)}):"
    for (theirs, ours), tensors in groups.items():
        shape = f" {list(tensors[0].shape)}" if whole else f", {sum(prod(tensor.shape) for tensor in tensors):,} numbers"
        yield f"  {theirs} -> {ours}  {len(tensors)} key{'s' if len(tensors) > 1 else ''}{shape}"
    yield f"Left over, not needed here ({len(key_map.left_over)}):"
    for name, reason in key_map.left_over.items():
        yield f"  {name}: {reason}"
    yield f"Not in the checkpoint, starting from fresh weights ({len(key_map.fresh)}){':' if key_map.fresh else ''}"
    for module in dict.fromkeys(".".join(name.split(".")[:2]) for name in key_map.fresh):
        yield f"  {module}.*"
    yield f"Missing: {len(key_map.missing)}. Unexplained: {len(key_map.unexplained)}."


def report(
    key_map: KeyMap, stored: Mapping[str, StoredTensor], expected: Mapping[str, Tensor], kind: Kind, source: Path
) -> str:
    """Every key on a line of its own, tab-separated."""

    def form(dtype: torch.dtype) -> str:
        return str(dtype).removeprefix("torch.")

    lines = [f"{source.name}: a {kind} checkpoint of BridgeVLA's 2025 release", "", "fate\tthere\there\tshape\tstored\twritten"]
    for ours, theirs in key_map.used.items():
        there = stored[theirs]
        lines.append(f"used\t{theirs}\t{ours}\t{list(there.shape)}\t{form(there.dtype)}\t{form(expected[ours].dtype)}")
    for name, reason in key_map.left_over.items():
        lines.append(f"left over\t{name}\t{reason}\t{list(stored[name].shape)}\t{form(stored[name].dtype)}\t")
    lines += [f"fresh\t\t{name}\t{list(expected[name].shape)}\t\t{form(expected[name].dtype)}" for name in key_map.fresh]
    return "\n".join(lines) + "\n"


def _layers_as_one(name: str) -> str:
    return re.sub(r"\blayers\.\d+", "layers.*", name)


def _modules(theirs: str, ours: str) -> tuple[str, str]:
    """Two names without the end that they share, down to the name of a part."""
    first, second = theirs.split("."), ours.split(".")
    while first and second and first[-1] == second[-1] and first[-1] not in TOWERS:
        first, second = first[:-1], second[:-1]
    return ".".join([*first, "*"]), ".".join([*second, "*"])
