"""`vla3d view cameras`: whether calibrated cameras agree, which one does not, and what workspace they see."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.commands.building import build, dated_folder
from vla3d.errors import ConfigError
from vla3d.inspection.config import CamerasConfig


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    if values["path"] is None:
        raise ConfigError("Got no path, expected a folder with cameras.json, a dataset or an episode: vla3d view cameras PATH.")
    view_cameras(build(CamerasConfig, {**values, "path": str(values["path"]), "out": values["out"] or dated_folder("view")}))


def view_cameras(config: CamerasConfig) -> Path:
    """Compare the cameras, print the verdict, and return the folder of the pictures.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.inspection.cameras import inspect_cameras

    for line in inspect_cameras(config):
        print(line, flush=True)
    return config.out
