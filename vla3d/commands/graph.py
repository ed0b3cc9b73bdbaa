"""`vla3d graph`: the scene graph of a simulated, recorded or photographed scene."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.commands.building import build, dated_folder
from vla3d.errors import ConfigError
from vla3d.inspection.config import GraphConfig


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    if values["input"] is None:
        raise ConfigError("Got no input, expected a task, a dataset, a folder with cameras.json or a graph: vla3d graph INPUT.")
    graph(build(GraphConfig, {**values, "input": str(values["input"]), "out": values["out"] or dated_folder("graph")}))


def graph(config: GraphConfig) -> Path:
    """Build the graph, print what is in it and what was written, and return the folder.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.inspection.graph import inspect_graph

    for line in inspect_graph(config):
        print(line, flush=True)
    return config.out
