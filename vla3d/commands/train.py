"""`vla3d train`: from demonstrations to a policy; without demonstrations it first lets the experts make some."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla3d.commands.building import RUNS, build, dated_folder, recorded
from vla3d.errors import ConfigError

if TYPE_CHECKING:
    from vla3d.data.demos import DemosConfig
    from vla3d.training.run import TrainRunConfig
    from vla3d.training.trainer import TrainResult

DEFAULT_DEMOS = RUNS / "demos"
_SECTIONS = ("demos", "trainer", "policy")


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    config = run_config(values)
    from vla3d.training.processes import is_main_process

    resolved = {**values, "data": str(config.data), "out": str(config.out)}
    with recorded(config.out, resolved) if is_main_process() else nullcontext():
        if values["data"] is None:
            collect_default_demos(config.data, config.demos)
        train(config)


def run_config(values: Mapping[str, Any]) -> "TrainRunConfig":
    """Validate composed values.

    Raises:
        ConfigError: for anything that does not fit.
    """
    from vla3d.policies.learned import LearnedPolicy
    from vla3d.policies.registry import policy_class
    from vla3d.training.config import TrainerConfig

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and None in (values["data"], values["out"]):
        raise ConfigError("Several processes train together and must mean the same folders; give data=DIR and out=RUN.")
    if values["resume"] is True and values["out"] is None:
        raise ConfigError("resume=true needs the run to go on with; give out=RUN.")
    sections = {name: _section(values, name) for name in _SECTIONS}
    policy = sections["policy"]
    if not isinstance(policy.get("name"), str):
        raise ConfigError(f"policy.name: got {policy.get('name')!r}, expected the name of a policy, for example bridgevla.")
    trainer = build(TrainerConfig, sections["trainer"], "trainer")
    config = {key: value for key, value in policy.items() if key != "name"}
    cls = policy_class(policy["name"])
    if issubclass(cls, LearnedPolicy):
        cls.check_config(config)  # what cannot be trained is refused before anything is collected

    from vla3d.data.demos import DemosConfig
    from vla3d.training.run import TrainRunConfig

    return build(
        TrainRunConfig,
        {
            **{key: value for key, value in values.items() if key not in (*_SECTIONS, "steps", "seed")},
            "data": values["data"] or str(DEFAULT_DEMOS),
            "out": values["out"] or str(dated_folder("train")),
            "policy": policy["name"],
            "policy_config": config,
            "demos": build(DemosConfig, sections["demos"], "demos"),
            "trainer": trainer,
        },
    )


def collect_default_demos(out: Path, demos: "DemosConfig") -> None:
    """Collect what training without ``data`` needs: the tasks and number of episodes that ``demos`` asks for.

    Args:
        out: the dataset; what it already holds is not collected again.
        demos: which demonstrations will be trained on; its gaps are filled with the defaults of `vla3d collect`.
    """
    from vla3d.commands.collect import collect
    from vla3d.commands.composition import compose
    from vla3d.evaluation.collect_config import CollectConfig

    values = compose("collect", "collect", [])
    assert values is not None
    asked = {"tasks": list(demos.tasks) or values["tasks"], "episodes": demos.episodes or values["episodes"], "out": str(out)}
    config = build(CollectConfig, {**values, **asked})
    print(f"No data given: collecting {config.episodes} demonstrations of {', '.join(config.tasks)} into {out} first.")
    collect(config)


def train(config: "TrainRunConfig") -> "TrainResult":
    """Train and say where the result is.

    Raises:
        Vla3dError: anything the user can mend.
        KeyboardInterrupt: Ctrl-C, after the state has been saved.
    """
    from vla3d.training.processes import is_main_process
    from vla3d.training.run import train_policy

    if is_main_process():
        print(f"Training {config.policy} on {config.data} into {config.out}.")
    result = train_policy(config)
    if is_main_process():
        _print_result(config, result)
    return result


def _print_result(config: "TrainRunConfig", result: "TrainResult") -> None:
    for name, value in sorted(result.metrics.items()):
        print(f"  {name:<32} {value:.4g}")
    print(f"Step {result.step}, best at step {result.best_step}: {result.policy}")
    print(f"Run it with: vla3d rollout checkpoint={config.out}")


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name)
    if not isinstance(section, dict):
        raise ConfigError(f"{name}: got {section!r}, expected a section; see vla3d train --help.")
    return section
