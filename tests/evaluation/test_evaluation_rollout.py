"""An evaluation as a whole, in this process and on fake worlds: seeds, resuming, filming, states, refusals."""

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from evaluation_fakes import FakeEnv, Obedient

from vla3d.commands.rollout import rollout
from vla3d.data.locking import DatasetLock
from vla3d.errors import CheckpointError, ConfigError, DataError, DatasetLockedError
from vla3d.evaluation import rollout as rollout_module
from vla3d.evaluation import worker
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.policies import PolicySource, checkpoint_digest, policy_name
from vla3d.evaluation.results import RolloutFolder
from vla3d.evaluation.rollout import evaluate, films
from vla3d.seeding import scene_seed, split_of


class InProcess:
    """A ``WorkerPool`` without processes; it hands results back in reverse, as a busy pool may."""

    def __init__(self, function: Callable[[Any], Any], number: int, *, initializer: Callable[..., None], initargs: Any) -> None:
        initializer(*initargs)
        self._function, self._number = function, number
        self._given: deque[tuple[int, Any]] = deque()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def free(self) -> int:
        return self._number - len(self._given)

    def submit(self, job: Any) -> int:
        self._given.append((self._count, job))
        self._count += 1
        return self._count - 1

    def next_result(self) -> tuple[int, Any]:
        number, job = self._given.pop()
        return number, self._function(job)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Fakes in place of simulator and processes; lists every job that was done."""
    jobs: list[Any] = []

    def work(job: Any, real: Callable[[Any], Any] = worker.work) -> Any:
        result = real(job)
        jobs.append(job)
        return result

    monkeypatch.setattr(rollout_module, "task_names", lambda: ("fake", "other"))
    monkeypatch.setattr(rollout_module, "WorkerPool", InProcess)
    monkeypatch.setattr(worker, "make_env", lambda task, image_size, renderer, factors: FakeEnv(task, image_size))
    monkeypatch.setattr(worker, "work", work)
    return jobs


def config(out: Path, **changes: Any) -> RolloutConfig:
    values = {"tasks": ["fake", "other"], "out": out, "policy": "scripted", "episodes": 3, "videos": "none", "report": False}
    return RolloutConfig(**{**values, "image_size": 32, "num_workers": 2, **changes})


def test_rollout_leaves_what_it_promises(tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert rollout(config(tmp_path, report=True, videos=1)) == tmp_path
    summary = json.loads((tmp_path / "rollout.json").read_text())
    assert summary["mean_success"] == 1.0 and summary["policy"] == "scripted" and summary["control"] == "none"
    assert summary["tasks"]["other"]["successes"] == summary["tasks"]["other"]["episodes"] == 3
    assert "vla3d" in summary["versions"] and "numpy" in summary["versions"]
    assert summary["seeds"]["fake"] == [scene_seed("test", 1000, "fake", i) for i in range(3)]
    assert {split_of(seed) for seeds in summary["seeds"].values() for seed in seeds} == {"test"}
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(p.relative_to(tmp_path / "episodes").as_posix() for p in tmp_path.rglob("*.mp4")) == [
        "fake/0000.mp4",
        "other/0000.mp4",
    ]
    assert len(list(tmp_path.rglob("*.jpg"))) == 6
    printed = capsys.readouterr().out
    assert "all pooled  6/6      100 %  [61, 100] %" in printed and str(tmp_path / "report.html") in printed


def test_finished_episodes_are_not_run_again_and_results_do_not_depend_on_it(tmp_path: Path, started: list[Any]) -> None:
    evaluate(config(tmp_path / "once", policy="random", episodes=5))
    assert len(started) == 10
    started.clear()
    evaluate(config(tmp_path / "twice", policy="random", episodes=2))
    (tmp_path / "twice/episodes/fake/0001.json").unlink()
    evaluate(config(tmp_path / "twice", policy="random", episodes=5, num_workers=1))
    assert len(started) == 4 + 7
    both = [json.loads((tmp_path / name / "rollout.json").read_text()) for name in ("once", "twice")]
    for summary in both:
        del summary["finished"], summary["decision_milliseconds"]
    assert both[0] == both[1]


def test_a_killed_run_leaves_complete_episodes_only(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: FakeEnv, *args: Any, real: Callable[..., Any] = FakeEnv.step, **kwargs: Any) -> Any:
        if len(started) == 2:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(FakeEnv, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(config(tmp_path))
    assert len(list(tmp_path.rglob("000*.json"))) == 2 and not (tmp_path / "rollout.json").exists()
    assert evaluate(config(tmp_path)).summary["pooled"]["episodes"] == 6
    assert len(started) == 6


@pytest.mark.parametrize("changes", [{"control": "swap"}, {"seed": 5}, {"policy": "random"}, {"image_size": 64}])
def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path, started: list[Any], changes: dict[str, Any]) -> None:
    evaluate(config(tmp_path))
    before = (tmp_path / "rollout.json").read_bytes()
    with pytest.raises(ConfigError, match="other settings"):
        evaluate(config(tmp_path, **changes))
    assert (tmp_path / "rollout.json").read_bytes() == before and len(started) == 6


def test_controls_tell_listeners_from_the_deaf(tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PolicySource, "for_env", lambda self, env: Obedient("red"))
    found = {c: evaluate(config(tmp_path / c, control=c, episodes=10)).summary["pooled"] for c in ("none", "swap", "mask_text")}
    assert found["none"]["successes"] == found["swap"]["successes"] == 20
    assert found["swap"]["old_goal"]["successes"] == 0
    assert 0 < found["mask_text"]["successes"] < 15


def test_the_expert_is_deaf(tmp_path: Path, started: list[Any]) -> None:
    swapped = evaluate(config(tmp_path, control="swap")).summary
    assert swapped["pooled"]["successes"] == 0 and swapped["pooled"]["old_goal"]["successes"] == 6
    assert swapped["tasks"]["fake"]["failures"] == {"wrong_object": 3}


def test_filming_repeats_the_episode_that_was_counted(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PolicySource, "for_env", lambda self, env: Obedient("red"))
    found = evaluate(config(tmp_path, tasks=["fake"], control="mask_text", videos="all"))
    assert found.other_course == () and len(list(tmp_path.rglob("*.mp4"))) == 3
    records = [RolloutFolder(tmp_path).read("fake", i) for i in range(3)]
    started.clear()
    (tmp_path / "episodes/fake/0001.mp4").unlink()
    evaluate(config(tmp_path, tasks=["fake"], control="mask_text", videos="all"))
    assert [job.record.index for job in started] == [1]
    assert records == [RolloutFolder(tmp_path).read("fake", i) for i in range(3)], "filming must not touch what was counted"


def test_a_world_that_does_not_repeat_itself_is_reported(
    tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Whimsical(FakeEnv):
        def reset(self, *, seed: int, **kwargs: Any) -> Any:
            self.resets = getattr(self, "resets", 0) + 1
            return super().reset(seed=seed + self.resets, **kwargs)

    worker.make_env = lambda task, image_size, renderer, factors: Whimsical(task)  # restored by the fixture's monkeypatch
    rollout(config(tmp_path, tasks=["fake"], episodes=1, videos="all"))
    assert "took another course than the one counted (fake 0)" in capsys.readouterr().out


def test_which_episodes_are_filmed(tmp_path: Path, started: list[Any]) -> None:
    class Record:
        def __init__(self, index: int, success: bool) -> None:
            self.index, self.success = index, success

    records: Any = [Record(i, i % 3 == 0) for i in range(10)]  # successes 0 3 6 9
    chosen = {videos: [r.index for r in films(records, videos)] for videos in ("all", "failures", "none", 0, 2)}
    assert chosen == {"all": list(range(10)), "failures": [1, 2, 4, 5, 7, 8], "none": [], 0: [], 2: [0, 1, 2, 3]}


def test_recorded_states_are_evaluated_on(tmp_path: Path, started: list[Any]) -> None:
    first = evaluate(config(tmp_path / "a", policy="random", save_states=tmp_path / "states"))
    assert len(list((tmp_path / "states").rglob("*.state"))) == 6
    again = evaluate(config(tmp_path / "b", policy="random", states=tmp_path / "states", seed=77))
    assert again.summary["seeds"] == first.summary["seeds"]
    assert RolloutFolder(tmp_path / "a").read("fake", 2).actions == RolloutFolder(tmp_path / "b").read("fake", 2).actions  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"got 0 recorded states for episode 3 of fake.*save_states="):
        evaluate(config(tmp_path / "c", states=tmp_path / "states", episodes=4))
    next((tmp_path / "states/fake").glob("0000_*")).write_bytes(b"[]")
    with pytest.raises(ConfigError, match="states_sha256"):
        evaluate(config(tmp_path / "b", policy="random", states=tmp_path / "states", seed=77))


@pytest.mark.parametrize("seed", ["x", "9" * 12, str(3 << 29), str(scene_seed("train", 0, "fake", 0))])
def test_states_of_training_scenes_are_refused(tmp_path: Path, started: list[Any], seed: str) -> None:
    (tmp_path / "states/fake").mkdir(parents=True)
    (tmp_path / f"states/fake/0000_{seed}.state").write_bytes(b"")
    with pytest.raises(ConfigError, match="expected the seed of a test scene"):
        evaluate(config(tmp_path / "a", tasks=["fake"], episodes=1, states=tmp_path / "states"))


def test_states_are_recorded_for_episodes_that_ran_without(tmp_path: Path, started: list[Any]) -> None:
    evaluate(config(tmp_path / "a"))
    evaluate(config(tmp_path / "a", save_states=tmp_path / "states"))
    assert len(started) == 12 and len(list((tmp_path / "states").rglob("*.state"))) == 6


def test_user_errors_come_before_any_work(tmp_path: Path, started: list[Any]) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="Did you mean 'other'"):
        evaluate(config(out, tasks=["othr"]))
    with pytest.raises(ConfigError, match="Did you mean 'random'"):
        evaluate(config(out, policy="rndom"))
    with pytest.raises(CheckpointError):
        rollout(config(out, policy=None, checkpoint=tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="has weights; give checkpoint=RUN"):
        policy_name(config(out, policy="bridgevla"))
    assert not out.exists() and not started


def test_two_rollouts_in_one_folder(tmp_path: Path, started: list[Any]) -> None:
    with DatasetLock(tmp_path), pytest.raises(DatasetLockedError, match="is being written by process"):
        evaluate(config(tmp_path))
    assert not started and evaluate(config(tmp_path)).summary["mean_success"] == 1.0


def test_a_damaged_record_is_named(tmp_path: Path, started: list[Any]) -> None:
    evaluate(config(tmp_path))
    (tmp_path / "episodes/fake/0002.json").write_text("{")
    with pytest.raises(DataError, match=r"fake/0002\.json"):
        evaluate(config(tmp_path))


def test_digest_sees_every_byte_and_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "sub/b").write_bytes(b"3")
    first = checkpoint_digest(tmp_path)
    assert first == checkpoint_digest(tmp_path)
    (tmp_path / "sub/b").write_bytes(b"4")
    second = checkpoint_digest(tmp_path)
    (tmp_path / "sub/b").rename(tmp_path / "sub/c")
    assert len({first, second, checkpoint_digest(tmp_path)}) == 3
