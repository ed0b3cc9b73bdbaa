"""`vla3d evaluate`: compare a policy's keyframes with those of demonstrations, without a simulator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla3d.commands.building import build, dated_folder, recorded
from vla3d.errors import ConfigError, DataError, unknown_name
from vla3d.evaluation.offline_config import EvaluateConfig

if TYPE_CHECKING:
    from vla3d.data.sources import DemoSource
    from vla3d.data.store import EpisodeRef
    from vla3d.training.record import RunRecord


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    if values["checkpoint"] is None:
        raise ConfigError("Got no checkpoint; give checkpoint=RUN. Policies without weights are measured by vla3d rollout.")
    split = values["demos"]["split"] if isinstance(values["demos"], Mapping) else values["demos"]
    config = build(EvaluateConfig, {**values, "demos": split, "out": values["out"] or dated_folder("evaluate")})
    with recorded(config.out, {**values, "out": str(config.out)}):
        evaluate(config)


def evaluate(config: EvaluateConfig) -> Path:
    """Evaluate offline, print the table, and leave ``evaluate.json`` and ``report.html`` behind.

    Returns:
        The folder of the results.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.data.sources import open_demos
    from vla3d.evaluation.offline import offline_evaluation
    from vla3d.evaluation.offline_results import REPORT_FILE, RESULTS_FILE, check_free, write_results
    from vla3d.evaluation.offline_summary import offline_table
    from vla3d.evaluation.policies import checkpoint_digest, resolve_device
    from vla3d.policies.learned import load_policy
    from vla3d.training.checkpoint import policy_directory
    from vla3d.training.record import recorded_run

    folder = policy_directory(config.checkpoint)
    run = recorded_run(config.checkpoint)
    keyframe_rule = "recorded" if run is None else run.keyframe_rule
    dataset = open_demos(_data_of(config, run), on_corrupt=config.on_corrupt, keyframe_rule=keyframe_rule)
    demos = choose_demos(dataset, config, run)
    device = resolve_device(config.device)
    _check_device(device)
    policy = load_policy(folder, map_location=device)
    sampling: dict[str, Any] = {
        "control": config.control,
        "stride": config.stride,
        "alternatives": config.alternatives,
        "keyframe_rule": keyframe_rule,
    }
    settings = {
        "policy": policy.name,
        "checkpoint": str(folder),
        "checkpoint_sha256": checkpoint_digest(folder),
        "data": str(dataset.path),
        "request": dict(dataset.request),
        "split": config.demos,
        "demos": [str(ref) for ref in demos],
        **sampling,
        "seed": config.seed,
        "device": device,
    }
    check_free(config.out, settings)
    evaluation = offline_evaluation(policy, dataset, demos, **sampling, batch_size=config.batch_size)
    summary = write_results(config.out, evaluation, settings, report=config.report)
    control = "" if config.control == "none" else f", control {config.control}"
    print(f"\n{policy.name}{control}, {len(demos)} demonstrations ({config.demos})\n{offline_table(summary)}")
    print(f"\n{config.out / RESULTS_FILE}")
    if config.report:
        print(config.out / REPORT_FILE)
    return config.out


def choose_demos(dataset: "DemoSource", config: EvaluateConfig, run: "RunRecord | None") -> "list[EpisodeRef]":
    """The demonstrations to evaluate on.

    Args:
        dataset: where they lie.
        config: the split, tasks and limit.
        run: what the checkpoint's run tells; None for an exported policy.

    Raises:
        ConfigError: the run does not tell its split, a task is unknown, or no task is left.
        DataError: the dataset is empty, another one than the run's, or lacks demonstrations of the split.
    """
    present = dataset.tasks()
    if not present:
        raise DataError(f"{dataset.path} holds no demonstrations; collect some with vla3d collect out={dataset.path}.")
    for task in config.tasks:
        if task not in present:
            raise unknown_name(f"task in {dataset.path}", task, present)
    if config.demos == "all":
        tasks = config.tasks or _common_tasks(dataset, run)
        refs = dataset.episodes(tasks)
    else:
        refs = _of_run(dataset, config, run)
    counted: dict[str, int] = {}
    chosen = []
    for ref in refs:
        counted[ref.task] = counted.get(ref.task, 0) + 1
        if config.limit is None or counted[ref.task] <= config.limit:
            chosen.append(ref)
    if not chosen:
        raise DataError(f"{dataset.path} has no demonstrations to evaluate on; collect some with vla3d collect.")
    return chosen


def _data_of(config: EvaluateConfig, run: "RunRecord | None") -> Path:
    if config.data is not None:
        return config.data
    if run is None:
        raise ConfigError(f"{config.checkpoint} lies in no training run that would tell its dataset; give data=DIR.")
    return run.data


def _common_tasks(dataset: "DemoSource", run: "RunRecord | None") -> Sequence[str]:
    if run is None:
        return dataset.tasks()
    common = [task for task in run.tasks if task in dataset.tasks()]
    if not common:
        raise ConfigError(
            f"The checkpoint was trained on {', '.join(run.tasks)}, but {dataset.path} has {', '.join(dataset.tasks())}; give "
            "data of the same tasks, or name the tasks with tasks=[...] to evaluate on them all the same."
        )
    return common


def _of_run(dataset: "DemoSource", config: EvaluateConfig, run: "RunRecord | None") -> "list[EpisodeRef]":
    """The demonstrations that the run held out, or learned from."""
    if run is None:
        raise ConfigError(
            f"demos={config.demos}: {config.checkpoint} lies in no training run that would tell them; give demos=all."
        )
    run.check_dataset(dataset)
    wanted = run.validation if config.demos == "validation" else run.train
    if not wanted:
        raise ConfigError(
            f"The run {run.path.parent} held no demonstrations out (demos.validation_share=0); give demos=all with data that "
            "it has not seen."
        )
    untrained = [task for task in config.tasks if task not in run.tasks]
    if untrained:
        raise unknown_name(f"task of the run {run.path.parent}", untrained[0], run.tasks)
    wanted = tuple(ref for ref in wanted if not config.tasks or ref.task in config.tasks)
    stored = set(dataset.episodes([task for task in run.tasks if task in dataset.tasks()]))
    missing = [ref for ref in wanted if ref not in stored and ref not in dataset.skipped]
    if missing:
        raise DataError(
            f"{dataset.path} lacks {len(missing)} of the {len(wanted)} {config.demos} demonstrations of the run, first "
            f"{missing[0]}; give data={run.data}, or demos=all to take those there are."
        )
    return [ref for ref in wanted if ref in stored]


def _check_device(device: str) -> None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device: got {device}, but torch sees no GPU; give device=cpu.")
