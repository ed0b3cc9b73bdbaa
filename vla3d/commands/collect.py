"""`vla3d collect`: let the scripted experts show how it is done, and keep what succeeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.commands.building import build, dated_folder
from vla3d.evaluation.collect_config import CollectConfig


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values. The dataset keeps the request itself, so no configuration is written beside it."""
    config = build(CollectConfig, {**values, "out": values["out"] or dated_folder("collect")})
    print(f"Collecting into {config.out}.")
    collect(config)


def collect(config: CollectConfig) -> Path:
    """Collect what the request still lacks, print the closing table, and return the dataset's folder.

    Raises:
        Vla3dError: anything the user can mend.
        KeyboardInterrupt: Ctrl-C, after the state has been kept; the command line exits with 130.
    """
    from vla3d.evaluation.collect import closing_table
    from vla3d.evaluation.collect import collect as run

    try:
        report = run(config)
    except KeyboardInterrupt:
        print(f"\nStopped. What is stored in {config.out} stays; run the same command again to continue.")
        raise
    print("\n" + closing_table(report))
    return config.out
