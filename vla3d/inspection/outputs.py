"""The folder that pictures go to: what it holds of others is never overwritten."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.data.store import METADATA
from vla3d.errors import ConfigError
from vla3d.evaluation.results import write_atomic

INDEX = "view.json"
_MADE_BY = "vla3d view"


class ViewFolder:
    """A folder of pictures with an index of what this command wrote there.

    Args:
        path: the folder; it need not exist yet.
        settings: what was asked for, JSON-able, kept in the index.

    Raises:
        ConfigError: it is a file, lies inside a dataset, or its index is another program's.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = dict(settings)
        if path.exists() and not path.is_dir():
            raise ConfigError(f"out: {path} is a file, expected a folder; choose another.")
        inside = [folder for folder in (path, *path.resolve().parents) if (folder / METADATA).is_file()]
        if inside:
            raise ConfigError(
                f"out: {path} lies inside the dataset {inside[-1]}, where a folder counts as a task; choose another."
            )
        self._written = self._read_index()

    def claim(self, name: str) -> Path:
        """The path for a new file, which may replace one of an earlier view.

        Raises:
            ConfigError: somebody else's file is there.
        """
        target = self.path / name
        if target.exists() and name not in self._written:
            raise ConfigError(f"out: {target} exists and was not written by vla3d view; choose another out, or move it away.")
        if name not in self._written:
            self._written.append(name)
            index = {"made_by": _MADE_BY, "settings": self._settings, "files": sorted(self._written)}
            write_atomic(self.path / INDEX, (json.dumps(index, indent=1) + "\n").encode())
        return target

    def _read_index(self) -> list[str]:
        path = self.path / INDEX
        if not path.exists():
            return []
        try:
            index = json.loads(path.read_text())
            if index["made_by"] == _MADE_BY:
                return list(map(str, index["files"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ConfigError(f"out: {path} was not written by vla3d view, or is damaged; choose another out, or delete it.")
