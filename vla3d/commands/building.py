"""From composed values to frozen dataclasses, and what every command does with its output folder."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from vla3d.errors import ConfigError, Vla3dError, unknown_name

T = TypeVar("T")
CONFIG_FILE = "config.yaml"
RUNS = Path("runs")


def build(cls: type[T], values: Mapping[str, Any], section: str = "") -> T:
    """Make a dataclass of plain values.

    Args:
        cls: a dataclass; its fields' types are checked as far as a command line can get them wrong, and fields that are
            dataclasses themselves are built of their own values.
        values: its arguments; a single text where a list is expected counts as a list of one.
        section: where the values stand in the configuration, for messages.

    Raises:
        ConfigError: an unknown key, a missing one, or a value of another type.
    """
    prefix = f"{section}." if section else ""
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise unknown_name("key", f"{prefix}{key}", [f"{prefix}{name}" for name in hints])
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{prefix}{field.name} has no value; give {prefix}{field.name}=...")
    return cls(**{key: _fit(value, hints[key], f"{prefix}{key}") for key, value in values.items()})


def _fit(value: Any, hint: Any, name: str) -> Any:
    """A value as its field's type wants it; compound types are left to the dataclass itself."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    nested = [option for option in options if isinstance(option, type) and is_dataclass(option)]
    if nested and isinstance(value, Mapping):
        return build(nested[0], value, name)
    if isinstance(value, str) and any(get_origin(option) in (tuple, Sequence) for option in options):
        return (value,)
    if Path in options and isinstance(value, str):
        return Path(value)
    simple = tuple(option for option in options if option in (bool, int, float, str, types.NoneType, Path))
    if len(simple) < len(options) or _is_of(value, simple):
        return value
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        types.NoneType: "null",
        Path: "a path",
    }
    raise ConfigError(f"{name}: got {value!r}, expected {' or '.join(words[option] for option in simple)}.")


def _is_of(value: Any, options: tuple[type, ...]) -> bool:
    if isinstance(value, bool):  # Python counts it among the integers
        return bool in options
    return isinstance(value, options) or (isinstance(value, int) and float in options)


def dated_folder(command: str) -> Path:
    """A new folder name under ``runs/`` for this second."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = RUNS / command / stamp, 1
    while folder.exists():
        number += 1
        folder = RUNS / command / f"{stamp}_{number}"
    return folder


@contextmanager
def recorded(out: Path, values: Mapping[str, Any]) -> Iterator[None]:
    """Leave the resolved configuration in ``out`` as ``config.yaml``, unless the command turns out to be refused.

    A refused command leaves a folder as it was: an older configuration comes back, and nothing is created.

    Args:
        out: the folder of the results.
        values: the composed configuration.
    """
    from omegaconf import OmegaConf

    from vla3d.evaluation.results import write_atomic

    if out.exists() and not out.is_dir():
        raise ConfigError(f"out: {out} is a file, expected a folder; choose another.")
    path = out / CONFIG_FILE
    before = path.read_bytes() if path.exists() else None
    created = [folder for folder in (out, *out.parents) if not folder.exists()]
    write_atomic(path, OmegaConf.to_yaml(OmegaConf.create(dict(values))).encode())
    try:
        yield
    except Vla3dError:
        if before is not None:
            write_atomic(path, before)
        elif all(child == path for child in out.iterdir()):
            path.unlink()
            for folder in created:
                if not any(folder.iterdir()):
                    folder.rmdir()
        raise
