"""`vla3d rollout`: run a policy in the simulator and say how often it succeeds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla3d.commands.building import build, dated_folder, recorded
from vla3d.evaluation.config import RolloutConfig


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    policy = values["policy"]["name"]
    config = build(RolloutConfig, {**values, "policy": policy, "out": values["out"] or dated_folder("rollout")})
    with recorded(config.out, {**values, "out": str(config.out)}):
        rollout(config)


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
    from vla3d.evaluation.summary import success_table

    if config.checkpoint is not None:
        from vla3d.training.checkpoint import policy_directory

        config = replace(config, checkpoint=policy_directory(config.checkpoint))
    evaluation = evaluate(config)
    control = "" if config.control == "none" else f", control {config.control}"
    print(f"\n{evaluation.summary['policy']}{control}\n{success_table(evaluation.summary)}")
    if evaluation.other_course:
        print(
            f"When filmed, these took another course than the one counted ({', '.join(evaluation.other_course)}): "
            "the policy or the simulator is not deterministic on this machine."
        )
    print(f"\n{config.out / 'rollout.json'}")
    if evaluation.report is not None:
        print(evaluation.report)
    return config.out
