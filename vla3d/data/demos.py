"""Demos as data to learn from and to be judged on: which episodes are held out, and the keyframe samples of each."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from tqdm import tqdm

from vla3d.data.keyframes import keyframes
from vla3d.data.samples import KeyframeSample, keyframe_samples, sample_instants
from vla3d.data.sources import DemoSource
from vla3d.data.store import EpisodeRef
from vla3d.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class DemosConfig:
    """What of a dataset is trained on.

    Attributes:
        tasks: names of the tasks; empty takes all.
        episodes: demos per task, the first ones; None takes all.
        validation_share: share of each task's demos held out to pick the best checkpoint; at least one demo when above 0.
        stride: recorded steps between the samples taken on the way to a keyframe; 0 takes decision points only.
        chain_duplicates: from every start frame take the whole chain of remaining keyframes again, as RVT's replay buffer does;
            see ``sample_instants``. For comparisons with it; it costs memory and weighs late keyframes more.
        alternatives: learn also the first keyframes towards a scene's other goals, where the demos hold them.
        answers: learn also when to answer that what a sentence asks for is not there; for policies that can say so.
        keyframe_rule: ``"recorded"`` (the keyframes that were executed), ``"vla3d"`` or ``"peract"`` (discovered).
        on_corrupt: ``"raise"``, or ``"skip"`` to go on without damaged episodes.
    """

    tasks: tuple[str, ...] = ()
    episodes: int | None = None
    validation_share: float = 0.1
    stride: int = 10
    chain_duplicates: bool = False
    alternatives: bool = True
    answers: bool = False
    keyframe_rule: str = "recorded"
    on_corrupt: str = "raise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if self.episodes is not None and self.episodes < 1:
            raise ConfigError(f"demos.episodes: got {self.episodes}, expected at least 1, or null for all.")
        if not 0 <= self.validation_share < 1:
            raise ConfigError(f"demos.validation_share: got {self.validation_share}, expected 0 to less than 1.")
        if self.stride < 0:
            raise ConfigError(f"demos.stride: got {self.stride}, expected 0 or more steps.")


@dataclass(frozen=True, kw_only=True)
class DemoSplit:
    """Episodes to train on and episodes held out."""

    train: tuple[EpisodeRef, ...]
    validation: tuple[EpisodeRef, ...]


def split_demos(dataset: DemoSource, config: DemosConfig) -> DemoSplit:
    """Hold out the last demos of each task; a task with a single demo keeps it for training.

    Raises:
        DataError: when a task has no demos, or fewer than asked for.
        ConfigError: for a task that the dataset does not have.
    """
    train: list[EpisodeRef] = []
    validation: list[EpisodeRef] = []
    for task in config.tasks or dataset.tasks():
        refs = dataset.episodes([task])
        if not refs or len(refs) < (config.episodes or 0):
            raise DataError(
                f"{dataset.path} has {len(refs)} demos of {task}, expected {config.episodes or 'at least one'}: "
                "collect more with vla3d collect."
            )
        refs = refs[: config.episodes]
        held_out = min(len(refs) - 1, max(1, round(config.validation_share * len(refs)))) if config.validation_share else 0
        train += refs[: len(refs) - held_out]
        validation += refs[len(refs) - held_out :]
    return DemoSplit(train=tuple(train), validation=tuple(validation))


def sentences_of(dataset: DemoSource, refs: Sequence[EpisodeRef], *, answers: bool = False) -> list[str]:
    """Every sentence that asks for one of the episodes or their alternatives, sorted: what a tokenizer is trained on.

    Args:
        dataset: where they lie.
        refs: which episodes.
        answers: whether alternatives count to which the right response is no motion but a terminal answer.
    """
    infos = [dataset.info(ref) for ref in refs]
    alternatives = (other for info in infos for other in info.alternatives if answers or other.action.answer == "move")
    others = (sentence for other in alternatives for sentence in other.sentences)
    return sorted({*others, *(sentence for info in infos for sentence in (info.instruction, *info.paraphrases))})


def iterate_samples(
    dataset: DemoSource, refs: Sequence[EpisodeRef], config: DemosConfig, cameras: Sequence[str], *, progress: str | None
) -> Generator[KeyframeSample, None, None]:
    """Samples of some episodes, one episode in memory at a time.

    Args:
        dataset: where they lie.
        refs: which episodes.
        config: which samples of an episode.
        cameras: read these only.
        progress: what the progress bar calls this; None shows no bar.

    Raises:
        CorruptEpisodeError: naming the episode.
        ConfigError: an episode lacks one of the cameras.
    """
    for ref in tqdm(refs, desc=progress, unit="demo", dynamic_ncols=True, disable=progress is None):
        yield from episode_samples(dataset, ref, config, cameras)


def episode_samples(
    dataset: DemoSource, ref: EpisodeRef, config: DemosConfig, cameras: Sequence[str]
) -> Iterator[KeyframeSample]:
    """Samples of one episode; see ``iterate_samples``."""
    outline = dataset.read(ref, cameras=())
    recorded = config.keyframe_rule == "recorded"
    indices = list(outline.keyframe_indices) if recorded else keyframes(outline, config.keyframe_rule)
    if not indices:
        raise DataError(f"Episode {ref} of {dataset.path} has no keyframe under the rule {config.keyframe_rule!r}.")
    seen = sorted({instant for instant, _ in sample_instants(indices, config.stride, config.chain_duplicates)})
    steps = list(outline.steps)
    for index, step in zip(seen, dataset.read_steps(ref, seen, cameras=cameras), strict=True):
        steps[index] = step
    whole = replace(outline, steps=steps)
    return keyframe_samples(
        whole,
        indices,
        config.stride,
        config.alternatives,
        answers=config.answers,
        chain_duplicates=config.chain_duplicates,
        source=f"Episode {ref}",
    )
