"""The pages keep their word: their Python runs, their commands compose, their links lead somewhere.

The pages on tasks and policies of one's own are run by test_plugins.py.
"""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vla3d.cli import COMMANDS
from vla3d.commands.composition import compose
from vla3d.envs.registration import task_names

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += sorted((ROOT / "policies").rglob("*.md"))
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def python_blocks(page: Path) -> list[str]:
    """Programs; those that belong to a file of a package are run elsewhere."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("README.md", "True None\n"),
        ("docs/how_it_works.md", "torch.Size([1, 3, 3, 64, 64])\n"),
        ("docs/point_operations.md", "torch.Size([2, 256, 32, 3])\n"),
        ("docs/scene_graphs.md", "purple cube is in orange box\n"),
        ("docs/scene_language.md", "True\n"),
        ("docs/verification.md", "True\n"),
        ("docs/scene_graph_pretraining.md", "True\n"),
    ],
)
def test_programs_run(page: str, printed: str, tmp_path: Path) -> None:
    (program,) = python_blocks(ROOT / page)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(printed)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_compose(page: Path) -> None:
    """Every key and option that a page types exists."""
    composing = "|".join(name for name, command in COMMANDS.items() if command.config)
    for line in re.findall(rf"(?:^|`)(vla3d (?:{composing}) [^`\n]*)", page.read_text(), flags=re.MULTILINE):
        words = shlex.split(line, comments=True)[1:]
        # Without what comes from the package of docs/your_own_policy.md, and without flags.
        keys = [word for word in words[1:] if "=" in word and not word.startswith(("hydra.", "policy=tiny"))]
        command = COMMANDS[words[0]]
        command = command.parts.get(words[1], command) if len(words) > 1 else command
        shorthands = command.shorthands
        keys = [f"{shorthands.get(key, key)}={value}" for key, _, value in (word.partition("=") for word in keys)]
        assert compose(words[0], command.config, keys) is not None


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_every_command_and_task() -> None:
    text = (ROOT / "README.md").read_text()
    assert not [name for name in COMMANDS if f"vla3d {name}" not in text]
    assert not [task for task in task_names() if f"`{task}`" not in text]


def test_the_page_of_the_tasks_is_what_the_classes_say() -> None:
    task_page = runpy.run_path(str(ROOT / "benchmarks" / "task_page.py"))
    text = task_page["page"](task_page["built_in"]())
    assert (ROOT / "docs" / "tasks.md").read_text() == text, f"write it again: {task_page['COMMAND']}"
    assert (ROOT / "docs" / "tasks.png").stat().st_size < 400_000


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for line in re.findall(r"^make ([a-z -]+?)(?:\s{2,}#.*)?$", page.read_text(), flags=re.MULTILINE):
            for target in line.split():
                assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page.name} names make {target}"


def test_agents_md_is_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) <= 60
