"""`vla3d rollout`: run a policy in the simulator and say how often it succeeds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla3d.commands.building import build, dated_folder, recorded
from vla3d.errors import ConfigError
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.suite_config import Suite


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    asked = values["suite"]
    suite = None if asked["name"] is None else Suite.from_values(asked)
    shared = {key: value for key, value in values.items() if key != "suite"}
    folder = values["out"] or dated_folder("rollout")
    config = build(RolloutConfig, {**shared, "policy": values["policy"]["name"], "out": folder})
    with recorded(config.out, {**values, "out": str(config.out)}):
        if suite is None:
            rollout(config)
        else:
            rollout_suite(config, suite)


def rollout_suite(config: RolloutConfig, suite: Suite) -> Path:
    """Run every row of a suite, print the table, and leave ``suite.json`` and ``report.html`` behind.

    Returns:
        The folder of the results.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.evaluation.suite import run_suite

    if config.factors or config.control != "none":
        raise ConfigError("Got a suite and factors or a control; its rows have their own. Leave one of the two away.")
    if config.graph != "none":
        raise ConfigError(f"Got a suite and graph={config.graph}, which its report would not say; run its rows one by one.")
    result = run_suite(_with_policy_directory(config), suite)
    print(f"\n{result.summary['policy']} on {suite.name}\n{result.table}\n\n{result.report}")
    return result.folder


def rollout(config: RolloutConfig) -> Path:
    """Evaluate, print the success table, and leave ``rollout.json`` and ``report.html`` behind.

    Args:
        config: its ``checkpoint`` may be a training run: the best checkpoint is taken, else the last.

    Returns:
        The folder of the results.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.evaluation.rollout import evaluate
    from vla3d.evaluation.summary import success_table, verified_name

    evaluation = evaluate(_with_policy_directory(config))
    control = "" if config.control == "none" else f", control {config.control}"
    control += "" if config.graph == "none" else f", graph {config.graph}"
    print(f"\n{verified_name(evaluation.summary)}{control}\n{success_table(evaluation.summary)}")
    if evaluation.other_course:
        print(
            f"When filmed, these took another course than the one counted ({', '.join(evaluation.other_course)}): "
            "the policy or the simulator is not deterministic on this machine."
        )
    print(f"\n{config.out / 'rollout.json'}")
    if evaluation.report is not None:
        print(evaluation.report)
    return config.out


def _with_policy_directory(config: RolloutConfig) -> RolloutConfig:
    """The configuration with the policy of a training run in place of the run."""
    if config.checkpoint is None:
        return config
    from vla3d.training.checkpoint import policy_directory

    return replace(config, checkpoint=policy_directory(config.checkpoint))
