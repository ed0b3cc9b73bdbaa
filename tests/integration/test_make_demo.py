"""`make demo` at a size that takes minutes: from nothing to a report, and again after an interruption."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TASKS = ("pick_and_lift", "place_in_container", "open_drawer")


def make_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the target with the installation that runs the tests (``-o`` takes its stamp for new)."""
    virtual = Path(sys.prefix)
    sizes = [
        "DEMOS=2",
        "EPISODES=2",
        "CONTROL_EPISODES=1",
        "TRAIN=experiment=tabletop3 demos.episodes=2 steps=4 trainer.batch_size=4",
    ]
    command = ["make", "-o", f"{virtual}/.installed", "demo", f"VENV={virtual}", f"DEMO={folder}", *sizes]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "MAKEFLAGS": ""})


@pytest.mark.slow
def test_make_demo_leaves_a_report_and_goes_on_where_it_was(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    first = make_demo(demo)
    assert first.returncode == 0, first.stderr
    assert first.stdout.rstrip().endswith(f"The report: {demo}/report.html")
    assert f"{demo}/report.html" in first.stdout
    summary = json.loads((demo / "rollout.json").read_text())
    assert set(summary["tasks"]) == set(TASKS)
    assert all(summary["tasks"][task]["episodes"] == 2 for task in TASKS)
    assert 0.0 <= summary["mean_success"] <= 1.0
    report = (demo / "report.html").read_text()
    assert "swap" in report and "mask_text" in report

    # As if it had been interrupted: the last part of the work is gone, and only that part is done again.
    (demo / "report.html").unlink()
    kept = {path: path.stat().st_mtime_ns for path in (demo / "demos").rglob("*") if path.is_file() and path.name != ".lock"}
    checkpoints = sorted((demo / "train" / "checkpoints").iterdir())
    again = make_demo(demo)
    assert again.returncode == 0, again.stderr
    assert "Nothing was missing." in again.stdout
    assert (demo / "report.html").exists()
    assert sorted((demo / "train" / "checkpoints").iterdir()) == checkpoints
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
