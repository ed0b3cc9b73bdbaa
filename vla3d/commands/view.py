"""`vla3d view`: show what happened in episodes, and what a policy looked at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.commands.building import build, dated_folder
from vla3d.errors import ConfigError
from vla3d.inspection.config import ViewConfig


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    if values["path"] is None:
        raise ConfigError("Got no path, expected a dataset, a rollout or an episode of one: vla3d view PATH.")
    view(build(ViewConfig, {**values, "path": str(values["path"]), "out": values["out"] or dated_folder("view")}))


def view(config: ViewConfig) -> Path:
    """Show the episodes, print what was written, and return the folder.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.inspection.view import view as run

    for line in run(config):
        print(line, flush=True)
    return config.out
