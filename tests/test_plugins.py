"""Someone else's package brings a task, two policies and their YAML: the one that the documentation writes, word for word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("your_own_task.md", "your_own_policy.md")
BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL
)


def blocks(page: str) -> list[re.Match[str]]:
    return list(BLOCK.finditer((DOCS / page).read_text()))


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that the pages describe, built and installed into a folder without the network."""
    source, site = tmp_path_factory.mktemp("my_lab"), tmp_path_factory.mktemp("site")
    for page in PAGES:
        for block in blocks(page):
            if block["title"]:
                path = source / block["title"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block["text"])
    for package in ("my_lab", "my_lab/configs"):
        (source / package / "__init__.py").write_text("")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        site,
        source,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return site


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pages' commands run, one after the other."""
    return tmp_path_factory.mktemp("desk")


def run(command: list[str], site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def vla3d(words: list[str], site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "vla3d", *words], site, folder)


def test_the_pages_do_what_they_say(distribution: Path, desk: Path) -> None:
    """Every command of both pages, in order, and then the Python that uses what they made."""
    done = []
    for page in PAGES:
        for block in blocks(page):
            if block["language"] == "sh":
                for line in block["text"].splitlines():
                    result = vla3d(line.split()[1:], distribution, desk)
                    assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
                    done.append((line, result.stdout))
            elif block["language"] == "python" and not block["title"]:
                result = run([sys.executable, "-c", block["text"]], distribution, desk)
                assert result.returncode == 0, result.stderr
                assert re.match(r".* (cube|block) (True|False) ", result.stdout)
    outputs = dict(done)
    assert len(outputs) == 7
    expert = next(output for line, output in done if "policy=scripted" in line)
    assert re.search(r"point_at +4/4 ", expert), "the page's task can be done"
    assert (desk / "runs" / "tiny" / "rollout" / "report.html").exists()
    assert list((desk / "runs" / "tiny" / "rollout").rglob("*.mp4"))


def test_mistyped_names_know_the_plugins(distribution: Path, tmp_path: Path) -> None:
    task = vla3d(["rollout", "policy=upright", "tasks=[point_att]"], distribution, tmp_path)
    assert task.returncode == 2 and "Did you mean 'point_at'?" in task.stderr
    policy = vla3d(["rollout", "policy=uprite", "tasks=[point_at]"], distribution, tmp_path)
    assert policy.returncode == 2 and "Did you mean 'upright'?" in policy.stderr
    search = "hydra.searchpath=[pkg://my_lab.configs]"
    option = vla3d(["train", "policy=tinny", search], distribution, tmp_path)
    assert option.returncode == 2 and "Did you mean 'tiny'?" in option.stderr
    key = vla3d(["train", "policy=tiny", "policy.widht=3", search], distribution, tmp_path)
    assert key.returncode == 2 and "Did you mean 'policy.width'?" in key.stderr


def test_a_folder_of_yaml_works_without_a_package(distribution: Path, tmp_path: Path) -> None:
    (tmp_path / "more" / "policy").mkdir(parents=True)
    (tmp_path / "more" / "policy" / "wide.yaml").write_text("defaults: [bridgevla_nano, _self_]\nhead_width: 128\n")
    shown = vla3d(["train", "--config-dir", "more", "policy=wide", "--cfg", "job", "-p", "policy"], distribution, tmp_path)
    assert shown.returncode == 0 and "head_width: 128" in shown.stdout and "name: bridgevla" in shown.stdout


def test_a_policy_that_cannot_be_trained_says_so(distribution: Path, desk: Path, tmp_path: Path) -> None:
    done = vla3d(["train", "policy.name=upright", "data=nowhere", "out=run"], distribution, tmp_path)
    assert done.returncode == 2 and "no weights to train" in done.stderr
