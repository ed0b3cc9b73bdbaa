"""The COLOSSEUM: RLBench's scenes with one thing changed, by that program's own files."""

import importlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vla3d.envs.base import FactorDoesNotApplyError
from vla3d.envs.rlbench.control import keyframe_action_mode
from vla3d.envs.rlbench.library import load_library
from vla3d.envs.rlbench.names import COLOSSEUM, COLOSSEUM_FACTORS
from vla3d.envs.rlbench.scenes import Scene
from vla3d.errors import ConfigError, unknown_name
from vla3d.optional import require

_RESET_ATTEMPTS = 10
_HARD_TO_PLACE: dict[str, tuple[int, ...] | None] = {
    "close_laptop_lid": None,
    "wipe_desk": None,
    "insert_onto_square_peg": (1, 6),
}
"""Tasks whose scenes often cannot be laid out, and in which variations (None: all): BridgeVLA repeats them until they can."""


@dataclass(frozen=True, kw_only=True)
class ColosseumScene(Scene):
    """A task of The COLOSSEUM in one variation, rendered with shadows as its demonstrations were.

    Attributes:
        variation: number in The COLOSSEUM's files; 0 changes nothing.
    """

    variation: int = 0

    @property
    def name(self) -> str:
        """See ``Scene``."""
        return f"colosseum_{self.task}"

    @property
    def demo_folder(self) -> str:
        """See ``Scene``."""
        return f"{self.task}_{self.variation}"

    @property
    def key(self) -> Hashable:
        """A simulator is launched with the variation of one task."""
        return self

    @property
    def reset_attempts(self) -> int:
        """See ``Scene``."""
        variations = _HARD_TO_PLACE.get(self.task, ())
        return _RESET_ATTEMPTS if variations is None or self.variation in variations else 1

    def launch(self) -> Any:
        """See ``Scene``."""
        library = load_library()
        extensions = importlib.import_module("colosseum.rlbench.extensions.environment")
        return extensions.EnvironmentExt(
            keyframe_action_mode(library),
            obs_config=self.observation_config(library, "OPENGL3"),
            headless=True,
            path_task_ttms=require("colosseum").TASKS_TTM_FOLDER,
            env_config=self._environment_config(),
        )

    def task_class(self) -> Any:
        """See ``Scene``."""
        utils = importlib.import_module("colosseum.rlbench.utils")
        return utils.name_to_class(self.task, require("colosseum").TASKS_PY_FOLDER)

    def _environment_config(self) -> Any:
        """The task's own configuration with this variation's factors switched; the program wants it as OmegaConf's type."""
        config = OmegaConf.load(Path(require("colosseum").ASSETS_CONFIGS_FOLDER) / f"{self.task}.yaml")
        for change in variation_entry(self.task, self.variation)["variations"]:
            for factor in config.env.scene.factors:
                if factor.variation == change["type"] and change["name"] in ("any", factor.get("name")):
                    factor.enabled = change["enabled"]
        return config.env


def variation_of(factors: Sequence[str]) -> int:
    """The variation that factors stand for.

    Raises:
        ConfigError: an unknown factor, or several: the benchmark defines no mixtures but its own.
    """
    for factor in factors:
        if factor not in COLOSSEUM_FACTORS:
            raise unknown_name("factor of The COLOSSEUM", factor, COLOSSEUM_FACTORS)
    if len(factors) > 1:
        raise ConfigError(f"factors: got {', '.join(factors)}, expected one at a time; 'all' is The COLOSSEUM's own mixture.")
    return COLOSSEUM_FACTORS[factors[0]] if factors else 0


def variation_entry(task: str, variation: int) -> dict[str, Any]:
    """What The COLOSSEUM's files say of a task's variation.

    Raises:
        ConfigError: the installed program does not have it.
    """
    path = Path(require("colosseum").ASSETS_JSON_FOLDER) / f"{task}.json"
    try:
        strategy = json.loads(path.read_text())["strategy"]
        found = [entry for entry in strategy if entry["spreadsheet_idx"] == variation]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); check the installation of colosseum.") from error
    if len(found) != 1:
        raise ConfigError(f"{path} has {len(found)} entries for the variation {variation}, expected one.")
    entry: dict[str, Any] = found[0]
    return entry


def colosseum_scene(task: str, factors: Sequence[str], image_size: int, cameras: tuple[str, ...]) -> ColosseumScene:
    """The scene of a task under factors.

    Raises:
        ConfigError: an unknown task or factor.
        FactorDoesNotApplyError: The COLOSSEUM does not have this variation of the task.
        MissingExtraError: it is not installed.
    """
    if task not in COLOSSEUM:
        raise unknown_name("task of The COLOSSEUM", task, COLOSSEUM)
    variation = variation_of(factors)
    require("rlbench")
    require("colosseum")
    if not variation_entry(task, variation)["enabled"]:
        raise FactorDoesNotApplyError(f"factors: The COLOSSEUM has no {', '.join(factors)} of {task}.")
    return ColosseumScene(task=task, image_size=image_size, cameras=cameras, variation=variation)
