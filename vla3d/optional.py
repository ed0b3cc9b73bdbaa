"""The one table of optional dependencies."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from vla3d.errors import MissingExtraError


@dataclass(frozen=True)
class Extra:
    """One optional dependency: its import name, how to get it, and what it is for."""

    module: str
    install: str
    purpose: str


EXTRAS: dict[str, Extra] = {
    "rerun": Extra("rerun", "pip install 'vla3d[viz]'", "Rerun recordings of episodes"),
    "wandb": Extra("wandb", "pip install 'vla3d[wandb]'", "the Weights & Biases tracker"),
    "tensorboard": Extra("tensorboard", "pip install 'vla3d[tensorboard]'", "the TensorBoard tracker"),
    "matplotlib": Extra("matplotlib", "pip install 'vla3d[bench]'", "the plots of vla3d bench"),
    "fpsample": Extra("fpsample", "pip install 'vla3d[peers]'", "a benchmark peer"),
    "torch_quickfps": Extra("torch_quickfps", "pip install 'vla3d[peers]'", "a benchmark peer"),
    "open3d": Extra("open3d", "pip install 'vla3d[open3d]'", "point-cloud files and benchmark peers"),
    "ray": Extra("ray", "pip install 'vla3d[ray]'", "collecting and evaluating on several machines"),
    "lmdb": Extra("lmdb", "pip install 'vla3d[gembench]'", "reading GemBench's demonstrations"),
    "msgpack": Extra("msgpack", "pip install 'vla3d[gembench]'", "GemBench's demonstrations and its protocol"),
    "rlbench": Extra(
        "rlbench",
        "unpacking CoppeliaSim 4.1 (coppeliarobotics.com), setting COPPELIASIM_ROOT to its folder, and building PyRep "
        "(github.com/stepjam/PyRep, commit 231a1ac) and RLBench (github.com/buttomnutstoast/RLBench, commit 587a6a0) from "
        "source; see docs/benchmarks_of_the_field.md",
        "the RLBench adapter",
    ),
    "colosseum": Extra(
        "colosseum",
        "building it from source (github.com/robot-colosseum/robot-colosseum, commit 098a910) beside RLBench "
        "(github.com/stepjam/RLBench, commit 7c3f425); see docs/benchmarks_of_the_field.md",
        "the adapter of The COLOSSEUM",
    ),
    "pytorch3d": Extra("pytorch3d", "build it from source: not on any package registry", "a benchmark peer"),
}


def available(name: str) -> bool:
    """Whether the optional dependency ``name`` (a key of ``EXTRAS``) can be imported."""
    return importlib.util.find_spec(EXTRAS[name].module) is not None


def require(name: str) -> ModuleType:
    """Import an optional dependency, or say exactly how to install it.

    Raises:
        MissingExtraError: when it is not installed, or lacks something itself.
    """
    extra = EXTRAS[name]
    try:
        return importlib.import_module(extra.module)
    except ImportError as error:
        if not available(name):
            raise MissingExtraError(
                f"{extra.module} is not installed; it is needed for {extra.purpose}. Install it with: {extra.install}"
            ) from error
        raise MissingExtraError(
            f"{extra.module} is installed but cannot be loaded ({error}); it is needed for {extra.purpose}. "
            "Install what it lacks; a .so file is in a package of your system."
        ) from error


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed, in the order asked for."""
    found = {}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def usable(name: str) -> bool:
    """Whether the optional dependency ``name`` is installed and can be loaded; loads it."""
    try:
        require(name)
    except MissingExtraError:
        return False
    return True
