"""Where the episodes of an RLBench folder lie, and how they are numbered."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vla3d.errors import DataError

logger = logging.getLogger(__name__)

ALL_VARIATIONS = "all_variations"
EPISODES = "episodes"
PER_VARIATION = 10_000
"""Episode ``N`` of the folder ``variation<k>`` is number ``PER_VARIATION * k + N``."""

_VARIATION = re.compile(r"variation(\d+)")
_EPISODE = re.compile(r"episode(\d+)")


def is_task_folder(path: Path) -> bool:
    """Whether a folder holds ``all_variations/episodes`` or ``variation<k>/episodes``."""
    try:
        return (path / ALL_VARIATIONS / EPISODES).is_dir() or any(True for _ in _variation_folders(path))
    except PermissionError:  # a folder that is closed to us is none of ours
        return False


def task_folders(path: Path) -> dict[str, Path]:
    """Folders of the tasks by name, sorted: of a root of tasks, or of one task alone."""
    if is_task_folder(path):
        return {path.absolute().name: path}
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {entry.name: entry for entry in inside if is_task_folder(entry)}


def closed_folders(path: Path) -> list[Path]:
    """Folders below a root that we may not look into, sorted."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not os.access(entry, os.R_OK | os.X_OK))


def episode_folders(task_folder: Path) -> dict[int, Path]:
    """Folders of a task's episodes by number, sorted.

    Where both layouts are there, ``all_variations`` counts: it mixes the same variations.

    Raises:
        DataError: an episode of ``variation<k>`` whose number does not fit.
    """
    variations = sorted(_variation_folders(task_folder))
    whole = task_folder / ALL_VARIATIONS / EPISODES
    if whole.is_dir():
        if variations:
            logger.warning("%s: %s is read, the folders of single variations are not.", task_folder, ALL_VARIATIONS)
        return dict(sorted(_episodes(whole)))
    found: dict[int, Path] = {}
    for variation, folder in variations:
        for number, episode in sorted(_episodes(folder)):
            if number >= PER_VARIATION:
                raise DataError(
                    f"{episode}: got episode {number}, expected numbers below {PER_VARIATION} in a variation's folder; "
                    "rename the folder."
                )
            found[PER_VARIATION * variation + number] = episode
    return found


def variation_of(episode_folder: Path) -> int | None:
    """The variation that an episode's path tells; None below ``all_variations``."""
    matched = _VARIATION.fullmatch(episode_folder.parent.parent.name)
    return int(matched[1]) if matched else None


def _variation_folders(task_folder: Path) -> Iterator[tuple[int, Path]]:
    for entry in task_folder.iterdir():
        matched = _VARIATION.fullmatch(entry.name)
        if matched and (entry / EPISODES).is_dir():
            yield int(matched[1]), entry / EPISODES


def _episodes(folder: Path) -> Iterator[tuple[int, Path]]:
    for entry in folder.iterdir():
        matched = _EPISODE.fullmatch(entry.name)
        if matched and entry.is_dir():
            yield int(matched[1]), entry
