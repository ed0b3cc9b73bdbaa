"""What a path on the command line stands for: a dataset, a rollout, or one episode of either."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vla3d.calibration.files import CAMERAS_FILE
from vla3d.data.sources import recognised_format
from vla3d.data.store import METADATA, read_dataset, read_group
from vla3d.errors import ConfigError, DataError, unknown_name
from vla3d.inspection.config import EPISODE_WORDS

EXPECTED = (
    "expected a dataset (or DATASET/TASK/NUMBER in it), a rollout's folder, or an episode's file in one "
    "(ROLLOUT/episodes/TASK/NUMBER.json)"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where episodes lie.

    Attributes:
        kind: what the folder is.
        folder: the dataset's or the rollout's.
        task: the one that the path names.
        number: the episode that the path names.
    """

    kind: Literal["dataset", "rollout"]
    folder: Path
    task: str | None = None
    number: int | None = None


def find_source(path: Path) -> Source:
    """What a path stands for.

    Raises:
        ConfigError: nothing that can be shown.
        DataError: a damaged dataset.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist; {EXPECTED}.")
    place = path.absolute()
    for folder in (place, *place.parents[:3]):
        inside = place.relative_to(folder).parts
        if _is_rollout(folder) and (len(inside) < 2 or inside[0] == "episodes") and not _another_folder(folder, inside):
            return _in_rollout(path, folder, inside)
        if folder.is_dir() and _is_dataset(folder):
            return _in_dataset(path, folder, inside)
    if (path / METADATA).is_file():
        read_dataset(path)  # says what is wrong with it
    if recognised_format(place) is not None:
        return Source(kind="dataset", folder=path)
    raise ConfigError(f"{path} {_what_it_is(path)}; {EXPECTED}.")


def _another_folder(rollout: Path, inside: Sequence[str]) -> bool:
    """Whether it is a folder that merely lies in a rollout's, a training run or a dataset."""
    return len(inside) == 1 and inside[0] != "episodes" and (rollout / inside[0]).is_dir()


def _is_rollout(folder: Path) -> bool:
    return (folder / "settings.json").is_file() and (folder / "episodes").is_dir()


def _is_dataset(folder: Path) -> bool:
    try:
        return "request" in read_group(folder)
    except (OSError, ValueError):
        return False


def _in_dataset(path: Path, folder: Path, inside: Sequence[str]) -> Source:
    read_dataset(folder)
    if not inside or inside == (METADATA,):
        return Source(kind="dataset", folder=folder)
    if len(inside) > 1 and not inside[1].isdecimal():
        raise ConfigError(f"{path} is no episode of the dataset {folder}; {EXPECTED}.")
    return Source(kind="dataset", folder=folder, task=inside[0], number=int(inside[1]) if len(inside) > 1 else None)


def _in_rollout(path: Path, folder: Path, inside: Sequence[str]) -> Source:
    if len(inside) < 2:
        return Source(kind="rollout", folder=folder)
    stem = Path(inside[2]).stem if len(inside) == 3 else None
    if inside[0] != "episodes" or len(inside) > 3 or (stem is not None and not stem.isdecimal()):
        raise ConfigError(f"{path} is no episode of the rollout {folder}; {EXPECTED}.")
    return Source(kind="rollout", folder=folder, task=inside[1], number=None if stem is None else int(stem))


def _what_it_is(path: Path) -> str:
    if path.is_file():
        return "is a file of another kind"
    if not any(path.iterdir()):
        return "is an empty folder"
    if (path / CAMERAS_FILE).is_file():
        return f"is a camera set, to be looked at with vla3d view cameras {path}"
    if (path / "trainer.json").is_file():
        return f"is a training run, to be rolled out first (vla3d rollout checkpoint={path})"
    inside = sorted(found.parent.name for found in path.glob("*/settings.json") if _is_rollout(found.parent))
    if inside:
        return f"holds {len(inside)} rollouts ({', '.join(inside[:6])}{', ...' if len(inside) > 6 else ''}), give one of them"
    return "holds neither demonstrations nor a rollout"


def chosen(
    source: Source,
    episodes: Mapping[str, Sequence[int]],
    failed: Mapping[str, Sequence[int]],
    picks: Sequence[str],
) -> list[tuple[str, int]]:
    """The episodes to show.

    Args:
        source: names one itself, or leaves the choice.
        episodes: numbers of the episodes of each task.
        failed: those among them that failed.
        picks: the words of ``episode=``; without any, the first failure of each task, else its first episode.

    Raises:
        ConfigError: an episode that is not there; none at all.
    """
    where = source.folder
    if source.task is not None and source.task not in episodes:
        raise unknown_name(f"task in {where}", source.task, episodes)
    tasks = list(episodes) if source.task is None else [source.task]
    if source.number is not None:
        if picks:
            raise ConfigError(f"episode: got {', '.join(picks)} beside a path that names an episode; give one of the two.")
        picks = [f"{source.task}/{source.number}"]
    if not any(episodes[task] for task in tasks):
        raise DataError(f"{where} has no finished episode; expected at least one.")
    default = [(task, (failed.get(task) or episodes[task])[0]) for task in tasks if episodes[task]]
    found = default if not picks else [pair for word in picks for pair in _meant(word, tasks, episodes, failed)]
    for task, number in found:
        if number not in episodes[task]:
            raise ConfigError(f"{where} has no episode {number} of {task}; it has {_numbers(episodes[task])}.")
    if not found:
        raise ConfigError(f"{where} has no failed episode; give episode=first or episode=TASK/NUMBER.")
    return list(dict.fromkeys(found))


def _meant(
    word: str, tasks: Sequence[str], episodes: Mapping[str, Sequence[int]], failed: Mapping[str, Sequence[int]]
) -> list[tuple[str, int]]:
    if word == "first":
        return [(task, episodes[task][0]) for task in tasks if episodes[task]]
    if word == "all":
        return [(task, number) for task in tasks for number in episodes[task]]
    if word == "failures":
        return [(task, number) for task in tasks for number in failed.get(task, ())]
    task, _, number = word.rpartition("/")
    if not number.isdecimal():
        raise ConfigError(f"episode: got {word!r}, expected {', '.join(EPISODE_WORDS)}, a number, or TASK/NUMBER.")
    if task and task not in tasks:
        raise unknown_name("task", task, tasks)
    return [(one, int(number)) for one in ([task] if task else tasks)]


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:12]))
    return f"{shown}, ... {numbers[-1]}" if len(numbers) > 12 else shown or "none"
