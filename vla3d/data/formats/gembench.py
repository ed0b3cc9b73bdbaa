"""GemBench's keysteps, read in place: the decision points of RLBench demonstrations as images and world point clouds.

Layout (the path may be any of the folders)::

    <root>/taskvars_instructions_new.json                  {taskvar: [sentence, ...]}
    <root>/keysteps_bbox/seed0/<task>+<variation>/data.mdb an LMDB; its keys are episode<N>, its values msgpack:
        key_frameids [T], rgb [T, 4, H, W, 3], pc [T, 4, H, W, 3], action [T, 8], and more that is not read

A record has neither depth in metres nor cameras, only the world point of every pixel. Those points determine the pinhole camera
that made them: it is recovered (``vla3d.geometry.resection``; on float32 clouds to about 1e-5 pixels), depth is then z in that
camera, and a cloud that no pinhole camera explains is refused. What else the format leaves open:

- The cameras have no names; they stand in the order in which GemBench's generator writes them by default, ``CAMERAS``.
- ``action[t]`` is the gripper's pose (xyz, quaternion ``xyzw``) and state at keystep t, so it is what was reached there and,
  for t > 0, the keyframe action that led there. Between keysteps nothing is stored: ``keyframe_rule`` must be ``"recorded"``.
- Collisions are ignored in every motion, as GemBench's own evaluation does; the records do not tell.
- The fingers' distance is 0.08 m or 0 by the gripper's state; joints were not recorded and are NaN.
- Frame ids count RLBench's steps of 0.05 s. The step limit is that of GemBench's protocol.

An episode of variation v has the number ``10_000 v + N``; the task is the taskvar without ``+v``. The instruction is the first
of the taskvar's sentences, and all of them are its paraphrases.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla3d.data.formats.base import ForeignSource, damaged
from vla3d.data.formats.gembench_lmdb import DATA_FILE, EpisodeRecords
from vla3d.data.formats.gembench_records import RecordError, as_array
from vla3d.data.formats.keysteps import Keystep, keystep_outline, require_recorded_keyframes
from vla3d.data.sources import DemoSource, SourceOptions
from vla3d.data.store import EpisodeRef
from vla3d.errors import CorruptEpisodeError, DataError
from vla3d.geometry.resection import Resection, ResectionError, resect_clouds
from vla3d.types import Episode, RgbdFrame

LAYOUT = f"GemBench's keysteps_bbox/seed0 with <task>+<variation>/{DATA_FILE}"
CAMERAS: tuple[str, ...] = ("left_shoulder", "right_shoulder", "wrist", "front")
INSTRUCTIONS_FILE = "taskvars_instructions_new.json"
EPISODES_PER_VARIATION = 10_000
SECONDS_PER_FRAME = 0.05
STEP_LIMIT = 25

_TASKVAR = re.compile(r"(.+)\+(\d+)")
_RECORDS_FOLDER = "keysteps_bbox"


def recognise(path: Path) -> bool:
    """Whether a folder holds GemBench's keysteps, is one of their folders, or one taskvar."""
    return bool(_taskvars(path))


def open_source(path: Path, options: SourceOptions) -> DemoSource:
    """Open a folder of GemBench's keysteps.

    Raises:
        DataError: there are no instructions, or several seeds side by side.
        ConfigError: a keyframe rule that needs what lies between the keysteps.
        MissingExtraError: lmdb or msgpack is not installed.
    """
    require_recorded_keyframes("gembench", options)
    return GemBenchSource(path, options)


def _taskvars(path: Path) -> dict[str, Path]:
    """Taskvar names to their folders.

    Raises:
        DataError: several seeds lie side by side, whose episodes bear the same numbers.
    """
    if _TASKVAR.fullmatch(path.name) and (path / DATA_FILE).is_file():
        return {path.name: path}
    if (path / _RECORDS_FOLDER).is_dir():
        path = path / _RECORDS_FOLDER
    seeds = sorted({found.parents[1] for found in path.glob(f"seed*/*+*/{DATA_FILE}")})
    if len(seeds) > 1:
        raise DataError(f"{path} holds {len(seeds)} seeds whose episodes bear the same numbers; give one, such as {seeds[0]}.")
    folder = seeds[0] if seeds else path
    return {found.name: found for found in sorted(folder.glob("*+*")) if _taskvar(found.name) and _may_hold_records(found)}


def _may_hold_records(folder: Path) -> bool:
    """Also of a folder that is closed to us, which is told when it is opened."""
    return folder.is_dir() and (not os.access(folder, os.X_OK) or (folder / DATA_FILE).is_file())


def _taskvar(name: str) -> tuple[str, int] | None:
    found = _TASKVAR.fullmatch(name)
    return (found[1], int(found[2])) if found else None


class GemBenchSource(ForeignSource):
    """A ``DemoSource`` over GemBench's keysteps."""

    format = "gembench"

    def __init__(self, path: Path, options: SourceOptions) -> None:
        super().__init__(path, options)
        self._records = {split: EpisodeRecords(folder) for name, folder in _taskvars(path).items() if (split := _taskvar(name))}
        self._instructions = _read_instructions(path)
        self._listed: dict[str, list[int]] | None = None
        self._images: tuple[EpisodeRef, np.ndarray, np.ndarray] | None = None
        self._cameras: dict[str, list[Resection]] = {}

    def listed(self) -> Mapping[str, Sequence[int]]:
        """See ``ForeignSource``.

        Raises:
            DataError: an LMDB as a whole is damaged, and ``on_corrupt`` is not ``"skip"``.
        """
        if self._listed is None:
            found: dict[str, list[int]] = {task: [] for task, _ in sorted(self._records)}
            for (task, variation), records in sorted(self._records.items()):
                try:
                    numbers = records.numbers()
                    if numbers and numbers[-1] >= EPISODES_PER_VARIATION:
                        raise DataError(
                            f"{records.folder} has an episode{numbers[-1]}, expected below {EPISODES_PER_VARIATION}."
                        )
                except DataError as error:
                    if self._options.on_corrupt != "skip":
                        raise
                    ref = EpisodeRef(task, EPISODES_PER_VARIATION * variation)
                    self._sound.skip(ref, CorruptEpisodeError(str(error), _without_folder(error, records)))
                    continue
                found[task] += [EPISODES_PER_VARIATION * variation + number for number in numbers]
            self._listed = {task: sorted(numbers) for task, numbers in found.items() if numbers}
        return self._listed

    def make_outline(self, ref: EpisodeRef) -> Episode:
        """See ``ForeignSource``."""
        variation, number = divmod(ref.attempt, EPISODES_PER_VARIATION)
        sentences = self._sentences(ref)
        record = self._read(ref, ("key_frameids", "action"))
        frames, actions = record["key_frameids"].astype(np.int64), record["action"].astype(np.float64)
        if actions.ndim != 2 or actions.shape[1] != 8 or frames.shape != actions.shape[:1] or len(frames) < 2:
            raise self._damaged(
                ref,
                f"got key_frameids {frames.shape} and action {actions.shape}, expected (T,) and (T, 8), T at least 2",
            )
        keysteps = [
            Keystep(
                position=action[:3],
                quaternion=np.roll(action[3:7], 1),
                gripper_open=bool(action[7] > 0.5),
                time=SECONDS_PER_FRAME * int(frame),
            )
            for frame, action in zip(frames, actions, strict=True)
        ]
        try:
            return keystep_outline(
                keysteps,
                task=ref.task,
                variation=variation,
                sentences=sentences,
                step_limit=max(STEP_LIMIT, len(keysteps) - 1),
                metadata={
                    "format": self.format,
                    "taskvar": f"{ref.task}+{variation}",
                    "episode": f"episode{number}",
                    "key_frameids": frames.tolist(),
                },
            )
        except ValueError as error:
            raise self._damaged(ref, f"action: {error}") from error

    def cameras_of(self, ref: EpisodeRef) -> tuple[str, ...]:
        """See ``ForeignSource``."""
        return CAMERAS

    def frames_of(self, ref: EpisodeRef, index: int, cameras: Sequence[str]) -> dict[str, RgbdFrame]:
        """See ``ForeignSource``."""
        if not cameras:
            return {}
        rgb, _ = self._load_images(ref)
        frames = {}
        for name in cameras:
            seen = self._resected(ref, name)[index]
            frames[name] = RgbdFrame(
                rgb=rgb[index, CAMERAS.index(name)],
                depth=seen.depth,
                intrinsics=seen.intrinsics,
                T_world_camera=seen.T_world_camera,
            )
        return frames

    def size_of(self, ref: EpisodeRef) -> int:
        """See ``ForeignSource``."""
        records, number = self._place(ref)
        return records.size(number)

    def verify(self, ref: EpisodeRef) -> None:
        """See ``ForeignSource``: decodes everything and recovers every camera."""
        self.make_outline(ref)
        for name in CAMERAS:
            self._resected(ref, name)

    def _place(self, ref: EpisodeRef) -> tuple[EpisodeRecords, int]:
        variation, number = divmod(ref.attempt, EPISODES_PER_VARIATION)
        return self._records[ref.task, variation], number

    def _read(self, ref: EpisodeRef, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """Entries of an episode's record, each as one array."""
        records, number = self._place(ref)
        try:
            record = records.read(number, wanted)
            missing = [name for name in wanted if name not in record]
            if missing:
                raise RecordError(f"it has no {missing[0]}")
            return {name: as_array(record[name], name) for name in wanted}
        except (RecordError, DataError) as error:
            raise self._damaged(ref, f"the record episode{number}: {_without_folder(error, records)}") from error

    def _load_images(self, ref: EpisodeRef) -> tuple[np.ndarray, np.ndarray]:
        """Colours and clouds of an episode; one episode stays in memory."""
        if self._images is None or self._images[0] != ref:
            self._images, self._cameras = None, {}
            record = self._read(ref, ("rgb", "pc"))
            rgb, clouds = record["rgb"], record["pc"]
            steps = len(self._outline(ref).steps)
            right = rgb.ndim == 5 and rgb.shape[:2] == (steps, len(CAMERAS)) and rgb.shape[4] == 3 and 0 not in rgb.shape
            if not right or rgb.dtype != np.uint8 or clouds.shape != rgb.shape or clouds.dtype.kind != "f":
                raise self._damaged(
                    ref,
                    f"got rgb {rgb.dtype} {rgb.shape} and pc {clouds.dtype} {clouds.shape}, expected uint8 and floats of shape "
                    f"({steps}, {len(CAMERAS)}, H, W, 3)",
                )
            self._images = (ref, rgb, clouds)
        return self._images[1], self._images[2]

    def _resected(self, ref: EpisodeRef, camera: str) -> list[Resection]:
        """One camera's pose and depth at every keystep of an episode."""
        _, clouds = self._load_images(ref)
        if camera not in self._cameras:
            try:
                self._cameras[camera] = resect_clouds(list(clouds[:, CAMERAS.index(camera)]))
            except ResectionError as error:
                raise self._damaged(
                    ref, f"the points of camera {camera!r} are no picture of a pinhole camera: {error}"
                ) from error
        return self._cameras[camera]

    def _sentences(self, ref: EpisodeRef) -> list[str]:
        taskvar = f"{ref.task}+{ref.attempt // EPISODES_PER_VARIATION}"
        sentences = self._instructions.get(taskvar)
        if not isinstance(sentences, list) or not sentences or not all(isinstance(one, str) and one for one in sentences):
            raise self._damaged(ref, f"{INSTRUCTIONS_FILE} has no list of sentences for {taskvar!r}")
        return list(dict.fromkeys(sentences))

    def _damaged(self, ref: EpisodeRef, reason: str) -> CorruptEpisodeError:
        return damaged(ref, self._place(ref)[0].folder / DATA_FILE, reason)


def _without_folder(error: Exception, records: EpisodeRecords) -> str:
    """What an error says, its files named from the folder of the taskvars on, wherever that lies."""
    return str(error).replace(f"{records.folder.parent}/", "")


def _read_instructions(path: Path) -> dict[str, Any]:
    """The sentences of every taskvar, from the folder or one of those around it.

    Raises:
        DataError: there are none, or the file does not hold them.
    """
    near = [path.absolute(), *list(path.absolute().parents)[:3]]
    file = next((folder / INSTRUCTIONS_FILE for folder in near if (folder / INSTRUCTIONS_FILE).is_file()), None)
    if file is None:
        raise DataError(
            f"{path} has no {INSTRUCTIONS_FILE}, nor a folder around it; put GemBench's file beside {_RECORDS_FOLDER}."
        )
    try:
        instructions = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}); copy it again.") from error
    if not isinstance(instructions, dict):
        raise DataError(f"{file} holds no object {{taskvar: [sentence, ...]}}; copy it again.")
    return instructions
