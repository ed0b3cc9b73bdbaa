"""Nodes and viewpoints as plain values (texts, numbers, lists), and back. Points and embeddings travel beside them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vla3d.errors import DataError, Vla3dError
from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.viewpoint import Viewpoint

ARRAYS = ("points", "feature")
"""Values of a node that are arrays of any length."""

_BOX = ("center", "size", "quaternion")
_NEEDED = ("id", "label", *_BOX)
# A value that is the default is left out.
_DEFAULTS: dict[str, Any] = {
    "kind": "object", "label_scores": {}, "color": None, "rgb": None, "opening": None, "holding": None, "states": [],
    "part_of": None, "incomplete": False, "views": 0, "attributes": {},
}  # fmt: skip


def node_to_plain(node: SceneNode) -> dict[str, Any]:
    """A node without its arrays. Floats keep every bit."""
    values = {
        "id": node.id,
        "label": node.label,
        **{name: getattr(node.box, name).tolist() for name in _BOX},
        **{name: getattr(node, name) for name in _DEFAULTS},
    }
    values |= {
        "label_scores": dict(node.label_scores),
        "attributes": dict(node.attributes),
        "states": list(node.states),
        "rgb": None if node.rgb is None else node.rgb.tolist(),
    }
    return {name: value for name, value in values.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}


def node_from_plain(values: Any, arrays: Mapping[str, np.ndarray] | None = None) -> SceneNode:
    """The inverse of `node_to_plain`.

    Args:
        values: what it returned.
        arrays: the node's points or feature.

    Raises:
        DataError: something is missing, unknown, or of another type.
    """
    if not isinstance(values, dict):
        raise DataError(f"Node: got {values!r}, expected an object with {', '.join(_NEEDED)}.")
    for name in _NEEDED:
        if name not in values:
            raise DataError(f"Node {values.get('id', '?')}: {name} is missing, expected {', '.join(_NEEDED)}.")
    unknown = sorted(values.keys() - {*_NEEDED, *_DEFAULTS})
    if unknown:
        raise DataError(f"Node {values['id']}: got {unknown[0]!r}, expected only {', '.join((*_NEEDED, *_DEFAULTS))}.")
    rest: dict[str, Any] = {name: values[name] for name in _DEFAULTS if name in values}
    try:
        if "states" in rest:
            rest["states"] = tuple(rest["states"])
        if rest.get("rgb") is not None:
            rest["rgb"] = np.array(rest["rgb"], dtype=np.float64)
        rest |= arrays or {}
        box = OrientedBox(**{name: np.array(values[name], dtype=np.float64) for name in _BOX})
        return SceneNode(id=values["id"], label=values["label"], box=box, **rest)
    except Vla3dError as error:
        raise DataError(str(error) if str(error).startswith("Node") else f"Node {values['id']}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"Node {values['id']}: a value is of another type than expected ({error}).") from error


def viewpoint_to_plain(viewpoint: Viewpoint) -> dict[str, Any]:
    """A viewpoint as plain values."""
    return {"heading": viewpoint.heading, "name": viewpoint.name}


def viewpoint_from_plain(values: Any) -> Viewpoint:
    """The inverse of `viewpoint_to_plain`.

    Raises:
        DataError: it is none.
    """
    try:
        return Viewpoint(heading=float(values["heading"]), name=str(values["name"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"Viewpoint: got {values!r}, expected an object with heading (radians) and name.") from error
