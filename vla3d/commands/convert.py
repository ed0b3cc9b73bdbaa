"""`vla3d convert`: turn demonstrations of other programs into vla3d's own store. Each part names a format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.commands.building import build
from vla3d.conversion.config import ConvertConfig
from vla3d.errors import ConfigError


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values; without a format the folder tells it."""
    for key, what in (("path", "the demonstrations"), ("out", "a folder for the dataset")):
        if values[key] is None:
            raise ConfigError(f"Got no {key}, expected {what}: vla3d convert FOLDER DATASET.")
    convert(build(ConvertConfig, {**values, "path": str(values["path"]), "out": str(values["out"])}))


def rlbench(values: Mapping[str, Any]) -> None:
    """`vla3d convert rlbench`."""
    _of_format("rlbench", values)


def gembench(values: Mapping[str, Any]) -> None:
    """`vla3d convert gembench`."""
    _of_format("gembench", values)


def bridgevla_real(values: Mapping[str, Any]) -> None:
    """`vla3d convert bridgevla-real`."""
    _of_format("bridgevla-real", values)


def _of_format(format: str, values: Mapping[str, Any]) -> None:
    main({**values, "format": format})


def convert(config: ConvertConfig) -> Path:
    """Convert what the dataset still lacks, print the closing table, and return the dataset's folder.

    Raises:
        Vla3dError: anything the user can mend.
        KeyboardInterrupt: Ctrl-C, after the state has been kept; the command line exits with 130.
    """
    from vla3d.conversion.convert import closing_table, convert_demos

    print(f"Converting {config.path} into {config.out}.", flush=True)
    try:
        report = convert_demos(config)
    except KeyboardInterrupt:
        print(f"\nStopped. What is stored in {config.out} stays; run the same command again to continue.")
        raise
    print("\n" + closing_table(report))
    return config.out
