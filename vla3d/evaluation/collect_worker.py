"""What one process of the collector does: attempt an episode, and write it down beside the dataset if it succeeded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vla3d import __version__
from vla3d.data.store import EpisodeRef
from vla3d.data.writer import staged_path, write_episode
from vla3d.envs.base import KeyframeEnv, make_env
from vla3d.evaluation.collect_config import CollectConfig
from vla3d.evaluation.recorder import record_expert
from vla3d.optional import installed_versions
from vla3d.seeding import scene_seed

EnvFactory = Callable[..., KeyframeEnv]

# Other versions of what makes the motion and the images may give other bytes.
_SIMULATORS = ("mujoco", "mujoco-warp", "warp-lang")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What became of an attempt.

    Attributes:
        ref: its task and index.
        failure: why it failed, or None.
        staged: where the episode was written, if it succeeded.
        num_bytes: size of what was written.
        camera_frames: images recorded.
    """

    ref: EpisodeRef
    failure: str | None
    staged: Path | None
    num_bytes: int
    camera_frames: int


class CollectWorker:
    """Keeps the environments of one process between attempts."""

    def __init__(self, config: CollectConfig, staging: Path, env_factory: EnvFactory = make_env) -> None:
        self._config = config
        self._staging = staging
        self._factory = env_factory
        self._envs: dict[str, KeyframeEnv] = {}
        self._versions = {"vla3d": __version__, **installed_versions(_SIMULATORS)}

    def attempt(self, ref: EpisodeRef) -> Attempt:
        """Make one attempt.

        Raises:
            DataError: the disk is full.
        """
        if ref.task not in self._envs:
            self._envs[ref.task] = self._factory(ref.task, image_size=self._config.image_size, renderer=self._config.renderer)
        seed = scene_seed("train", self._config.seed, ref.task, ref.attempt)
        episode, failure = record_expert(self._envs[ref.task], seed, {"attempt": ref.attempt, "versions": self._versions})
        frames = sum(len(step.observation.frames) for step in episode.steps)
        if failure is not None:
            return Attempt(ref=ref, failure=failure, staged=None, num_bytes=0, camera_frames=frames)
        staged = staged_path(self._staging, ref)
        size = write_episode(episode, staged)
        return Attempt(ref=ref, failure=None, staged=staged, num_bytes=size, camera_frames=frames)


_worker: CollectWorker | None = None


def start(config: CollectConfig, staging: Path, env_factory: EnvFactory) -> None:
    """Make this process's worker; called once when the process starts."""
    global _worker
    _worker = CollectWorker(config, staging, env_factory)


def attempt(ref: EpisodeRef) -> Attempt:
    """Make an attempt in this process's worker."""
    assert _worker is not None, "start() was not called"
    return _worker.attempt(ref)
