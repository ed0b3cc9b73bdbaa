"""The worker pool: results, errors, deaths, and nobody left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import worker_functions as functions

from vla3d.errors import ConfigError, WorkerError
from vla3d.evaluation.workers import WorkerPool, available_cores, run_jobs


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_every_job_once_with_its_index() -> None:
    jobs = [10, 20, 30, 40, 50]
    found = dict(run_jobs(functions.add, jobs, 2, initializer=functions.start, initargs=(5,)))
    assert found == {0: 15, 1: 25, 2: 35, 3: 45, 4: 55}
    assert multiprocessing.active_children() == []
    assert list(run_jobs(functions.add, [], 2)) == []


def test_a_slow_job_holds_nobody_up() -> None:
    order = [index for index, _ in run_jobs(functions.sleepy, [0.8, 0.0, 0.0, 0.0], 2)]
    assert order[-1] == 0
    assert sorted(order) == [0, 1, 2, 3]


def test_one_thread_each(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = dict(os.environ)
    assert dict(run_jobs(functions.threads, [0], 1)) == {0: (1, "1")}
    assert dict(os.environ) == before  # this process keeps its own threads


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        ("user", ConfigError, "a wrong value"),
        ("bug", WorkerError, "failed while it ran bug:\n(.|\n)*ZeroDivisionError: an honest bug"),
        ("kill", WorkerError, "died .killed by SIGKILL. while it ran kill; the machine may be out of memory"),
        ("exit", WorkerError, "died .exit code 3. while it ran exit"),
    ],
)
def test_errors_come_home(job: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(run_jobs(functions.trouble, [job, "fine"], 1))
    assert multiprocessing.active_children() == []


def test_initializer_errors_come_home() -> None:
    with pytest.raises(ConfigError, match="no such policy"):
        list(run_jobs(functions.add, [1], 1, initializer=functions.start_badly))


def test_running_jobs_are_stopped_when_the_caller_leaves() -> None:
    started = time.monotonic()
    results = run_jobs(functions.sleepy, [0.0, 60.0], 2)
    _, pid = next(results)
    results.close()
    assert time.monotonic() - started < 20
    assert not alive(pid)
    assert multiprocessing.active_children() == []


def test_an_idle_worker_that_dies_is_noticed() -> None:
    with pytest.raises(WorkerError, match="killed by SIGKILL"), WorkerPool(functions.sleepy, 2) as pool:
        pool.submit(0.0)
        pool.submit(0.5)
        _, idle = pool.next_result()
        os.kill(idle, signal.SIGKILL)
        pool.next_result()


def test_numbers() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    with pytest.raises(ValueError, match="num_workers: got -1"):
        WorkerPool(functions.add, -1)


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
import worker_functions as functions
from vla3d.evaluation.workers import WorkerPool
if __name__ == "__main__":
    with WorkerPool(functions.sleepy, 2) as pool:
        pool.submit(0.0)
        pool.submit(0.0)
        print(pool.next_result()[1], pool.next_result()[1], flush=True)
        pool.submit(60.0)
        pool.next_result()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, sent: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    here = str(Path(__file__).parent)
    parent = subprocess.Popen(
        [sys.executable, str(script), here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    if sent == signal.SIGINT:
        os.killpg(parent.pid, sent)  # as a terminal does
    else:
        parent.send_signal(sent)
    _, errors = parent.communicate(timeout=20)
    assert gone(workers)
    if sent == signal.SIGINT:
        assert errors.count("KeyboardInterrupt") == 1, errors  # the parent's alone
