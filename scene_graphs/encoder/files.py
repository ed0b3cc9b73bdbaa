"""The folder of a pre-trained encoder: what is in it, and whose it is."""

import json
from pathlib import Path
from typing import Any

from vla3d.errors import CheckpointError, ConfigError
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig

OBJECTIVE = "scene_graph"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def read_objective(directory: Path) -> dict[str, Any]:
    """The configuration of the objective that wrote a folder, as plain values.

    Raises:
        CheckpointError: it is missing, damaged, or another objective's.
    """
    try:
        stored = json.loads((directory / CONFIG_FILE).read_text())
        name, values = stored["objective"], stored["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"No pre-trained scene encoder in {directory}: {CONFIG_FILE} cannot be read ({error!r}); expected a folder "
            "that vla3d pretrain wrote."
        ) from error
    if name != OBJECTIVE:
        raise CheckpointError(f"{directory} was pre-trained by the objective {name!r}, expected {OBJECTIVE!r}.")
    return dict(values)


def read_encoder_config(directory: Path) -> SceneEncoderConfig:
    """The encoder's own part of it.

    Raises:
        CheckpointError: see `read_objective`; or it is of another version.
    """
    values = read_objective(directory)
    try:
        return SceneEncoderConfig.from_dict(values["encoder"])
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"{directory / CONFIG_FILE} does not fit this version of vla3d: {error}") from error
