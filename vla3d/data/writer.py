"""Writing a dataset: episodes appear whole or not at all, and the bytes depend on the request alone."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vla3d.data.locking import DatasetLock
from vla3d.data.schema import COLUMNS, SCHEMA_VERSION, alternative_to_json, depth_to_units, table_from_steps
from vla3d.data.store import (
    METADATA,
    PARTIAL,
    UNFINISHED,
    EpisodeRef,
    canonical_json,
    check_episode,
    check_task_name,
    disk_errors,
    file_manifest,
    fsync_path,
    read_dataset,
    read_failures,
    remove_tree,
    stored_attempts,
    write_array,
    write_group,
)
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError
from vla3d.types import Episode, Step

logger = logging.getLogger(__name__)


def write_episode(episode: Episode, folder: Path) -> int:
    """Write one episode as a zarr group, forced to the disk. Needs no lock: ``folder`` is not yet part of a dataset.

    Args:
        episode: every step must have the same cameras with the same image sizes.
        folder: a new folder; its parent exists.

    Returns:
        Bytes written.

    Raises:
        DataError: the disk is full, or the episode does not fit the schema.
    """
    where = f"Episode of {episode.task!r}, seed {episode.seed}"
    if not episode.steps:
        raise DataError(f"{where}: got no steps, expected at least one.")
    with disk_errors(where):
        try:
            folder.mkdir()
            table, sentences = table_from_steps(episode.steps)
            write_array(folder, "steps", table, {"columns": COLUMNS})
            _write_cameras(episode.steps, folder, where)
            manifest = file_manifest(folder)
            attributes = {
                "schema_version": SCHEMA_VERSION,
                "task": episode.task,
                "variation": episode.variation,
                "instruction": episode.instruction,
                "paraphrases": list(episode.paraphrases),
                "seed": episode.seed,
                "success": episode.success,
                "alternatives": [alternative_to_json(alternative) for alternative in episode.alternatives],
                "metadata": dict(episode.metadata),
                "cameras": list(episode.steps[0].observation.frames),
                "num_steps": len(episode.steps),
                "keyframes": list(episode.keyframe_indices),
                "instructions": sentences,
                "files": manifest,
            }
            write_group(folder, attributes, where=where)
        except BaseException:
            remove_tree(folder)
            raise
        return sum(size for size, _ in manifest.values()) + (folder / METADATA).stat().st_size


def _write_cameras(steps: Sequence[Step], folder: Path, where: str) -> None:
    """Images stacked by size (cameras of one size share an array), poses and intrinsics of all cameras."""
    first = steps[0].observation.frames
    _check_frames(steps, where)
    if not first:
        return
    for name in ("intrinsics", "T_world_camera"):
        values = [[getattr(frame, name) for frame in step.observation.frames.values()] for step in steps]
        write_array(folder, name, np.array(values, dtype=np.float64), {"cameras": list(first)})
    sizes = {name: frame.depth.shape for name, frame in first.items()}
    for height, width in sorted(set(sizes.values())):
        cameras = [name for name, size in sizes.items() if size == (height, width)]
        segmented = [name for name in cameras if first[name].segmentation is not None]
        for kind, names in (("rgb", cameras), ("depth", cameras), ("segmentation", segmented)):
            if not names:
                continue
            images = _stack(steps, names, kind)
            attributes: dict[str, Any] = {"cameras": names}
            if kind == "depth":
                units = depth_to_units(images)
                attributes["unit"] = "m" if units is None else "0.1 mm"
                images = images if units is None else units
            write_array(folder, f"{kind}_{height}x{width}", images, attributes, images=True)


def _stack(steps: Sequence[Step], cameras: Sequence[str], kind: str) -> np.ndarray:
    """Images ``(T, C, H, W, ...)`` in one array; ``numpy.array`` on nested lists takes ten times as long."""
    first = getattr(steps[0].observation.frames[cameras[0]], kind)
    images = np.empty((len(steps), len(cameras), *first.shape), dtype=first.dtype)
    for step, row in zip(steps, images, strict=True):
        for name, image in zip(cameras, row, strict=True):
            image[...] = getattr(step.observation.frames[name], kind)
    return images


def _check_frames(steps: Sequence[Step], where: str) -> None:
    """Every step must look like the first: same cameras, same shapes, the types' dtypes."""
    dtypes = {"rgb": np.uint8, "depth": np.float32, "segmentation": np.int16, "intrinsics": None, "T_world_camera": None}
    first = steps[0].observation.frames
    shapes = {(name, field): np.shape(getattr(frame, field)) for name, frame in first.items() for field in dtypes}
    for index, step in enumerate(steps):
        frames = step.observation.frames
        if list(frames) != list(first):
            raise DataError(f"{where}: step {index} has cameras {list(frames)}, expected those of step 0, {list(first)}.")
        for (name, field), shape in shapes.items():
            value = getattr(frames[name], field)
            dtype = dtypes[field]
            if np.shape(value) != shape or (value is not None and dtype is not None and value.dtype != dtype):
                got = "nothing" if value is None else f"{value.dtype} {value.shape}"
                raise DataError(
                    f"{where}: step {index}, camera {name!r}, {field}: got {got}, expected {np.dtype(dtype).name} {shape}."
                )


class DatasetWriter:
    """The one process that changes a dataset.

    Creates the dataset or continues it, holds its lock, and alone moves finished episodes into place; helpers may write
    episodes anywhere below ``staging``. Use it as a context manager.

    Args:
        path: the dataset's folder.
        request: what decides the contents of every episode (seed, image size, ...), JSON. A dataset holds one request.
    """

    def __init__(self, path: Path | str, request: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._request = dict(request)
        self._lock = DatasetLock(self.path)
        self._failures: dict[str, dict[int, str]] = {}

    @property
    def staging(self) -> Path:
        """Folder, on the dataset's file system, for episodes that are being written; emptied at both ends of a session."""
        return self.path / PARTIAL

    def __enter__(self) -> Self:
        """Take the lock and check that the dataset is the one asked for.

        Raises:
            DatasetLockedError: another process writes to it.
            SchemaVersionError: it was written under another schema.
            ConfigError: it holds another request, or the folder holds something else.
            DataError: the disk is full or its metadata are damaged.
        """
        with disk_errors(str(self.path)):
            if self.path.is_dir() and not (self.path / METADATA).exists():
                foreign = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
                if foreign:
                    raise ConfigError(
                        f"out: {self.path} holds {foreign[0]!r} and is no dataset; choose a new or empty folder with out=DIR."
                    )
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                self._open()
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        remove_tree(self.staging)
        self._lock.release()

    def _open(self) -> None:
        remove_tree(self.staging)
        for unfinished in (*self.path.glob(UNFINISHED), *self.path.glob(f"*/{UNFINISHED}")):
            unfinished.unlink()
        self.staging.mkdir(exist_ok=True)
        if not (self.path / METADATA).exists():
            attributes = {"schema_version": SCHEMA_VERSION, "request": self._request}
            write_group(self.path, attributes, where=f"request of {self.path}")
            return
        found = read_dataset(self.path)["request"]
        wanted = json.loads(canonical_json(self._request, f"request of {self.path}"))
        for key in sorted(found.keys() | wanted.keys()):
            if found.get(key) != wanted.get(key):
                raise ConfigError(
                    f"{key}: {self.path} was collected with {key}={found.get(key)}, got {key}={wanted.get(key)}; "
                    "choose another out=DIR or repeat the dataset's own value."
                )

    def attempts(self, task: str) -> dict[int, str | None]:
        """Every attempt known of a task: None for a stored episode, else why it failed.

        A stored episode whose files are missing or cut short is taken out, so that it is collected again.
        """
        folder = self._task_folder(task)
        known: dict[int, str | None] = dict(self._failures[task])
        for attempt in stored_attempts(folder):
            ref = EpisodeRef(task, attempt)
            try:
                check_episode(ref, self.path, contents=False)
            except CorruptEpisodeError as error:
                logger.warning("%s It is collected again.", error)
                remove_tree(ref.folder(self.path))
            else:
                known[attempt] = None
        return dict(sorted(known.items()))

    def commit(self, ref: EpisodeRef, staged: Path) -> None:
        """Move an episode that ``write_episode`` wrote below ``staging`` into its place.

        Raises:
            DataError: the place is taken, or the disk refuses.
        """
        folder = self._task_folder(ref.task)
        with disk_errors(f"Episode {ref}"):
            staged.rename(ref.folder(self.path))
            fsync_path(folder)

    def record_failure(self, ref: EpisodeRef, reason: str) -> None:
        """Note that an attempt failed, and why, so that it is counted and never repeated."""
        folder = self._task_folder(ref.task)
        self._write_task(ref.task, folder, {**self._failures[ref.task], ref.attempt: reason})

    def add(self, episode: Episode, attempt: int) -> EpisodeRef:
        """Write an episode and put it in place: what a converter needs.

        Returns:
            The reference that reads it back.
        """
        ref = EpisodeRef(episode.task, attempt)
        self._task_folder(ref.task)
        staged = staged_path(self.staging, ref)
        write_episode(episode, staged)
        self.commit(ref, staged)
        return ref

    def _task_folder(self, task: str) -> Path:
        folder = self.path / task
        if task in self._failures:
            return folder
        check_task_name(task)
        with disk_errors(str(folder)):
            folder.mkdir(exist_ok=True)
        try:
            self._failures[task] = read_failures(folder)
        except FileNotFoundError:
            self._write_task(task, folder, {})
        except ValueError as error:
            # Lost failures are gaps among the attempts; the collector fills gaps with the same outcome.
            logger.warning("%s: %s; its failed attempts are made again.", folder / METADATA, error)
            self._write_task(task, folder, {})
        return folder

    def _write_task(self, task: str, folder: Path, failures: dict[int, str]) -> None:
        named = {f"{attempt:06d}": reason for attempt, reason in failures.items()}
        with disk_errors(str(folder)):
            write_group(folder, {"task": task, "failures": named}, where=str(folder))
        self._failures[task] = failures


def staged_path(staging: Path, ref: EpisodeRef) -> Path:
    """Where this process writes an episode before it is committed; no other process ever uses the same name."""
    return staging / f"{ref.task}-{ref.attempt:06d}-{os.getpid()}"
