"""ScanRefer: sentences about things in ScanNet scenes (D. Z. Chen, A. X. Chang, M. Niessner, 2020)."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from vla3d.errors import DataError

CLASSES = (
    "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "desk", "curtain",
    "refrigerator", "shower curtain", "toilet", "sink", "bathtub", "others",
)  # fmt: skip
"""The benchmark's classes; every other one is ``"others"``."""

_FIELDS = ("scene_id", "object_id", "object_name", "ann_id", "description")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A sentence and the thing that it refers to.

    Attributes:
        scene_id: such as ``"scene0000_00"``.
        object_id: of the thing in ScanNet's aggregation file (its ``objectId``).
        object_name: of the thing, with spaces.
        ann_id: tells sentences about one thing apart.
        description: the sentence.
        tokens: its words as the file lists them; empty where it does not.
    """

    scene_id: str
    object_id: int
    object_name: str
    ann_id: str
    description: str
    tokens: tuple[str, ...] = ()


def read_scanrefer(path: Path) -> tuple[Reference, ...]:
    """Read ``ScanRefer_filtered_train.json``, ``..._val.json`` or a file like them.

    Raises:
        DataError: it cannot be read, or an entry lacks something; one sentence that names the entry.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as ScanRefer ({error}); expected a JSON list.") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: got {type(rows).__name__}, expected a list of sentences.")
    references = tuple(_reference(row, f"{path}, entry {number}") for number, row in enumerate(rows))
    keys = Counter((reference.scene_id, reference.object_id, reference.ann_id) for reference in references)
    twice = [key for key, count in keys.items() if count > 1]
    if twice:
        raise DataError(f"{path}: the sentence {twice[0]} (scene, object, annotation) is there twice.")
    return references


def _reference(row: Any, where: str) -> Reference:
    if not isinstance(row, dict):
        raise DataError(f"{where}: got {row!r}, expected an object with {', '.join(_FIELDS)}.")
    for name in _FIELDS:
        if name not in row:
            raise DataError(f"{where}: {name} is missing, expected {', '.join(_FIELDS)}.")
    tokens = row.get("token", [])
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise DataError(f"{where}: got token {tokens!r}, expected a list of words.")
    try:
        object_id = int(row["object_id"])
    except (TypeError, ValueError):
        raise DataError(f"{where}: got object_id {row['object_id']!r}, expected a whole number.") from None
    return Reference(
        scene_id=str(row["scene_id"]),
        object_id=object_id,
        object_name=str(row["object_name"]).replace("_", " "),
        ann_id=str(row["ann_id"]),
        description=str(row["description"]),
        tokens=tuple(tokens),
    )


def read_classes(path: Path) -> dict[str, str]:
    """From ScanNet's raw categories to the benchmark's classes, out of ``scannetv2-labels.combined.tsv``.

    A category belongs to a class if its NYU40 name is that of the class; the rest are ``"others"``.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected ScanNet's table of labels.") from error
    missing = [name for name in ("raw_category", "nyu40class") if not rows or name not in rows[0]]
    if missing:
        raise DataError(f"{path}: the column {missing[0]} is missing; expected scannetv2-labels.combined.tsv.")
    found = {}
    for row in rows:
        name = row["nyu40class"] or ""
        found[row["raw_category"]] = name if name in CLASSES else "others"
    return found


def unique_things(
    references: Sequence[Reference],
    classes: Mapping[str, str],
    scene_objects: Mapping[str, Iterable[str]] | None = None,
) -> Bool[np.ndarray, "N"]:
    """Whether each sentence's thing is the only one of its class in its scene: the benchmark's ``unique`` subset.

    Two ways of counting are in use and give slightly different subsets. Without ``scene_objects``, only things count that some
    sentence of ``references`` refers to, each once: what published programs do with the split that they load. With it, all
    things of the scene count.

    Args:
        references: of one split.
        classes: from `read_classes`; a name that is not in it is ``"others"``.
        scene_objects: raw names of all things in each scene.

    Raises:
        DataError: a scene is missing from ``scene_objects``.
    """
    counts: dict[str, Counter[str]] = {}
    if scene_objects is None:
        named = {(reference.scene_id, reference.object_id): reference.object_name for reference in references}
        for (scene, _), name in named.items():
            counts.setdefault(scene, Counter())[classes.get(name, "others")] += 1
    else:
        for scene, names in scene_objects.items():
            counts[scene] = Counter(classes.get(name, "others") for name in names)
    for reference in references:
        if reference.scene_id not in counts:
            raise DataError(f"unique_things: scene_objects lacks {reference.scene_id}, expected every scene of the sentences.")
    only = [counts[r.scene_id][classes.get(r.object_name, "others")] <= 1 for r in references]
    return np.array(only, dtype=bool)
