"""From another program's demonstrations to a policy and its figures, on the command line, without converting anything."""

import json
import re
from pathlib import Path

import pytest
import rlbench_demos
from test_bad_input import SMALL

from vla3d import cli

TASKS = ("open_drawer", "close_jar")
WORKSPACE = ("policy.workspace_low=[-0.3,-0.5,0.6]", "policy.workspace_high=[0.7,0.5,1.6]", "policy.cameras=[front,wrist]")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rlbench")
    for task in TASKS:
        rlbench_demos.write_peract(root, task, 2, size=(32, 32))
    return root


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    words = (
        "train",
        f"data={root}",
        f"out={out}",
        "steps=2",
        "demos.validation_share=0.5",
        "demos.stride=4",
        *SMALL,
        *WORKSPACE,
    )
    assert cli.main(words) == 0
    return out


def test_a_run_remembers_its_demonstrations(run: Path) -> None:
    settings = json.loads((run / "trainer.json").read_text())["settings"]
    assert settings["request"] == {"format": "rlbench"}
    assert settings["train_episodes"] == ["close_jar/000000", "open_drawer/000000"]
    # Keyframes 3, 6, 11 and a sample every 4 steps: 0; 3; 6, 10.
    assert settings["num_samples"] == 2 * 4


def test_it_is_evaluated_on_those_it_held_out(run: Path, tmp_path: Path) -> None:
    assert cli.main(("evaluate", f"checkpoint={run}", f"out={tmp_path / 'out'}", "report=false")) == 0
    found = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    assert found["settings"]["demos"] == ["close_jar/000001", "open_drawer/000001"]


def test_a_single_task_is_shown_and_described(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ("view", str(root / "close_jar"), f"out={tmp_path}", "format=png", "episode=1")
    assert cli.main(words) == 0 and (tmp_path / "close_jar_0001.png").stat().st_size > 1_000
    assert cli.main(("info", str(root))) == 0
    assert "demonstrations, format rlbench" in capfd.readouterr().out


def test_chains_are_added_on_request(root: Path, tmp_path: Path) -> None:
    words = ("train", f"data={root}", f"out={tmp_path / 'run'}", "steps=1", "demos.validation_share=0", "demos.stride=4")
    assert (
        cli.main((*words, "demos.chain_duplicates=true", "demos.tasks=[close_jar]", "demos.episodes=1", *SMALL, *WORKSPACE))
        == 0
    )
    settings = json.loads((tmp_path / "run" / "trainer.json").read_text())["settings"]
    assert settings["num_samples"] == 3 + 2 + 1  # starts 0, 4 and 8 before the keyframes 3, 6, 11


def test_the_program_of_the_page_runs(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "your_own_demos.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    exec(program.replace("/data/rlbench", str(root)), {})
    assert "open_drawer/000001 open the top drawer 12 (3, 6, 11)" in capfd.readouterr().out


def test_demonstrations_without_a_camera_are_refused(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = (
        "train",
        f"data={root}",
        f"out={tmp_path / 'run'}",
        "steps=1",
        *SMALL,
        *WORKSPACE,
        "policy.cameras=[front,overhead]",
    )
    assert cli.main(words) == 2
    assert "Unknown camera of episode close_jar/000000 'overhead'" in capfd.readouterr().err
