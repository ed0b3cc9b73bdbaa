"""What is known about an instance before it is seen: its label, its kind, and what it is a part of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vla3d.errors import DataError
from vla3d.scene_graphs.node import UNKNOWN, NodeKind

IGNORED: tuple[str, ...] = ("background", "robot")
"""Names of instances that are no nodes: the background gives the table, and the gripper is read, not seen."""


@dataclass(frozen=True, kw_only=True)
class InstanceLabel:
    """What an id in a segmentation stands for.

    Attributes:
        label: what it is.
        kind: see ``SceneNode``.
        part_of: id of the instance that it is a part of.
    """

    label: str = UNKNOWN
    kind: NodeKind = "object"
    part_of: int | None = None


def labels_of_names(names: Mapping[int, str]) -> dict[int, InstanceLabel]:
    """What instance names say, those in ``IGNORED`` left out.

    A number at the end tells like things apart and is dropped, and a slash leads from a whole to its part: ``cabinet/drawer_1``
    is a drawer, part of the cabinet.

    Raises:
        DataError: an empty name.
    """
    ids = {name: number for number, name in names.items()}
    found = {}
    for number, name in names.items():
        if name in IGNORED:
            continue
        whole, _, last = name.rpartition("/")
        label = re.sub(r"_?\d+$", "", last).replace("_", " ").strip()
        if not label:
            raise DataError(f"Instance {number}: got the name {name!r}, expected one with a word in it.")
        part_of = ids.get(whole)
        found[number] = InstanceLabel(label=label, kind="part" if part_of is not None else "object", part_of=part_of)
    return found
