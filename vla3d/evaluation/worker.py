"""What one process of an evaluation does with a job: run an episode, or run a finished one again to film it."""

import os
from dataclasses import dataclass, replace

from vla3d.envs.base import KeyframeEnv, make_env
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.episode import EpisodeJob, Replay, Watcher, recorded_actions, run_episode
from vla3d.evaluation.pictures import KeyframeStrip
from vla3d.evaluation.policies import PolicySource, policy_name
from vla3d.evaluation.results import EpisodeRecord, RolloutFolder
from vla3d.policies.base import Policy


@dataclass(frozen=True, kw_only=True)
class FilmJob:
    """A finished episode to run again, for its recordings."""

    job: EpisodeJob
    record: EpisodeRecord


Job = EpisodeJob | FilmJob


class Worker:
    """Keeps the environments and the policy of one process between jobs."""

    def __init__(self, config: RolloutConfig) -> None:
        self.config = config
        self.folder = RolloutFolder(config.out)
        self._source = PolicySource(config)
        self._envs: dict[str, KeyframeEnv] = {}
        self._policies: dict[str, Policy] = {}

    def equipment(self, task: str) -> tuple[KeyframeEnv, Policy]:
        """The environment of a task and the policy to run in it."""
        if task not in self._envs:
            config = self.config
            self._envs[task] = make_env(
                task,
                image_size=config.image_size,
                renderer=config.renderer,
                factors=config.factors,
                **config.recorded,
            )
            self._policies[task] = self._source.for_env(self._envs[task])
        return self._envs[task], self._policies[task]

    def run(self, job: EpisodeJob) -> EpisodeRecord:
        """Run an episode and keep its record; the record is written last, so it stands for a complete episode."""
        env, policy = self.equipment(job.task)
        strip = KeyframeStrip(self.folder.file(job.task, job.index, ".jpg"))
        record = run_episode(env, policy, job, self.config.control, [strip], self.config.graph)
        self.folder.write(record)
        return record

    def film(self, job: FilmJob) -> bool:
        """Run a finished episode again under the cameras; returns whether it took the same course."""
        env, policy = self.equipment(job.job.task)
        watchers = self._cameras(job.record, env)
        replay = Replay(recorded_actions(job.record), policy)
        # The replay wraps the policy, so the controls must be set on the one that thinks.
        policy.mask_text, policy.graph_control = self.config.control == "mask_text", self.config.graph
        try:
            again = run_episode(env, replay, replace(job.job, save_state=None), self.config.control, watchers)
        except IndexError:
            return False
        return (again.success, again.old_goal, again.actions) == (job.record.success, job.record.old_goal, job.record.actions)

    def _cameras(self, record: EpisodeRecord, env: KeyframeEnv) -> list[Watcher]:
        from vla3d.evaluation.video import EpisodeVideo

        label = policy_name(self.config)
        video = EpisodeVideo(
            self.folder.file(record.task, record.index, ".mp4"), task=record.task, policy=label, control=self.config.control
        )
        if not self.config.rerun:
            return [video]
        from vla3d.evaluation.recording import EpisodeRecording

        return [video, EpisodeRecording(self.folder.file(record.task, record.index, ".rrd"), workspace=env.workspace)]

    def close(self) -> None:
        """Release the simulators."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()


_worker: Worker | None = None


def start(config: RolloutConfig) -> None:
    """Make this process's worker; called once when the process starts."""
    global _worker
    _worker = Worker(config)


def work(job: Job) -> EpisodeRecord | bool:
    """Do a job in this process's worker: an ``EpisodeJob`` answers with its record, a ``FilmJob`` as ``Worker.film``."""
    assert _worker is not None, f"start() was not called in process {os.getpid()}"
    return _worker.run(job) if isinstance(job, EpisodeJob) else _worker.film(job)
