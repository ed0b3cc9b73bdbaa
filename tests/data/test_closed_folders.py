"""Folders that may not be looked into: named where they belong to the demonstrations, passed by where they do not."""

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bridgevla_real_demos as real
import gembench_demos as gembench
import pytest
import rlbench_demos as rlbench

DESCRIBE = """
import json, logging, sys
from vla3d.data import open_demos
from vla3d.errors import CorruptEpisodeError, DataError

logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stderr)
source = open_demos(sys.argv[1], on_corrupt="skip")
sound = [str(ref) for ref in source.episodes()]
print(json.dumps([source.format, sound, {str(ref): error.reason for ref, error in source.skipped.items()}]))
"""
_DROP_CAPABILITY, _OVERRIDE, _SEARCH = 24, 1, 2  # prctl, and the two capabilities by which root may read everything


def as_nobody_special() -> None:
    libc = ctypes.CDLL(None)
    for capability in (_OVERRIDE, _SEARCH):
        libc.prctl(_DROP_CAPABILITY, capability, 0, 0, 0)


def described(root: Path) -> tuple[str, list[str], dict[str, str], str]:
    """Format, sound episodes, damaged ones with what is wrong, and warnings, for somebody without root's privileges."""
    command = [sys.executable, "-c", DESCRIBE, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, preexec_fn=as_nobody_special, check=False)
    assert done.returncode == 0, done.stderr
    found, sound, damaged = json.loads(done.stdout)
    return found, sound, damaged, done.stderr


@pytest.fixture
def closed() -> Iterator[list[Path]]:
    """Folders to be closed; they are opened again in the end."""
    folders: list[Path] = []
    yield folders
    for folder in folders:
        folder.chmod(0o755)


def close(closed: list[Path], *folders: Path) -> None:
    for folder in folders:
        folder.chmod(0)
        closed.append(folder)


def test_rlbench(tmp_path: Path, closed: list[Path]) -> None:
    task = rlbench.write_peract(tmp_path, "push", 3, frames=3, size=(2, 2), cameras=("front",))
    rlbench.write_peract(tmp_path, "pull", 1, frames=3, size=(2, 2), cameras=("front",))
    episodes = task / "all_variations" / "episodes"
    close(closed, episodes / "episode0", episodes / "episode1" / "front_rgb", tmp_path / "pull")
    found, sound, damaged, warnings = described(tmp_path)
    assert (found, sound) == ("rlbench", ["push/000002"])
    assert damaged["push/000000"] == "low_dim_obs.pkl cannot be read (Permission denied)"
    assert damaged["push/000001"] == "front_rgb cannot be read (Permission denied)"
    assert f"{tmp_path / 'pull'} may not be read; it is left out." in warnings


def test_gembench(tmp_path: Path, closed: list[Path]) -> None:
    root = gembench.write_dataset(tmp_path / "demos", episodes=1)
    close(closed, root / "keysteps_bbox" / "seed0" / "close_jar+15")
    found, sound, damaged, _ = described(root)
    assert (found, sound, list(damaged)) == ("gembench", ["push_button/030000"], ["close_jar/150000"])
    assert "close_jar+15/data.mdb cannot be opened as an LMDB (Permission denied)" in damaged["close_jar/150000"]


def test_the_real_robot(tmp_path: Path, closed: list[Path]) -> None:
    for number in range(3):
        real.write_episode(tmp_path / "plate" / f"ep_{number}")
    (tmp_path / "lost+found").mkdir()
    group = tmp_path / "plate"
    close(closed, group / "ep_0", group / "ep_1" / "zed_depth", tmp_path / "lost+found")
    found, sound, damaged, _ = described(tmp_path)
    assert (found, sound) == ("bridgevla-real", ["plate/000002"])
    assert "Permission denied" in damaged["plate/000000"] and "zed_depth" in damaged["plate/000001"]
