"""The shape of the house: layers, sizes, and habits that keep it readable. Each rule is also seen to catch a breach."""

import ast
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vla3d

ROOT = Path(__file__).parents[1]
FOLDERS = ("vla3d", "envs", "policies", "scene_graphs", "configs")
MAPPED = FOLDERS[1:]
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_FILE = 700


def sources(*folders: str) -> list[Path]:
    """Python files of the repository, each once: links inside vla3d/ are not followed."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(parent.is_symlink() for parent in path.relative_to(ROOT).parents)]


LIBRARY = sources(*FOLDERS)
EVERYTHING = LIBRARY + sources("tests", "benchmarks", "examples")
LIBRARY_IDS = [str(path.relative_to(ROOT)) for path in LIBRARY]


# Layers


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--config", str(root / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_point_downward() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("vla3d/geometry/planted.py", "import vla3d.views.splat"),
        ("policies/planted.py", "from vla3d.envs.base import make_env"),
        ("envs/planted.py", "def f():\n    import vla3d.policies.base"),
        ("vla3d/training/planted.py", "import vla3d.evaluation.rollout"),
        ("vla3d/errors.py", "import vla3d.types"),
        ("vla3d/room_without_a_layer.py", ""),
    ],
)
def test_a_planted_breach_is_caught(where: str, what: str, copied_tree: Path) -> None:
    path = copied_tree / where
    path.write_text((path.read_text() if path.exists() else "") + f"\n{what}\n")
    done = lint_imports(copied_tree)
    assert done.returncode != 0
    assert path.stem in done.stdout


# Sizes


def long_functions(path: Path) -> list[str]:
    """Functions that do not fit a screen, decorators and docstring counted."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                found.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    return found


def test_functions_fit_a_screen() -> None:
    assert not [line for path in EVERYTHING for line in long_functions(path)]


def test_a_long_function_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("def f():\n" + "    pass\n" * MOST_LINES_OF_A_FUNCTION)
    assert len(long_functions(path)) == 1


def test_files_hold_one_idea() -> None:
    assert not [path for path in EVERYTHING if len(path.read_text().splitlines()) > MOST_LINES_OF_A_FILE]


# Names


def modules() -> Iterator[str]:
    yield "vla3d"
    for module in pkgutil.walk_packages(vla3d.__path__, "vla3d."):
        if not module.name.endswith("__main__"):
            yield module.name


def test_every_module_imports_and_every_promised_name_exists() -> None:
    names = list(modules())
    assert len(names) > 80 and {"vla3d.envs.base", "vla3d.policies.base"} <= set(names)
    for name in names:
        module = importlib.import_module(name)
        missing = [promised for promised in getattr(module, "__all__", []) if not hasattr(module, promised)]
        assert not missing, f"{name}.__all__ promises {missing}"


# Habits


DRAWS_FROM_GLOBAL_STATE = re.compile(
    r"((np|numpy)\.)?random\.(seed|rand|randn|random|randint|choice|shuffle|permutation|uniform|normal|gauss|sample)"
)


def breaches(tree: ast.AST) -> Iterator[str]:
    """What no file of the library does."""
    future = False
    jaxtyping = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            future |= node.module == "__future__" and any(alias.name == "annotations" for alias in node.names)
            jaxtyping |= node.module == "jaxtyping"
            if node.level:
                yield f"line {node.lineno}: a relative import; write vla3d.*"
            if node.level == 0 and (node.module or "").split(".")[0] in MAPPED:
                yield f"line {node.lineno}: imports {node.module}; write vla3d.{node.module}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            safe = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
            if called in ("pickle.load", "pickle.loads", "yaml.load") or (called == "torch.load" and not safe):
                yield f"line {node.lineno}: {called} runs what a file says"
            if DRAWS_FROM_GLOBAL_STATE.fullmatch(called):
                yield f"line {node.lineno}: {called} draws from global state; take a Generator"
    if future and jaxtyping:
        yield "annotations as text are not seen by jaxtyping"


@pytest.mark.parametrize("path", LIBRARY, ids=LIBRARY_IDS)
def test_habits(path: Path) -> None:
    assert not list(breaches(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    "line",
    [
        "from . import splat",
        "from envs.base import make_env",
        "import pickle\npickle.load(f)",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "import torch\ntorch.load(f, weights_only=flag)",
        "import numpy as np\nnp.random.seed(0)",
        "import random\nrandom.shuffle(x)",
        "from __future__ import annotations\nfrom jaxtyping import Float",
    ],
)
def test_a_bad_habit_would_be_seen(line: str) -> None:
    assert list(breaches(ast.parse(line)))
