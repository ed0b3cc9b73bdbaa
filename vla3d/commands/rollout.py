"""`vla3d rollout`: run a policy in the simulator and say how often it succeeds."""

from pathlib import Path

from vla3d.evaluation.config import RolloutConfig


def rollout(config: RolloutConfig) -> Path:
    """Evaluate, print the success table, and leave ``rollout.json`` and ``report.html`` behind.

    Returns:
        The folder of the results.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.evaluation.rollout import evaluate
    from vla3d.evaluation.summary import success_table

    evaluation = evaluate(config)
    control = "" if config.control == "none" else f", control {config.control}"
    print(f"\n{evaluation.summary['policy']}{control}\n{success_table(evaluation.summary)}")
    if evaluation.other_course:
        print(
            f"Filmed again, {len(evaluation.other_course)} episodes took another course than the one counted "
            f"({', '.join(evaluation.other_course)}): the policy or the simulator is not deterministic on this machine."
        )
    print(f"\n{config.out / 'rollout.json'}")
    if evaluation.report is not None:
        print(evaluation.report)
    return config.out
