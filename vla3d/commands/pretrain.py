"""`vla3d pretrain`: train an encoder on an objective before a task is trained."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from vla3d.commands.building import build, dated_folder, recorded
from vla3d.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from vla3d.pretraining.run import PretrainConfig

OBJECTIVES = ("scene_graph",)


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    config = pretrain_config(values)
    from vla3d.pretraining.run import pretrain
    from vla3d.training.processes import is_main_process

    main_process = is_main_process()
    with recorded(config.out, {**values, "out": str(config.out)}) if main_process else nullcontext():
        if main_process:
            print(f"Pre-training on {config.scenes.train} generated {config.scenes.kind} scenes into {config.out}.")
        result = pretrain(config)
    if main_process:
        for name, value in sorted(result.metrics.items()):
            print(f"  {name:<32} {value:.4g}")
        print(f"Step {result.step}, best at step {result.best_step}: {result.policy}")


def pretrain_config(values: Mapping[str, Any]) -> "PretrainConfig":
    """Validate composed values.

    Raises:
        ConfigError: for anything that does not fit.
    """
    from vla3d.pretraining.config import LossWeights, SceneGraphObjectiveConfig, SceneTextsConfig
    from vla3d.pretraining.run import PretrainConfig
    from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
    from vla3d.training.config import TrainerConfig

    if values["resume"] is True and values["out"] is None:
        raise ConfigError("resume=true needs the run to go on with; give out=RUN.")
    objective = _section(values, "objective")
    name = objective.pop("name", None)
    if name not in OBJECTIVES:
        raise unknown_name("objective", str(name), OBJECTIVES)
    for key, cls in (("encoder", SceneEncoderConfig), ("weights", LossWeights)):
        objective[key] = build(cls, _section(objective, key), f"objective.{key}")
    return build(
        PretrainConfig,
        {
            "out": values["out"] or str(dated_folder("pretrain")),
            "objective": build(SceneGraphObjectiveConfig, objective, "objective"),
            "scenes": build(SceneTextsConfig, _section(values, "scenes"), "scenes"),
            "trainer": build(TrainerConfig, _section(values, "trainer"), "trainer"),
            "resume": values["resume"],
        },
    )


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name)
    if not isinstance(section, dict):
        raise ConfigError(f"{name}: got {section!r}, expected a section; see vla3d pretrain --help.")
    return dict(section)
