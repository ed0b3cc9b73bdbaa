"""What is installed: vla3d and nothing else, whole, from whichever side one looks."""

import configparser
import importlib
import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from vla3d.cli import COMMANDS

ROOT = Path(__file__).parents[1]
MAPPED = ("configs", "envs", "policies", "scene_graphs")


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def packages_in_the_tree() -> set[str]:
    """Every folder with Python files, as the package it is installed as."""
    found = set()
    for folder in ("vla3d", *MAPPED):
        for path in (ROOT / folder).rglob("*.py"):
            relative = path.parent.relative_to(ROOT)
            if not any(parent.is_symlink() for parent in (relative, *relative.parents)):
                found.add(".".join(relative.parts if folder == "vla3d" else ("vla3d", *relative.parts)))
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from what git knows and what it does not ignore, without the network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                target.symlink_to(os.readlink(ROOT / name))
            else:
                target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", out, source],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked where nothing else is."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


# The list


def test_setup_lists_every_package() -> None:
    listed = setup()["options"]["packages"].split()
    assert len(listed) == len(set(listed))
    assert set(listed) == packages_in_the_tree()


def test_every_folder_of_the_library_is_a_package_with_an_init() -> None:
    without = [name for name in packages_in_the_tree() if not (ROOT / name.replace(".", "/") / "__init__.py").exists()]
    assert not without


# The wheel


def test_the_wheel_installs_vla3d_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"vla3d", next(top for top in tops if top.endswith(".dist-info"))}
    top_level = next(name for name in wheel.namelist() if name.endswith("top_level.txt"))
    assert wheel.read(top_level).decode().split() == ["vla3d"]


def test_the_wheel_holds_every_file_once(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert len(names) == len(set(names))
    expected = {"vla3d/py.typed", "vla3d/evaluation/report.css", "vla3d/evaluation/report.html.j2"}
    for folder in ("vla3d", *MAPPED):
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.yaml")]:
            relative = path.relative_to(ROOT)
            if not any(parent.is_symlink() for parent in relative.parents):
                expected.add(str(relative if folder == "vla3d" else "vla3d" / relative))
    assert expected <= set(names)
    assert not [name for name in names if "__pycache__" in name or "test" in Path(name).name]


def test_no_other_data_file_is_left_behind(wheel: zipfile.ZipFile) -> None:
    """A new template or style sheet must be listed in setup.cfg, or installed copies break."""
    data = set()
    for folder in ("vla3d", *MAPPED):
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT)
            linked = any(parent.is_symlink() for parent in (relative, *relative.parents))
            if path.is_file() and not linked and path.suffix not in (".py", ".pyc", ".md"):
                data.add(str(relative if folder == "vla3d" else "vla3d" / relative))
    assert data <= set(wheel.namelist())


def test_the_metadata(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(wheel.read(next(n for n in wheel.namelist() if n.endswith("METADATA"))).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    assert {"viz", "wandb", "tensorboard", "open3d", "ray", "test", "dev", "all"} <= set(metadata.get_all("Provides-Extra"))
    assert not [line for line in metadata.get_all("Requires-Dist") if " @ " in line], "a package index refuses addresses"


def test_an_installed_copy_works_by_itself(installed: Path, tmp_path: Path) -> None:
    """From the unpacked wheel alone: the command line, its YAML, and where the code came from."""
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import vla3d, vla3d.envs.base; from vla3d.cli import main; "
        "print(vla3d.envs.base.__file__); sys.exit(main(['train', '--cfg', 'job', 'experiment=tabletop3']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(installed / "vla3d" / "envs" / "base.py")
    assert "name: bridgevla" in done.stdout


def test_the_console_script_points_at_the_command(wheel: zipfile.ZipFile) -> None:
    points = wheel.read(next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))).decode()
    assert re.search(r"\[console_scripts\]\s+vla3d = vla3d\.cli:main", points)


def test_python_m_vla3d_works_from_a_clone(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "vla3d", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and all(name in done.stdout for name in COMMANDS)


# The links and the guards


@pytest.mark.parametrize("name", MAPPED)
def test_links_are_relative_and_committed(name: str) -> None:
    link = ROOT / "vla3d" / name
    assert link.is_symlink() and os.readlink(link) == f"../{name}"
    mode = subprocess.run(
        ["git", "ls-files", "-s", f"vla3d/{name}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert mode.startswith("120000 ")


@pytest.mark.parametrize("name", MAPPED)
def test_a_bare_import_is_refused_with_a_sentence(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"ImportError: import vla3d.{name}, not {name}: this folder is installed as a part of vla3d" in done.stderr


@pytest.mark.parametrize("name", MAPPED)
def test_links_and_mapping_are_one_module(name: str) -> None:
    module = importlib.import_module(f"vla3d.{name}")
    assert Path(str(module.__file__)).resolve() == ROOT / name / "__init__.py"


# Pins


def test_constraints_pin_every_requirement_within_its_bounds() -> None:
    from packaging.requirements import Requirement

    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and line[0] != "#"
    )
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    options = setup()["options"]["install_requires"] + "\n" + "\n".join(setup()["options.extras_require"].values())
    lines = [line.strip() for line in options.splitlines() if line.strip() and not line.strip().startswith("#")]
    requirements = [Requirement(line) for line in lines if not line.startswith("vla3d[")]
    assert len(requirements) > 25
    for requirement in requirements:
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(pins[name]), f"{requirement} excludes the tested {pins[name]}"


def test_make_installs_the_pinned_torch_first() -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert pinned is not None
    assert f"pip install torch=={pinned[1]} " in (ROOT / "Makefile").read_text()
