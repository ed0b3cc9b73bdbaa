"""An evaluation from start to report: plan the episodes, run those that are missing, film some, sum up."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from vla3d import __version__
from vla3d.data.locking import DatasetLock
from vla3d.envs.base import RecordedEpisodes, make_env
from vla3d.envs.registration import simulator_of, task_names
from vla3d.errors import ConfigError, unknown_name
from vla3d.evaluation import worker
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.episode import EpisodeJob
from vla3d.evaluation.policies import checkpoint_digest, policy_name, resolve_device
from vla3d.evaluation.results import EpisodeRecord, RolloutFolder, write_atomic
from vla3d.evaluation.summary import summarise
from vla3d.evaluation.workers import WorkerPool, available_cores
from vla3d.optional import installed_versions, require
from vla3d.seeding import scene_seed, split_of

_VERSIONED = ("torch", "mujoco", "mujoco-warp", "warp-lang", "numpy", "transformers")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found and where it lies."""

    folder: Path
    summary: dict[str, Any]
    report: Path | None
    other_course: tuple[str, ...] = ()
    """Filmed episodes that, run again, did not repeat themselves."""


def evaluate(config: RolloutConfig) -> Evaluation:
    """Run, or finish, an evaluation.

    Raises:
        ConfigError: unknown names; factors that change nothing of a task; a folder that holds other settings; recorded states
            that are missing.
        CheckpointError: a checkpoint that cannot be opened.
        DatasetLockedError: another process is at work in the folder.
    """
    for task in config.tasks:
        if simulator_of(task) is None and task not in task_names():
            raise unknown_name("task", task, task_names())
        if config.factors or config.test_demos is not None or simulator_of(task) is not None:
            _try_out(task, config)  # refused here rather than in every worker
    settings = shared_settings(config)  # also opens the checkpoint's configuration: a wrong path fails before any work
    folder = RolloutFolder(config.out)
    jobs = plan(config)
    if config.rerun:
        require("rerun")  # better now than after all episodes
    config.out.mkdir(parents=True, exist_ok=True)
    with DatasetLock(config.out):
        folder.begin(settings)
        with _Team(config, len(jobs)) as team:
            records = _run_missing(config, folder, jobs, team)
            chosen = [record for episodes in records.values() for record in films(episodes, config.videos)]
            other_course = _film(config, folder, jobs, chosen, team)
        summary = {
            **summarise(records, settings),
            "checkpoint": None if config.checkpoint is None else str(config.checkpoint),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_atomic(config.out / "rollout.json", (json.dumps(summary, indent=2) + "\n").encode())
        report = None
        if config.report:
            from vla3d.evaluation.report import write_report

            report = write_report(config.out, compare=config.compare)
        return Evaluation(folder=config.out, summary=summary, report=report, other_course=tuple(other_course))


def shared_settings(config: RolloutConfig) -> dict[str, Any]:
    """What decides the outcome of an episode. Tasks and the number of episodes may grow from run to run and are not in it."""
    digest = None if config.checkpoint is None else checkpoint_digest(config.checkpoint)
    return {
        "policy": policy_name(config),
        "checkpoint_sha256": digest,
        "control": config.control,
        **({"graph": config.graph} if config.graph != "none" else {}),
        **({"factors": list(config.factors)} if config.factors else {}),
        **({"test_demos": str(config.test_demos)} if config.test_demos is not None else {}),
        # With repeats the number of episodes decides which one an index stands for.
        **({"repeats": config.repeats, "episodes": config.episodes} if config.repeats > 1 else {}),
        **({"verify": asdict(config.verify)} if config.verify.enabled else {}),
        "seed": config.seed,
        "states_sha256": None if config.states is None else _states_digest(config),
        "image_size": config.image_size,
        "renderer": config.renderer,
        "device": None if config.checkpoint is None else resolve_device(config.device),
        "versions": {"vla3d": __version__, **installed_versions(_VERSIONED)},
    }


def _try_out(task: str, config: RolloutConfig) -> None:
    """Make a task's environment, without images, and look whether it has the episodes.

    Raises:
        Vla3dError: it cannot be made, or has too few recorded episodes.
    """
    env = make_env(task, renderer=None, factors=config.factors, **config.recorded)
    recorded = env.recorded_episodes if isinstance(env, RecordedEpisodes) else 0
    env.close()
    if recorded and recorded < config.episodes:
        raise ConfigError(f"episodes: got {config.episodes}, but {config.test_demos} has {recorded} of {task}; ask for fewer.")


def plan(config: RolloutConfig) -> list[EpisodeJob]:
    """Every episode of the evaluation: on test seeds, which no training scene has, or from recorded initial states.

    Raises:
        ConfigError: when a recorded state is missing.
    """
    jobs = []
    for task in config.tasks:
        for index in range(config.episodes_in_all):
            state = None if config.states is None else _find_state(config.states, task, index)
            seed = scene_seed("test", config.seed, task, index) if state is None else _seed_of(state)
            keep = None if config.save_states is None else config.save_states / task / f"{index:04d}_{seed}.state"
            number = index % config.episodes
            jobs.append(EpisodeJob(task=task, index=index, seed=seed, state=state, save_state=keep, number=number))
    return jobs


def films(records: Sequence[EpisodeRecord], videos: str | int) -> list[EpisodeRecord]:
    """Which of a task's episodes to film (see ``RolloutConfig.videos``)."""
    if videos == "all":
        return list(records)
    failures = [r for r in records if not r.success]
    if videos == "failures":
        return failures
    number = 0 if videos == "none" else int(videos)
    successes = [r for r in records if r.success]
    return sorted([*successes[:number], *failures[:number]], key=lambda r: r.index)


class _Team:
    """The processes of an evaluation, started when the first job comes and kept for filming."""

    def __init__(self, config: RolloutConfig, most_jobs: int) -> None:
        self._config = config
        self._number = min(config.num_workers or available_cores(), most_jobs)
        self._stack = ExitStack()
        self._pool: WorkerPool[worker.Job, Any] | None = None

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def run(self, jobs: Sequence[worker.Job]) -> Iterator[tuple[worker.Job, Any]]:
        """Run every job and yield it with its result as it ends."""
        waiting = deque(jobs)
        if not waiting:
            return
        if self._pool is None:
            pool = WorkerPool(worker.work, self._number, initializer=worker.start, initargs=(self._config,))
            self._pool = self._stack.enter_context(pool)
        given: dict[int, worker.Job] = {}
        while waiting or given:
            while waiting and self._pool.free:
                job = waiting.popleft()
                given[self._pool.submit(job)] = job
            number, result = self._pool.next_result()
            yield given.pop(number), result


def _run_missing(
    config: RolloutConfig, folder: RolloutFolder, jobs: Sequence[EpisodeJob], team: _Team
) -> dict[str, list[EpisodeRecord]]:
    done = {(job.task, job.index): record for job in jobs if (record := _finished(folder, job)) is not None}
    missing = [job for job in jobs if (job.task, job.index) not in done]
    successes = sum(record.success for record in done.values())
    with tqdm(total=len(jobs), initial=len(done), desc="rollout", unit="episode", dynamic_ncols=True) as bar:
        for _, record in team.run(missing):
            done[record.task, record.index] = record
            successes += record.success
            bar.set_postfix_str(f"{successes}/{len(done)} succeeded", refresh=False)
            bar.update()
    return {task: [done[task, index] for index in range(config.episodes_in_all)] for task in config.tasks}


def _finished(folder: RolloutFolder, job: EpisodeJob) -> EpisodeRecord | None:
    if job.save_state is not None and not job.save_state.exists():
        return None  # the episode must run again for its initial state
    return folder.read(job.task, job.index)


def _film(
    config: RolloutConfig, folder: RolloutFolder, jobs: Sequence[EpisodeJob], records: list[EpisodeRecord], team: _Team
) -> list[str]:
    """Film the chosen episodes by running them again: only a few are worth the rendering, and which ones is known only now."""
    by_place = {(job.task, job.index): job for job in jobs}
    suffixes = [".mp4", *([".rrd"] if config.rerun else [])]
    missing = [r for r in records if not all(folder.file(r.task, r.index, suffix).exists() for suffix in suffixes)]
    if not missing:
        return []
    film_jobs = [worker.FilmJob(job=by_place[r.task, r.index], record=r) for r in missing]
    other = []
    with tqdm(total=len(film_jobs), desc="videos", unit="episode", dynamic_ncols=True) as bar:
        for job, same in team.run(film_jobs):
            if isinstance(job, worker.FilmJob) and not same:
                other.append(f"{job.record.task} {job.record.index}")
            bar.update()
    return other


def _find_state(states: Path, task: str, index: int) -> Path:
    found = sorted((states / task).glob(f"{index:04d}_*.state"))
    if len(found) != 1:
        raise ConfigError(
            f"states: got {len(found)} recorded states for episode {index} of {task} in {states}, expected one; "
            f"record them with save_states={states}, or ask for fewer episodes."
        )
    return found[0]


def _seed_of(state: Path) -> int:
    """The scene seed in the name of a recorded state; only test scenes are evaluated on."""
    seed = state.stem.split("_")[1]
    if not seed.isdecimal() or int(seed) >= 3 << 29 or split_of(int(seed)) != "test":
        raise ConfigError(
            f"states: got {state}, expected the seed of a test scene in its name; record it with save_states=DIR."
        )
    return int(seed)


def _states_digest(config: RolloutConfig) -> str:
    """Of all recorded states of the tasks, so that asking for more episodes later is still the same evaluation."""
    assert config.states is not None
    digest = hashlib.sha256()
    for path in sorted(config.states.glob("*/*.state")):
        digest.update(f"{path.relative_to(config.states)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
