"""One training run from a dataset and a policy configuration to a checkpoint."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vla3d.data.demos import DemosConfig, iterate_samples, sentences_of, split_demos
from vla3d.data.samples import PreparedSamples
from vla3d.data.sources import DemoSource, open_demos
from vla3d.data.store import EpisodeRef
from vla3d.errors import ConfigError
from vla3d.policies.learned import LearnedPolicy
from vla3d.policies.registry import policy_class
from vla3d.training.config import TrainerConfig
from vla3d.training.processes import is_main_process
from vla3d.training.trainer import Trainer, TrainResult, check_folder


@dataclass(frozen=True, kw_only=True)
class TrainRunConfig:
    """What ``vla3d train`` trains.

    Attributes:
        data: the dataset, in any format that ``open_demos`` knows.
        out: the run's folder.
        policy: the policy's name and its configuration.
        policy_config: the rest, as plain values; the policy validates them.
        demos: what of the dataset is used.
        trainer: how it is trained.
        resume: go on from the last checkpoint in ``out``.
    """

    data: Path
    out: Path
    policy: str
    policy_config: Mapping[str, Any]
    demos: DemosConfig = field(default_factory=DemosConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    resume: bool = False


def train_policy(config: TrainRunConfig) -> TrainResult:
    """Train, or go on training.

    Raises:
        ConfigError: unknown names or values that do not fit.
        DataError: the dataset lacks what was asked for.
        TrainingError: training cannot go on.
        CheckpointError: there is nothing to resume, or it does not fit.
    """
    cls = policy_class(config.policy)
    if not issubclass(cls, LearnedPolicy):
        raise ConfigError(
            f"policy: {config.policy!r} has no weights to train; roll it out with vla3d rollout policy={config.policy}."
        )
    check_folder(config.out, config.resume)  # the trainer would refuse it too, but only after the demos were loaded
    dataset = open_demos(config.data, on_corrupt=config.demos.on_corrupt, keyframe_rule=config.demos.keyframe_rule)
    split = split_demos(dataset, config.demos)
    sentences = sentences_of(dataset, split.train, answers=config.demos.answers)
    policy = cls.from_config(config.policy_config, sentences=sentences, seed=config.trainer.seed)
    if config.demos.answers and not policy.terminal_answers:
        raise ConfigError(
            f"demos.answers: got true, but the policy {config.policy} as configured answers with motions alone; set "
            "policy.answers=true, or demos.answers=false."
        )
    train_data = _load(dataset, split.train, config.demos, policy, "loading demos")
    decision_points = replace(config.demos, stride=0)
    held_out = _load(dataset, split.validation, decision_points, policy, "loading held-out demos") if split.validation else None
    trainer = Trainer(
        config.trainer,
        policy,
        train_data,
        held_out,
        out=config.out,
        resume=config.resume,
        tasks=train_data.tasks,
        settings={
            "data": str(config.data),
            "request": dict(dataset.request),
            "demos": asdict(config.demos),
            "train_episodes": [str(ref) for ref in split.train],
            "validation_episodes": [str(ref) for ref in split.validation],
            "num_samples": len(train_data),
        },
    )
    return trainer.train()


def _load(
    dataset: DemoSource, refs: Sequence[EpisodeRef], demos: DemosConfig, policy: LearnedPolicy, title: str
) -> PreparedSamples[Any]:
    shown = title if is_main_process() else None
    # Closed here, so that after an error the progress bar does not write behind the sentence that names it.
    with closing(iterate_samples(dataset, refs, demos, policy.required_cameras, progress=shown)) as samples:
        return PreparedSamples(samples, policy.prepare)
