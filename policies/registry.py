"""Policy names: the built-in ones, and those that installed packages offer under the entry point ``vla3d.policies``."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from vla3d.errors import unknown_name

if TYPE_CHECKING:
    from vla3d.policies.base import Policy

ENTRY_POINT_GROUP = "vla3d.policies"
_BUILT_IN = {
    "bridgevla": "vla3d.policies.bridgevla:BridgeVLA",
    "bridgevla_v1": "vla3d.policies.bridgevla_v1:BridgeVLAV1",
    "random": "vla3d.policies.random:RandomPolicy",
    "scripted": "vla3d.policies.scripted:ScriptedPolicy",
}


def policy_names() -> list[str]:
    """Every policy that can be asked for by name."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def policy_class(name: str) -> "type[Policy]":
    """The class behind a policy name; a built-in name cannot be taken over by a plugin.

    Raises:
        ConfigError: for an unknown name.
    """
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name].split(":")
        return cast("type[Policy]", getattr(import_module(module), attribute))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return cast("type[Policy]", point.load())
    raise unknown_name("policy", name, policy_names())
