"""Reading a dataset: every byte that is handed out has passed a checksum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr

from vla3d.data.schema import alternative_from_json, step_from_row, units_to_depth
from vla3d.data.soundness import Soundness
from vla3d.data.store import (
    EpisodeRef,
    check_episode,
    check_files,
    decoding,
    read_dataset,
    read_episode_attributes,
    read_failures,
    stored_attempts,
)
from vla3d.errors import DataError, unknown_name
from vla3d.types import Alternative, Episode, RgbdFrame, Step

OnCorrupt = Literal["raise", "skip"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeInfo:
    """What is known of an episode without reading its arrays.

    Attributes:
        ref: names the episode.
        cameras: names, in the order of ``Observation.frames``.
        num_steps: recorded steps.
        keyframes: indices of the steps at which a keyframe action had just been executed.
        num_bytes: size of its arrays on disk.
    """

    ref: EpisodeRef
    variation: int
    instruction: str
    paraphrases: tuple[str, ...]
    seed: int
    success: bool
    cameras: tuple[str, ...]
    num_steps: int
    keyframes: tuple[int, ...]
    num_bytes: int
    alternatives: tuple[Alternative, ...]
    metadata: Mapping[str, Any]


class DemoDataset:
    """A dataset of demonstrations, read only; it may be read while a collector extends it.

    Args:
        path: the dataset's folder.
        on_corrupt: ``"raise"`` meets a damaged episode when it is read; ``"skip"`` checks all files when the episodes are
            listed (about a second per gigabyte) and leaves the damaged ones out, see ``skipped``.

    Raises:
        SchemaVersionError: it was written under another schema.
        DataError: there is no dataset, or its metadata are damaged.
    """

    format = "vla3d"

    def __init__(self, path: Path | str, *, on_corrupt: OnCorrupt = "raise") -> None:
        if on_corrupt not in ("raise", "skip"):
            raise unknown_name("on_corrupt", on_corrupt, ("raise", "skip"))
        self.path = Path(path)
        self.request: dict[str, Any] = read_dataset(self.path)["request"]
        self._sound = Soundness(self.verify)
        self.skipped = self._sound.skipped
        self._on_corrupt = on_corrupt

    def tasks(self) -> tuple[str, ...]:
        """Tasks that the dataset has, sorted."""
        folders = (entry for entry in self.path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        return tuple(sorted(folder.name for folder in folders))

    def episodes(self, tasks: Sequence[str] | None = None) -> list[EpisodeRef]:
        """The stored episodes, by task as given (default: all, sorted) and by attempt.

        Raises:
            ConfigError: the dataset has no such task.
        """
        present = self.tasks()
        refs = []
        for task in present if tasks is None else tasks:
            if task not in present:
                raise unknown_name(f"task in {self.path}", task, present)
            refs += [EpisodeRef(task, attempt) for attempt in stored_attempts(self.path / task)]
        return [ref for ref in refs if self._on_corrupt == "raise" or ref in self._sound]

    def verify(self, ref: EpisodeRef) -> None:
        """Compare every file of an episode with its SHA-256.

        Raises:
            CorruptEpisodeError: naming the episode and the array.
        """
        check_episode(ref, self.path, contents=True)

    def failures(self, task: str) -> dict[int, str]:
        """Failed attempts of a task and why they failed.

        Raises:
            DataError: the note is damaged.
        """
        try:
            return read_failures(self.path / task)
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise DataError(f"{self.path / task}: {error}; run the same vla3d collect again to mend it.") from error

    def info(self, ref: EpisodeRef) -> EpisodeInfo:
        """What is known of an episode without reading its arrays.

        Raises:
            CorruptEpisodeError: its attributes are damaged.
        """
        stored = read_episode_attributes(ref, self.path)
        return EpisodeInfo(
            ref=ref,
            variation=stored["variation"],
            instruction=stored["instruction"],
            paraphrases=tuple(stored["paraphrases"]),
            seed=stored["seed"],
            success=stored["success"],
            cameras=tuple(stored["cameras"]),
            num_steps=stored["num_steps"],
            keyframes=tuple(stored["keyframes"]),
            num_bytes=sum(size for size, _ in stored["files"].values()),
            alternatives=_alternatives(stored),
            metadata=stored["metadata"],
        )

    def read(self, ref: EpisodeRef, *, cameras: Sequence[str] | None = None) -> Episode:
        """An episode, as it was recorded.

        Args:
            ref: which one.
            cameras: read these alone; ``()`` reads no images, which is enough for keyframe discovery.

        Raises:
            CorruptEpisodeError: naming the episode and the array.
            ConfigError: the episode has no such camera.
        """
        stored = read_episode_attributes(ref, self.path)
        return Episode(
            task=stored["task"],
            variation=stored["variation"],
            instruction=stored["instruction"],
            paraphrases=tuple(stored["paraphrases"]),
            seed=stored["seed"],
            success=stored["success"],
            steps=_EpisodeArrays(ref, self.path, stored).steps(None, cameras),
            alternatives=_alternatives(stored),
            metadata=stored["metadata"],
        )

    def read_steps(self, ref: EpisodeRef, indices: Sequence[int], *, cameras: Sequence[str] | None = None) -> list[Step]:
        """Some steps of an episode, in the order asked for; only the chunks that hold them are read.

        Raises:
            CorruptEpisodeError: naming the episode and the array.
            DataError: an index lies outside the episode.
            ConfigError: the episode has no such camera.
        """
        stored = read_episode_attributes(ref, self.path)
        outside = [index for index in indices if not 0 <= index < stored["num_steps"]]
        if outside:
            raise DataError(f"Episode {ref}: got step {outside[0]}, expected 0 to {stored['num_steps'] - 1}.")
        wanted, order = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        steps = _EpisodeArrays(ref, self.path, stored).steps(wanted, cameras)
        return [steps[position] for position in order]


def instance_names(metadata: Mapping[str, Any]) -> dict[int, str]:
    """Meaning of the ids in an episode's segmentations, from its metadata; empty where it was not recorded."""
    return {int(number): str(name) for number, name in metadata.get("instances", {}).items()}


def _alternatives(stored: Mapping[str, Any]) -> tuple[Alternative, ...]:
    return tuple(alternative_from_json(values) for values in stored["alternatives"])


class _EpisodeArrays:
    """The arrays of one episode, turned back into steps."""

    def __init__(self, ref: EpisodeRef, dataset: Path, stored: Mapping[str, Any]) -> None:
        self._ref = ref
        self._folder = ref.folder(dataset)
        self._stored = stored

    def steps(self, wanted: np.ndarray | None, cameras: Sequence[str] | None) -> list[Step]:
        """Steps at sorted distinct indices, or all of them."""
        for name in cameras or ():
            if name not in self._stored["cameras"]:
                raise unknown_name(f"camera of episode {self._ref}", name, self._stored["cameras"])
        selected = [name for name in self._stored["cameras"] if cameras is None or name in cameras]
        table, _ = self._read("steps", wanted, None)
        frames = self._frames(wanted, selected, len(table))
        sentences, names = self._stored["instructions"], instance_names(self._stored["metadata"])
        return [step_from_row(row, frames[index], sentences, names) for index, row in enumerate(table)]

    def _frames(self, wanted: np.ndarray | None, cameras: list[str], count: int) -> list[dict[str, RgbdFrame]]:
        fields: dict[str, dict[str, np.ndarray]] = {name: {} for name in cameras}
        for array in dict.fromkeys(path.split("/", 1)[0] for path in self._stored["files"]):
            if array == "steps" or not cameras:
                continue
            values, names = self._read(array, wanted, cameras)
            # Images carry their size behind the name: depth_128x128.
            kind = array if array in ("intrinsics", "T_world_camera") else array.rsplit("_", 1)[0]
            if kind == "depth" and values.dtype == np.uint16:
                values = units_to_depth(values)
            for axis, name in enumerate(names):
                fields[name][kind] = values[:, axis]
        return [
            {name: RgbdFrame(**{kind: values[index] for kind, values in fields[name].items()}) for name in cameras}
            for index in range(count)
        ]

    def _read(self, name: str, wanted: np.ndarray | None, cameras: list[str] | None) -> tuple[np.ndarray, list[str]]:
        """An array's selected steps, and the cameras along its second axis when ``cameras`` selects among them."""
        check_files(self._ref, self._folder, self._stored["files"], name, contents=False)
        with decoding(self._ref, name):
            array = zarr.open_array(store=self._folder, path=name, mode="r", zarr_format=3)
            if cameras is None:
                return _rows(array, wanted), []
            present = list(cast(list[str], array.attrs["cameras"]))
            names = [camera for camera in present if camera in cameras]
            if names == present:
                return _rows(array, wanted), names
            columns = [_rows(array, wanted, present.index(camera)) for camera in names]
            return np.stack(columns, axis=1) if columns else np.empty((0, 0)), names


def _rows(array: zarr.Array, wanted: np.ndarray | None, *rest: int) -> np.ndarray:
    """Steps of an array at sorted distinct indices, or all of them.

    Reads slices, one per chunk of steps: zarr's own fancy indexing takes ten times as long.
    """

    def rows(first: int | None, end: int | None) -> np.ndarray:
        selection: tuple[slice | int, ...] = (slice(first, end), *rest)
        return np.asarray(array[selection])

    if wanted is None:
        return rows(None, None)
    chunk = array.chunks[0]
    parts = []
    for number in np.unique(wanted // chunk):
        inside = wanted[wanted // chunk == number]
        parts.append(rows(int(inside[0]), int(inside[-1]) + 1)[inside - inside[0]])
    return np.concatenate(parts) if parts else rows(0, 0)
