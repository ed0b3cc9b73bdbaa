"""The files under a dataset: where they lie, how arrays are encoded, how bytes reach the disk whole, how damage is told.

Layout, all of it plain zarr v3 that opens without this project::

    <dataset>/zarr.json                      schema version and the request that made it
    <dataset>/<task>/zarr.json               failed attempts and their reasons
    <dataset>/<task>/<attempt>/zarr.json     one episode: its attributes, its files' sizes and SHA-256
    <dataset>/<task>/<attempt>/<array>/...   one array: zarr.json and one shard file
    <dataset>/.lock, <dataset>/.partial/     a collector at work

Names that begin with a dot are no part of the data. Nothing in a file depends on when, where or by whom it was written.
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from vla3d.data.schema import check_schema_version
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError

METADATA = "zarr.json"
PARTIAL = ".partial"
UNFINISHED = ".zarr.json.unfinished"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ATTRIBUTE = "vla3d"
STEPS_PER_CHUNK = 8
"""Steps that are compressed together. zstd then sees the still background again in each of them; measured on 60 steps of four
128x128 cameras: 1 step 3.9 MB, 8 steps 2.3 MB, 60 steps 2.1 MB, while one keyframe's four RGB-D images still read in 10 ms."""


@dataclass(frozen=True, order=True)
class EpisodeRef:
    """Names one stored episode: a task and the index of the attempt that succeeded."""

    task: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.task}/{self.attempt:06d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of ``str``.

        Raises:
            ValueError: for a text that names no episode.
        """
        task, slash, attempt = text.rpartition("/")
        if not (task and slash and attempt.isdecimal()):
            raise ValueError(f"got {text!r}, expected an episode's name such as 'pick_and_lift/000012'")
        return cls(task, int(attempt))

    def folder(self, dataset: Path) -> Path:
        """Where the episode lies."""
        return dataset / self.task / f"{self.attempt:06d}"


def canonical_json(value: object, where: str) -> str:
    """JSON text that is the same for equal values; NumPy scalars and arrays become plain ones.

    Raises:
        DataError: for a value that JSON cannot hold.
    """

    def plain(item: object) -> object:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        raise DataError(f"{where}: got a {type(item).__name__}, expected plain values (numbers, text, lists, mappings).")

    try:
        return json.dumps(value, default=plain, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: cannot be stored as JSON ({error}); use finite numbers, text, lists, mappings.") from error


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn a failed write into one sentence.

    Raises:
        DataError: for any ``OSError``, a full disk or an exceeded quota above all.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "make room" if error.errno in _NO_ROOM else "mend that or give another folder"
        raise DataError(
            f"{what} could not be written: {reason}. Everything stored before is intact; {remedy}, then run the same command "
            "again and it continues."
        ) from error


def fsync_path(path: Path) -> None:
    """Force a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader, or a power cut, sees the old text or the new one and nothing else.

    A process that is killed here leaves ``UNFINISHED`` behind; the next writer sweeps it away.
    """
    temporary = path.with_name(UNFINISHED)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def write_group(folder: Path, attributes: Mapping[str, Any], *, where: str) -> None:
    """Write a zarr group's metadata file whole; the attributes carry a digest of themselves.

    Args:
        folder: the group; it exists.
        attributes: stored under the attribute ``vla3d``, beside ``digest``.
        where: named by the error when the attributes are not JSON.
    """
    text = canonical_json(attributes, where)
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {ATTRIBUTE: json.loads(text), "digest": digest(text)},
    }
    replace_file(folder / METADATA, json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False))


def read_group(folder: Path) -> dict[str, Any]:
    """Attributes that ``write_group`` wrote.

    Raises:
        FileNotFoundError: there is no group here.
        ValueError: the file is damaged, or another program's.
    """
    document = json.loads((folder / METADATA).read_bytes())
    try:
        attributes, stored = document["attributes"][ATTRIBUTE], document["attributes"]["digest"]
    except (KeyError, TypeError):
        raise ValueError("it is not a vla3d group") from None
    if stored != digest(canonical_json(attributes, str(folder))):
        raise ValueError("its attributes do not match their digest")
    return dict(attributes)


def write_array(folder: Path, name: str, values: np.ndarray, attributes: Mapping[str, Any], *, images: bool = False) -> None:
    """Write one array of an episode: leading axis steps, one shard file, a CRC-32C behind every chunk.

    Byte shuffle and zstd level 1 over whole chunks cost about 0.1 ms for RGB, depth and segmentation of a 128x128 camera
    frame. Blosc's own, smaller blocks would lose the likeness between steps (3.2 MB instead of 1.8 for depth); bit shuffle is
    larger and slower.

    Args:
        folder: the episode's group.
        name: of the array.
        values: ``(T, ...)``, no axis empty.
        attributes: of the array, JSON.
        images: whether axis 1 counts cameras. Chunks then span ``STEPS_PER_CHUNK`` steps of one camera, else everything.
    """
    chunk = (STEPS_PER_CHUNK, 1, *values.shape[2:]) if images else values.shape
    shard = (math.ceil(values.shape[0] / chunk[0]) * chunk[0], *values.shape[1:])
    compressor = BloscCodec(
        cname="zstd",
        clevel=1,
        shuffle="shuffle",
        typesize=values.dtype.itemsize,
        blocksize=math.prod(chunk) * values.dtype.itemsize,
    )
    array = zarr.create_array(
        store=folder,
        name=name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunk,
        shards=shard,
        filters=None,
        compressors=[compressor, Crc32cCodec()],
        attributes=json.loads(canonical_json(attributes, name)),
        # A chunk of zeros left out would look like a lost one.
        config={"write_empty_chunks": True},
        # One file, not a chain of folders each of which would have to be forced to the disk too.
        chunk_key_encoding={"name": "default", "separator": "."},
        zarr_format=3,
    )
    array[...] = values


def read_dataset(path: Path) -> dict[str, Any]:
    """A dataset's own attributes: ``schema_version`` and ``request``.

    Raises:
        SchemaVersionError: it was written under another schema.
        DataError: there is none here, or its metadata are damaged.
    """
    try:
        attributes = read_group(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} is no dataset: it has no {METADATA}; give a folder that vla3d collect wrote.") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path / METADATA}: {error}; collect the dataset again into another folder.") from error
    check_schema_version(attributes.get("schema_version"), str(path))
    return attributes


def read_failures(task_folder: Path) -> dict[int, str]:
    """Failed attempts of a task and their reasons.

    Raises:
        FileNotFoundError: nothing was noted.
        ValueError: the note is damaged.
    """
    return {int(attempt): reason for attempt, reason in read_group(task_folder)["failures"].items()}


def stored_attempts(task_folder: Path) -> list[int]:
    """Attempts of a task that are stored as episodes, in order."""
    return sorted(int(entry.name) for entry in task_folder.iterdir() if entry.name.isdecimal())


def read_episode_attributes(ref: EpisodeRef, dataset: Path) -> dict[str, Any]:
    """An episode's attributes.

    Raises:
        CorruptEpisodeError: they are damaged.
        SchemaVersionError: it was written under another schema.
        DataError: there is no such episode.
    """
    folder = ref.folder(dataset)
    if not folder.is_dir():
        raise DataError(f"{dataset} has no episode {ref}; DemoDataset.episodes lists those it has.")
    try:
        attributes = read_group(folder)
    except (ValueError, OSError) as error:
        raise corrupt(ref, METADATA, str(error)) from error
    check_schema_version(attributes.get("schema_version"), f"{dataset}, episode {ref}")
    return attributes


def check_episode(ref: EpisodeRef, dataset: Path, *, contents: bool) -> None:
    """Check every file of an episode; see ``check_files``.

    Raises:
        CorruptEpisodeError: naming the episode and the array.
    """
    manifest = read_episode_attributes(ref, dataset)["files"]
    for array in dict.fromkeys(path.split("/", 1)[0] for path in manifest):
        check_files(ref, ref.folder(dataset), manifest, array, contents=contents)


def file_manifest(folder: Path) -> dict[str, list[Any]]:
    """Size and SHA-256 of every file below an episode's group, by relative path; each is forced to the disk as well."""
    manifest: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            fsync_path(path)
        elif path.parent != folder:
            content = path.read_bytes()
            fsync_path(path)
            manifest[path.relative_to(folder).as_posix()] = [len(content), hashlib.sha256(content).hexdigest()]
    return manifest


def check_files(ref: EpisodeRef, folder: Path, manifest: Mapping[str, list[Any]], array: str, *, contents: bool) -> None:
    """Compare an array's files with the manifest.

    Args:
        ref: named by the error.
        folder: the episode's group.
        manifest: what ``file_manifest`` found when the episode was written.
        array: whose files.
        contents: read every file; without it the data files are only measured, since their chunks carry checksums.

    Raises:
        CorruptEpisodeError: a file is missing, has another length, or other contents.
    """
    files = {path: entry for path, entry in manifest.items() if path.split("/", 1)[0] == array}
    if not files:
        raise corrupt(ref, array, "it is not among the episode's arrays")
    for path, (size, sha256) in files.items():
        try:
            actual = (folder / path).stat().st_size
            if actual != size:
                raise corrupt(ref, array, f"{path} has {actual} bytes, expected {size}")
            full = contents or path.endswith(METADATA)
            if full and hashlib.sha256((folder / path).read_bytes()).hexdigest() != sha256:
                raise corrupt(ref, array, f"{path} does not match its SHA-256")
        except OSError as error:
            raise corrupt(ref, array, f"{path} cannot be read ({error.strerror or error})") from error


@contextmanager
def decoding(ref: EpisodeRef, name: str) -> Iterator[None]:
    """Name the episode and the array when opening or decoding it fails.

    Raises:
        CorruptEpisodeError: for whatever the codecs raise on damaged bytes; a CRC-32C that does not match is a ValueError.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise corrupt(ref, name, str(error) or type(error).__name__) from error


def corrupt(ref: EpisodeRef, array: str, reason: str) -> CorruptEpisodeError:
    """The error for a damaged episode."""
    return CorruptEpisodeError(
        f"Episode {ref}, array {array!r}: {reason}. Delete the folder and collect again to restore it, or read the dataset "
        'with on_corrupt="skip".'
    )


def check_task_name(task: str) -> None:
    """Refuse a task name that could not be a folder of a dataset.

    Raises:
        ConfigError: empty, hidden, or with a separator.
    """
    if not task or task.startswith((".", "__")) or "/" in task or "\\" in task or "\0" in task:
        raise ConfigError(f"task: got {task!r}, expected a name without separators that does not begin with a dot.")


def remove_tree(path: Path) -> None:
    """Delete a folder, also while a dying process may still be writing into it."""
    shutil.rmtree(path, ignore_errors=True)
