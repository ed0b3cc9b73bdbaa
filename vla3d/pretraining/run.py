"""One pre-training run from a configuration to a checkpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vla3d.pretraining.config import SceneGraphObjectiveConfig, SceneTextsConfig
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.pretraining.samples import Gallery, SceneSample, scene_labels, scene_samples
from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import Trainer, TrainResult, check_folder


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """What ``vla3d pretrain`` trains.

    Attributes:
        out: the run's folder.
        objective: the model and its losses.
        scenes: what it learns from.
        trainer: how it is trained.
        resume: go on from the last checkpoint in ``out``.
    """

    out: Path
    objective: SceneGraphObjectiveConfig = field(default_factory=SceneGraphObjectiveConfig)
    scenes: SceneTextsConfig = field(default_factory=SceneTextsConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    resume: bool = False


def pretrain(config: PretrainConfig) -> TrainResult:
    """Pre-train, or go on.

    The best checkpoint is the one whose texts find their scene most often among validation scenes, which share no seed with
    those learned from. Held-out compositions are measured and choose nothing.

    Raises:
        ConfigError: values that do not fit, or a folder with a run in it.
        TrainingError: training cannot go on.
        CheckpointError: there is nothing to resume, or it does not fit.
    """
    check_folder(config.out, config.resume)
    scenes, encoder, seed = config.scenes, config.objective.encoder, config.trainer.seed
    labels = config.objective.labels or scene_labels(scenes.kind)
    train = scene_samples("train", scenes.train, seed=seed, texts=scenes, encoder=encoder, labels=labels)
    model = SceneGraphPretraining.from_scenes(config.objective, train, labels, seed=seed)
    trainer = Trainer(
        config.trainer,
        model,
        train,
        galleries(config, labels),
        out=config.out,
        resume=config.resume,
        settings={"objective": config.objective.to_dict(), "scenes": asdict(scenes), "num_samples": len(train)},
    )
    return trainer.train()


def galleries(config: PretrainConfig, labels: Sequence[str]) -> list[Gallery]:
    """What is measured during training."""
    scenes, encoder, seed = config.scenes, config.objective.encoder, config.trainer.seed

    def some(split: str) -> tuple[SceneSample, ...]:
        return tuple(
            scene_samples(split, scenes.gallery, seed=seed, texts=scenes, encoder=encoder, labels=labels)  # type: ignore[arg-type]
        )

    return [Gallery(scenes=some("validation"), compositions=some("test_attributes"))]
