"""Errors a user can cause. Each message says what, got, expected and what to do next."""

import difflib
from collections.abc import Iterable


class Vla3dError(Exception):
    """Base of every error that is the user's to mend; the CLI prints it as one sentence and exits with 2."""


class ConfigError(Vla3dError, ValueError):
    """A key, name or value in the configuration or on the command line is wrong."""


class DataError(Vla3dError):
    """A dataset or episode cannot be read or written."""


class CorruptEpisodeError(DataError):
    """An episode's stored bytes fail their checksum or do not decode.

    Args:
        message: the whole sentence.
        reason: the one clause of it that says what is wrong, without the name and place of the episode.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class SchemaVersionError(DataError):
    """A dataset was written under another schema version."""


class DatasetLockedError(DataError):
    """Another process is writing to the dataset."""


class ObservationError(Vla3dError, ValueError):
    """An observation lacks what the policy needs (a camera, depth, an instruction)."""


class InstructionError(ObservationError):
    """An instruction is empty or longer than the policy's text budget."""


class RequestError(Vla3dError, ValueError):
    """A request to a policy server is not what its protocol asks for."""


class CheckpointError(Vla3dError):
    """A checkpoint is missing, damaged, or does not fit the model it is loaded into."""


class TrainingError(Vla3dError):
    """Training cannot go on (a non-finite loss, for example)."""


class WorkerError(Vla3dError):
    """A worker process died or failed."""


class MissingExtraError(Vla3dError, ImportError):
    """An optional dependency is not installed."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> ConfigError:
    """Build the error for a name that is not among ``choices``, with the nearest one suggested.

    Args:
        kind: what the name stands for, for example ``"task"``.
        name: what the user gave.
        choices: the valid names.
    """
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"Unknown {kind} {name!r}.{hint} Choices: {', '.join(known)}.")
