"""Scene graphs on disk: JSON that people can read, and safetensors beside it for points and embeddings.

``scene.json`` holds ``schema``, ``frame``, ``viewpoint``, ``predicates``, ``nodes`` and ``edges``; an edge is
``[subject, predicate, object, evidence, confidence]``. Where a node has points or a feature, ``scene.safetensors`` holds them
under ``points/ID`` and ``feature/ID``, and ``arrays`` names that file and its SHA-256.
"""

import hashlib
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from vla3d.errors import DataError, SchemaVersionError, Vla3dError
from vla3d.scene_graphs.edges import Edges
from vla3d.scene_graphs.exchange.plain import ARRAYS, node_from_plain, node_to_plain, viewpoint_from_plain, viewpoint_to_plain
from vla3d.scene_graphs.graph import SceneGraph

SCHEMA = "vla3d.scene_graph/1"
FRAME = "x forward, y left, z up; metres"
"""The only axes that graphs are written in: gravity points along -z."""

_KEYS = ("schema", "frame", "viewpoint", "predicates", "nodes", "edges")


def write_graph(path: Path, graph: SceneGraph) -> None:
    """Write a graph. Files appear whole or not at all, the arrays before the JSON that names them.

    Args:
        path: ends in ``.json``.
        graph: what to write.

    Raises:
        DataError: another ending.
    """
    if path.suffix != ".json":
        raise DataError(f"Scene graph: got the path {path}, expected one that ends in .json.")
    from safetensors.numpy import save

    arrays = {
        f"{name}/{node.id}": np.ascontiguousarray(getattr(node, name))
        for node in graph.nodes
        for name in ARRAYS
        if getattr(node, name) is not None
    }
    described: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": FRAME,
        "viewpoint": viewpoint_to_plain(graph.viewpoint),
        "predicates": list(graph.edges.vocabulary),
    }
    if arrays:
        content = save(arrays)
        beside = path.with_suffix(".safetensors")
        described["arrays"] = {"file": beside.name, "sha256": hashlib.sha256(content).hexdigest()}
        _write(beside, content)
    described["nodes"] = [node_to_plain(node) for node in graph.nodes]
    edges = graph.edges
    named = [edges.vocabulary[number] for number in edges.predicates]
    columns = (edges.subjects.tolist(), named, edges.objects.tolist(), edges.evidence.tolist(), edges.confidence.tolist())
    described["edges"] = [list(edge) for edge in zip(*columns, strict=True)]
    _write(path, _readable(described).encode())


def read_graph(path: Path) -> SceneGraph:
    """Read a graph.

    Raises:
        SchemaVersionError: it was written under another schema.
        DataError: it cannot be read, or something in it cannot be right.
    """
    try:
        described = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a scene graph ({error}); expected JSON that vla3d graph wrote.") from error
    schema = described.get("schema") if isinstance(described, dict) else None
    if schema != SCHEMA:
        raise SchemaVersionError(
            f"{path} has the schema {schema!r}, expected {SCHEMA!r}; build it again with this version: vla3d graph."
        )
    missing = [key for key in _KEYS if key not in described]
    if missing:
        raise DataError(f"{path}: {missing[0]} is missing, expected {', '.join(_KEYS)}.")
    if described["frame"] != FRAME:
        raise DataError(f"{path}: got axes {described['frame']!r}, expected {FRAME!r}; turn the poses first.")
    try:
        arrays = _read_arrays(path, described)
        return SceneGraph(
            nodes=tuple(node_from_plain(values, arrays.get(_id_of(values))) for values in described["nodes"]),
            edges=_read_edges(described["edges"], described["predicates"]),
            viewpoint=viewpoint_from_plain(described["viewpoint"]),
        )
    except Vla3dError as error:
        raise DataError(f"{path}: {error}") from error
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error}); expected JSON that vla3d graph wrote.") from error


def _id_of(values: Any) -> int:
    return int(values["id"]) if isinstance(values, dict) and "id" in values else -1


def _read_edges(rows: Any, vocabulary: Any) -> Edges:
    numbers = {name: number for number, name in enumerate(vocabulary)}
    for row in rows:
        types = (int, str, int, int, int | float)
        if not isinstance(row, list) or len(row) != 5 or not all(map(isinstance, row, types)):
            raise DataError(f"edge {row!r}: expected [subject, predicate, object, evidence, confidence].")
        if row[1] not in numbers:
            raise DataError(f"edge {row!r}: expected one of the file's predicates, {', '.join(numbers)}.")
    columns: tuple[Any, ...] = tuple(zip(*rows, strict=True)) if rows else ((),) * 5
    return Edges(
        subjects=np.array(columns[0], dtype=np.int64),
        predicates=np.array([numbers[name] for name in columns[1]], dtype=np.int64),
        objects=np.array(columns[2], dtype=np.int64),
        evidence=np.array(columns[3], dtype=np.int64),
        confidence=np.array(columns[4], dtype=np.float64),
        vocabulary=tuple(vocabulary),
    )


def _read_arrays(path: Path, described: dict[str, Any]) -> dict[int, dict[str, np.ndarray]]:
    """Arrays of each node, by its id."""
    if "arrays" not in described:
        return {}
    from safetensors import SafetensorError
    from safetensors.numpy import load

    # Only a file beside the graph: a graph from elsewhere must not make others be read.
    beside = path.with_name(Path(str(described["arrays"]["file"])).name)
    try:
        content = beside.read_bytes()
        if hashlib.sha256(content).hexdigest() != described["arrays"]["sha256"]:
            raise DataError(f"{beside.name} is not the file that was written with it (SHA-256 differs); copy both again.")
        loaded = load(content)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{beside.name} cannot be read ({error}); copy it beside the JSON.") from error
    found: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
    for key, values in loaded.items():
        name, _, node_id = key.partition("/")
        if name not in ARRAYS or not node_id.isdecimal():
            raise DataError(f"{beside.name}: got {key!r}, expected points/ID or feature/ID.")
        found[int(node_id)][name] = values
    return found


def _readable(described: dict[str, Any]) -> str:
    """JSON with one line for each node and edge."""
    parts = []
    for key, value in described.items():
        if isinstance(value, list) and value and not isinstance(value[0], str):
            rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in value)
            parts.append(f'"{key}": [\n  {rows}\n ]')
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def _write(path: Path, content: bytes) -> None:
    """Write aside and move into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
