"""The collector ends at the same bytes, whatever happens on the way."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_keyframe_env as fakes
import pytest
from fake_keyframe_env import files

from vla3d.commands import collect as command
from vla3d.data import DemoDataset, describe_dataset
from vla3d.data.locking import DatasetLock
from vla3d.errors import ConfigError, DataError, DatasetLockedError, WorkerError
from vla3d.evaluation.collect import CollectReport, closing_table, collect
from vla3d.evaluation.collect_config import CollectConfig
from vla3d.seeding import scene_seed

TASKS = ("lift", "draw")
EPISODES = 7


def run(out: Path, factory: Callable[..., Any] = fakes.make_fake_env, **changes: Any) -> CollectReport:
    settings = {"tasks": TASKS, "episodes": EPISODES, "num_workers": 1, "image_size": 16, **changes}
    return collect(CollectConfig(out=out, **settings), env_factory=factory, progress=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one worker that nobody disturbs collects."""
    out = tmp_path_factory.mktemp("undisturbed") / "demos"
    run(out)
    return out


def test_keeps_the_first_successes_in_attempt_order(undisturbed: Path) -> None:
    dataset = DemoDataset(undisturbed)
    for task in TASKS:
        outcomes = {k: fakes.outcome(scene_seed("train", 0, task, k)) for k in range(40)}
        kept = [k for k, failure in outcomes.items() if failure is None][:EPISODES]
        assert [ref.attempt for ref in dataset.episodes([task])] == kept
        assert dataset.failures(task) == {k: outcomes[k] for k in range(kept[-1]) if outcomes[k] is not None}
        assert dataset.failures(task), "the fake must fail now and then, or this test shows nothing"
        for ref in dataset.episodes([task]):
            info = dataset.info(ref)
            assert info.seed == scene_seed("train", 0, task, ref.attempt)
            assert info.metadata["attempt"] == ref.attempt
            assert len(info.keyframes) == 4


@pytest.mark.parametrize("workers", [2, 3])
def test_timing_and_workers_change_no_byte(tmp_path: Path, undisturbed: Path, workers: int) -> None:
    report = run(tmp_path / "demos", fakes.make_slow_env, num_workers=workers)
    assert files(tmp_path / "demos") == files(undisturbed)
    assert report.new_episodes == 2 * EPISODES
    assert report.camera_frames == 2 * EPISODES * 13 * 2
    assert sum(report.new_failures.values()) == sum(sum(task.failures.values()) for task in report.tasks)
    assert 0 < report.frames_per_second < report.camera_frames


def test_nothing_in_it_tells_when_where_or_by_whom(undisturbed: Path) -> None:
    texts = [content.decode() for name, content in files(undisturbed).items() if name.endswith("zarr.json")]
    assert not any(re.search(rf"\b{re.escape(os.uname().nodename)}\b", text) for text in texts)
    assert not any(str(undisturbed.parent) in text for text in texts)
    assert not any(path.name.startswith(".") and path.name != ".lock" for path in undisturbed.rglob("*"))
    assert (undisturbed / ".lock").read_bytes() == b""


def test_more_later_equals_more_at_once(tmp_path: Path, undisturbed: Path) -> None:
    run(tmp_path / "demos", tasks=["draw"], episodes=2)
    assert run(tmp_path / "demos", tasks=["draw", "lift"], episodes=4).new_episodes == 6
    run(tmp_path / "demos")
    assert files(tmp_path / "demos") == files(undisturbed)
    again = run(tmp_path / "demos", fakes.make_dying_env)  # nothing is missing, so nothing is started
    assert again.new_episodes == 0
    assert closing_table(again).endswith("Nothing was missing.")
    assert run(tmp_path / "demos", episodes=3).new_episodes == 0
    assert files(tmp_path / "demos") == files(undisturbed)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"image_size": 8}, {"renderer": "raycast"}])
def test_another_request_is_refused(undisturbed: Path, changes: dict[str, Any]) -> None:
    before = files(undisturbed)
    (name,) = changes
    with pytest.raises(ConfigError, match=f"was collected with {name}=.*; choose another out=DIR"):
        run(undisturbed, **changes)
    assert files(undisturbed) == before


def test_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'pick_and_lift'"):
        collect(CollectConfig(tasks=["pick_and_lfit"], out=tmp_path / "demos"))
    assert not (tmp_path / "demos").exists()


def test_second_collector_is_refused(undisturbed: Path) -> None:
    with DatasetLock(undisturbed), pytest.raises(DatasetLockedError, match="is being written by process"):
        run(undisturbed)


def start_program(out: Path, factory: str = "make_slow_env") -> subprocess.Popen[str]:
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, str(here / "collect_program.py"), str(out), str(EPISODES), "2", factory],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{os.getcwd()}:{here}"},
    )


def wait_for_episodes(out: Path, number: int, program: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(out.glob("*/0*"))) < number and program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_killed_again_and_again_it_ends_at_the_same_bytes(tmp_path: Path, undisturbed: Path) -> None:
    """SIGKILL to the collector alone (its workers must not live on) or to all of them, at moments spread over the run."""
    out = tmp_path / "demos"
    pick = random.Random(0)
    kills = 0
    for stored in (1, 3, 5, 8, 11):
        program = start_program(out)
        wait_for_episodes(out, stored, program)
        time.sleep(pick.uniform(0, 0.1))
        if program.poll() is None:
            kills += 1
            if stored % 2:
                program.kill()
            else:
                os.killpg(program.pid, signal.SIGKILL)
        _, errors = program.communicate()
        assert "leaked" not in errors, errors
        for ref in DemoDataset(out).episodes():
            DemoDataset(out).verify(ref)  # what is there is whole
    assert kills >= 3
    run(out)
    assert files(out) == files(undisturbed)


def test_ctrl_c_keeps_the_state(tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "demos"
    program = start_program(out)
    wait_for_episodes(out, 3, program)
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT  # the interrupt went through to the caller, the command line
    assert errors.count("Traceback") == 1, errors
    assert "leaked" not in errors, errors
    assert not (out / ".partial").exists()
    stored = len(DemoDataset(out).episodes())
    assert stored >= 3
    assert run(out).new_episodes == 2 * EPISODES - stored
    assert files(out) == files(undisturbed)


def test_the_command_says_that_it_stopped(tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupted(config: CollectConfig) -> CollectReport:
        raise KeyboardInterrupt

    monkeypatch.setattr("vla3d.evaluation.collect.collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.collect(CollectConfig(tasks=TASKS, out=tmp_path))
    assert "run the same command again to continue" in capsys.readouterr().out


def test_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "demos"
    run(out, tasks=["draw"], episodes=3)
    before = files(out)
    with pytest.raises(DataError, match=r"File too large\. Everything stored before is intact; make room") as caught:
        run(out, fakes.make_full_disk_env)
    assert "\n" not in str(caught.value)
    after = files(out)
    assert {name: after[name] for name in before} == before
    assert not any(".partial" in name for name in after)
    run(out)
    assert files(out) == files(undisturbed)


def test_a_broken_simulator_and_a_dead_worker_are_told(tmp_path: Path, undisturbed: Path) -> None:
    with pytest.raises(WorkerError, match=r"failed while it ran (lift|draw)/0000(.|\n)*the fake simulator broke"):
        run(tmp_path / "demos", fakes.make_raising_env)
    with pytest.raises(WorkerError, match="killed by SIGKILL"):
        run(tmp_path / "demos", fakes.make_dying_env)
    run(tmp_path / "demos")
    assert files(tmp_path / "demos") == files(undisturbed)


def test_a_hopeless_task_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lift: 5 attempts in a row failed \(timeout 5\)"):
        run(tmp_path / "demos", fakes.make_hopeless_env, max_failures_in_a_row=5)
    with pytest.raises(DataError, match="lift: 5 attempts in a row failed"):
        run(tmp_path / "demos", max_failures_in_a_row=5)
    assert run(tmp_path / "demos", max_failures_in_a_row=25, episodes=1).tasks[0].failures["timeout"] >= 5


def test_cap_on_the_size_of_a_demonstration(tmp_path: Path) -> None:
    report = run(tmp_path / "warn", tasks=["lift"], episodes=4, max_mb_per_demo=0.01)
    assert len(report.over_cap) == 4 == report.new_episodes
    assert "4 demonstrations are larger than max_mb_per_demo: lift/0000" in closing_table(report)
    with pytest.raises(DataError, match=r"got 0\.\d+ MB, expected at most 0.01; raise max_mb_per_demo"):
        run(tmp_path / "fail", tasks=["lift"], episodes=4, max_mb_per_demo=0.01, over_cap="fail")
    assert DemoDataset(tmp_path / "fail").episodes() == []
    assert run(tmp_path / "fail", tasks=["lift"], episodes=4).over_cap == ()
    assert files(tmp_path / "fail") == files(tmp_path / "warn")


def test_damaged_or_deleted_episodes_come_back(tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "demos"
    run(out)
    first, second, *_ = DemoDataset(out).episodes()
    shard = next(path for path in first.folder(out).rglob("*") if path.is_file() and path.name != "zarr.json")
    shard.write_bytes(shard.read_bytes()[:50])
    for path in sorted(second.folder(out).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    second.folder(out).rmdir()
    (out / "lift" / "zarr.json").write_text("{ damaged")
    assert run(out).new_episodes == 2
    assert files(out) == files(undisturbed)


def test_description(undisturbed: Path, tmp_path: Path) -> None:
    text = describe_dataset(undisturbed)
    assert "schema version 1" in text
    assert "request: collector=expert, image_size=16, rate_hz=10, renderer=warp, seed=0\n" in text
    assert "cameras: front 16x16, wrist 16x16" in text
    assert "no damaged episodes (all checksums match)" in text
    draw = next(line for line in text.splitlines() if line.startswith("draw "))
    assert draw.split()[1:2] + draw.split()[5:8] == ["7", str(7 * 13), str(7 * 4), str(7 * 13 * 2)]
    assert draw.split()[2] == str(len(DemoDataset(undisturbed).failures("draw")))
    run(tmp_path / "demos", tasks=["lift"], episodes=2)
    ref = DemoDataset(tmp_path / "demos").episodes()[0]
    shard = next(path for path in ref.folder(tmp_path / "demos").rglob("c.0*"))
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    text = describe_dataset(tmp_path / "demos")
    assert "1 damaged episodes" in text
    assert f"Episode {ref}" in text
    assert "no damaged episodes (files not looked at)" in describe_dataset(tmp_path / "demos", verify=False)
