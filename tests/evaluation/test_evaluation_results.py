"""Records on disk, and the summary that is made of them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vla3d.errors import ConfigError, DataError
from vla3d.evaluation.results import ActionRecord, EpisodeRecord, RolloutFolder, write_atomic
from vla3d.evaluation.statistics import wilson_interval
from vla3d.evaluation.summary import success_table, summarise

SETTINGS = {"policy": "random", "control": "none", "seed": 1000, "versions": {"vla3d": "0.1"}}
ACTION = ActionRecord(
    position=(0.1, 1 / 3, 1e-17),
    quaternion=(0.0, 1.0, 0.0, 0.0),
    gripper_open=True,
    ignore_collisions=False,
    answer="move",
    failure=None,
)


def record(index: int = 0, success: bool = True, **changes: Any) -> EpisodeRecord:
    values: dict[str, Any] = {
        "task": "lift",
        "index": index,
        "seed": 7 + index,
        "variation": 0,
        "instruction": "lift the red ball",
        "shown": "lift the red ball",
        "success": success,
        "old_goal": success,
        "failure": None if success else "timeout",
        "answer": None,
        "actions": (ACTION, ACTION),
        "decision_seconds": 0.01,
        "seconds": 1.0,
    }
    return EpisodeRecord(**{**values, **changes})


def test_records_come_back_exactly(tmp_path: Path) -> None:
    folder = RolloutFolder(tmp_path)
    assert folder.read("lift", 3) is None
    folder.write(record(3))
    assert folder.read("lift", 3) == record(3)


def test_a_record_from_before_absence_was_told_is_read(tmp_path: Path) -> None:
    folder = RolloutFolder(tmp_path)
    folder.write(record(0, absence=0.25))
    assert folder.read("lift", 0) == record(0, absence=0.25)
    path = folder.file("lift", 0, ".json")
    stored = json.loads(path.read_text())
    del stored["absence"]
    path.write_text(json.dumps(stored))
    assert folder.read("lift", 0) == record(0)
    for change in ({"surprise": 1}, {"seed": None}):
        wrong = {key: value for key, value in {**stored, **change}.items() if value is not None or key not in change}
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match="expected exactly the keys"):
            folder.read("lift", 0)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"task": "lift"}'])
def test_damaged_records_name_the_file(tmp_path: Path, content: str) -> None:
    folder = RolloutFolder(tmp_path)
    folder.write(record())
    folder.file("lift", 0, ".json").write_text(content)
    with pytest.raises(DataError, match=r"0000\.json is not an episode record.*Delete it"):
        folder.read("lift", 0)


def test_atomic_write_leaves_the_old_file_and_no_litter_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_folder_refuses_other_settings_and_keeps_its_own(tmp_path: Path) -> None:
    folder = RolloutFolder(tmp_path)
    folder.begin(SETTINGS)
    folder.begin(dict(reversed(SETTINGS.items())))
    folder.begin({**SETTINGS, "control": "swap"})  # nothing was run yet
    folder.begin(SETTINGS)
    folder.write(record(0))
    with pytest.raises(ConfigError, match=r"control was 'none' and is now 'swap'.*another out"):
        folder.begin({**SETTINGS, "control": "swap"})
    assert folder.settings() == SETTINGS


def test_missing_summary_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rollout\.json cannot be read"):
        RolloutFolder(tmp_path).summary()
    (tmp_path / "rollout.json").write_text("[]")
    with pytest.raises(DataError, match="one JSON object"):
        RolloutFolder(tmp_path).summary()


def test_summary_counts_by_hand() -> None:
    records = {
        "lift": [record(0), record(1), record(2, False, failure="collision"), record(3, False, answer="absent")],
        "open": [
            record(0, False, task="open"),
            record(1, False, task="open"),
            record(2, True, task="open", decision_seconds=0.05),
        ],
    }
    summary = json.loads(json.dumps(summarise(records, SETTINGS)))
    assert summary["mean_success"] == pytest.approx((2 / 4 + 1 / 3) / 2)
    lift, pooled = summary["tasks"]["lift"], wilson_interval(3, 7)
    assert (lift["successes"], lift["episodes"], lift["rate"]) == (2, 4, 0.5)
    assert lift["interval"] == [wilson_interval(2, 4).low, wilson_interval(2, 4).high]
    assert lift["failures"] == {"collision": 1, "timeout": 1}
    assert lift["answers"] == {"absent": 1}
    assert (summary["pooled"]["successes"], summary["pooled"]["interval"]) == (3, [pooled.low, pooled.high])
    assert summary["seeds"]["lift"] == [7, 8, 9, 10]
    assert summary["decision_milliseconds"] == pytest.approx(1000 * (6 * 0.01 + 0.05) / 7)
    assert summary["versions"] == {"vla3d": "0.1"} and summary["settings"]["seed"] == 1000
    assert "old_goal" not in lift


def test_swap_scores_the_old_goal_beside() -> None:
    episodes = [record(0, True, old_goal=False), record(1, False, old_goal=True, failure="wrong_object")]
    summary = summarise({"lift": episodes}, {**SETTINGS, "control": "swap"})
    assert summary["tasks"]["lift"]["old_goal"]["rate"] == 0.5
    assert summary["pooled"]["old_goal"]["successes"] == 1
    assert "old goal" in success_table(summary)


def test_where_the_answer_is_the_success_the_table_says_so() -> None:
    episodes = [record(0, True, old_goal=False, answer="absent"), record(1, False, failure="wrong_object")]
    summary = summarise({"lift": episodes}, {**SETTINGS, "control": "absent"})
    assert summary["tasks"]["lift"]["answers"] == {"absent": 1} and "old_goal" not in summary["pooled"]
    assert "answered absent" in success_table(summary).splitlines()[0]
    assert "answered absent" not in success_table(summarise({"lift": episodes}, SETTINGS))


def test_table_is_aligned_and_complete() -> None:
    records = {"lift": [record(i, i % 2 == 0) for i in range(10)], "open_the_drawer": [record(0)]}
    lines = success_table(summarise(records, SETTINGS)).splitlines()
    assert lines[0].split("  ")[0] == "task" and set(lines[1]) <= {"-", " "}
    assert lines[2].split() == ["lift", "5/10", "50", "%", "[24,", "76]", "%", "timeout", "5"]
    assert lines[3].endswith("none") and lines[-1].startswith("all pooled       6/11")
    column = lines[0].index("success")
    assert all(line[column - 1] == " " for line in lines)
