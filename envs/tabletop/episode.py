"""What an episode is besides the physics, and the bytes that hold both."""

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from vla3d.envs.tabletop.tasks.base import Scenario
from vla3d.errors import ConfigError

_MAGIC = b"vla3dTT1"
_HEAD = struct.Struct("<8sII")


@dataclass(frozen=True, kw_only=True)
class EpisodeState:
    """The bookkeeping of a running episode.

    Attributes:
        scenario: what was drawn.
        instruction: the sentence, one of the variation's.
        seed: what it was drawn from.
        step: decisions made.
        held: for each candidate, whether its goal held for a whole second after the last decision.
        motion_failure: why the last motion that was not carried out was not; None when all were.
        over: whether the episode has ended.
    """

    scenario: Scenario
    instruction: str
    seed: int
    step: int
    held: tuple[bool, ...]
    motion_failure: str | None = None
    over: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "scenario": self.scenario.to_json(), "held": list(self.held)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "EpisodeState":
        """The inverse of ``to_json``."""
        return cls(**{**values, "scenario": Scenario.from_json(values["scenario"]), "held": tuple(values["held"])})


def pack(task: str, episode: EpisodeState, physics: bytes) -> bytes:
    """One string of bytes: magic, checksum, length of the header, JSON header, physics."""
    header = json.dumps({"task": task, "episode": episode.to_json()}, sort_keys=True).encode()
    body = header + physics
    return _HEAD.pack(_MAGIC, zlib.crc32(body), len(header)) + body


def unpack(task: str, state: bytes) -> tuple[EpisodeState, bytes]:
    """The inverse of ``pack``.

    Raises:
        ConfigError: not such bytes, damaged, or another task's.
    """
    if len(state) < _HEAD.size or state[: len(_MAGIC)] != _MAGIC:
        raise ConfigError(f"state: got {len(state)} bytes that save_state did not write; pass what it returned.")
    _, checksum, length = _HEAD.unpack_from(state)
    body = state[_HEAD.size :]
    if zlib.crc32(body) != checksum:
        raise ConfigError("state: the bytes are damaged (their checksum differs); record the state again.")
    header = json.loads(body[:length])
    if header["task"] != task:
        raise ConfigError(f"state: got one of task {header['task']!r}, expected one of {task!r}; use that task's environment.")
    return EpisodeState.from_json(header["episode"]), body[length:]
