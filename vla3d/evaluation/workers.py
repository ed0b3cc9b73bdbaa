"""A few processes that run episodes: one thread each, gone when their parent is, and a clear word when one dies.

Processes are spawned, never forked: simulators and torch do not survive a fork. A function and its jobs travel by pickle, so
the function stands at the top level of a module, as in::

    for index, result in run_jobs(run_episode, jobs, num_workers=2, initializer=start, initargs=(config,)):
        ...
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from vla3d.errors import Vla3dError, WorkerError

Job = TypeVar("Job")
Result = TypeVar("Result")

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PATIENCE_SECONDS = 5.0


def available_cores() -> int:
    """Cores that this process may use, which a container may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class _Worker(Generic[Job]):
    process: BaseProcess
    pipe: Connection
    job: tuple[int, Job] | None = None


class WorkerPool(Generic[Job, Result]):
    """Processes that each run one job at a time. Use it as a context manager.

    Unlike ``concurrent.futures`` it lets the caller decide on the next job when a worker is free, and on Ctrl-C or any error it
    stops running jobs at once.

    Args:
        function: called with a job in a worker; it stands at the top level of a module.
        num_workers: processes; 0 takes one per core.
        initializer: called once in every worker before its first job.
        initargs: arguments of ``initializer``.
    """

    def __init__(
        self,
        function: Callable[[Job], Result],
        num_workers: int = 0,
        *,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if num_workers < 0:
            raise ValueError(f"num_workers: got {num_workers}, expected 0 (one per core) or more.")
        self._number = num_workers or available_cores()
        self._arguments = (function, initializer, initargs)
        self._workers: list[_Worker[Job]] = []
        self._submitted = 0

    @property
    def free(self) -> int:
        """Workers without a job."""
        return sum(worker.job is None for worker in self._workers)

    @property
    def running(self) -> int:
        """Workers with a job."""
        return len(self._workers) - self.free

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        try:
            with _birth():
                for number in range(self._number):
                    ours, theirs = context.Pipe()
                    process = context.Process(
                        target=_serve, args=(theirs, *self._arguments), name=f"vla3d-worker-{number}", daemon=True
                    )
                    process.start()
                    theirs.close()
                    self._workers.append(_Worker(process, ours))
        except BaseException:
            self._stop(at_once=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop(at_once=error is not None or self.running > 0)

    def submit(self, job: Job) -> int:
        """Give a job to a free worker.

        Returns:
            The job's number, counting from 0.
        """
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job = (self._submitted, job)
        self._submitted += 1
        try:
            worker.pipe.send(job)
        except (BrokenPipeError, ConnectionResetError):
            raise self._death(worker) from None
        return worker.job[0]

    def next_result(self) -> tuple[int, Result]:
        """Wait for the next job to end: its number and its result.

        Raises:
            WorkerError: a worker died, or its job raised something that is no user's error.
            Vla3dError: what the job raised.
        """
        assert self.running, "no job is running"
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        deaths = {worker.process.sentinel: worker for worker in self._workers}
        ready = wait([*busy, *deaths])
        for pipe, worker in busy.items():
            if pipe in ready:
                return self._receive(worker)
        raise self._death(next(worker for sentinel, worker in deaths.items() if sentinel in ready))

    def _receive(self, worker: _Worker[Job]) -> tuple[int, Result]:
        assert worker.job is not None
        try:
            error, value = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._death(worker) from None
        if error is not None:
            raise error
        number, _ = worker.job
        worker.job = None
        return number, value

    def _death(self, worker: _Worker[Job]) -> WorkerError:
        worker.process.join(_PATIENCE_SECONDS)
        code = worker.process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        during = f" while it ran {worker.job[1]}" if worker.job is not None else ""
        memory = "; the machine may be out of memory: try fewer workers" if code == -signal.SIGKILL else ""
        return WorkerError(f"A worker process died ({how}){during}{memory}. Run the same command again to continue.")

    def _stop(self, *, at_once: bool) -> None:
        for worker in self._workers:
            worker.pipe.close()  # an idle worker ends when its pipe does
            if at_once:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    num_workers: int = 0,
    *,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[tuple[int, Result]]:
    """Run every job, in order, and yield ``(index, result)`` as they end, in any order.

    Args:
        function: called with a job in a worker; it stands at the top level of a module.
        jobs: what to run.
        num_workers: processes; 0 takes one per core. Never more than there are jobs.
        initializer: called once in every worker before its first job.
        initargs: arguments of ``initializer``.

    Raises:
        WorkerError: a worker died, or a job raised something that is no user's error.
        Vla3dError: what a job raised.
    """
    if not jobs:
        return
    waiting = deque(jobs)
    number = min(num_workers or available_cores(), len(jobs))
    with WorkerPool(function, number, initializer=initializer, initargs=initargs) as pool:
        while waiting or pool.running:
            while waiting and pool.free:
                pool.submit(waiting.popleft())
            yield pool.next_result()


@contextmanager
def _birth() -> Iterator[None]:
    """What spawned processes inherit: one thread per library (read when it loads), and no Ctrl-C while they load."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(
    pipe: Connection, function: Callable[[Any], Any], initializer: Callable[..., None] | None, initargs: tuple[Any, ...]
) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent alone decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Workers start no processes. Locks that libraries make in them (Blosc does) have a name in the system until the process
    # ends in good order, which a killed one does not, unless they are of the "fork" kind.
    multiprocessing.set_start_method("fork", force=True)
    started = False
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            break
        answer: tuple[Vla3dError | None, Any]
        try:
            if not started:
                if initializer is not None:
                    initializer(*initargs)
                started = True
                if "torch" in sys.modules:
                    sys.modules["torch"].set_num_threads(1)
            answer = (None, function(job))
        except Vla3dError as error:
            answer = (_portable(error), None)
        except Exception:
            answer = (WorkerError(f"A worker process failed while it ran {job}:\n{traceback.format_exc()}"), None)
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            break
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking down a simulator and torch object by object takes seconds, and nothing is left to lose


def _portable(error: Vla3dError) -> Vla3dError:
    """An error of the same type that certainly survives pickling."""
    try:
        return type(error)(str(error))
    except TypeError:
        return Vla3dError(str(error))


def _die_with_parent() -> None:
    """End this process as soon as its parent has ended, also by SIGKILL: an orphan must not go on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
