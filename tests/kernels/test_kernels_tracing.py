"""Every operation goes whole through torch.compile and torch.export."""

import subprocess
import sys
from pathlib import Path

import pytest
from trace_program import OPERATIONS

SOME = ("farthest_point_sampling", "render_frames", "lift_heatmaps")
"""One without views, one that makes them, and one that reads them."""


@pytest.mark.parametrize("names", [SOME, pytest.param(tuple(OPERATIONS), marks=pytest.mark.slow)], ids=["some", "all"])
def test_operations_compile_and_export_whole(names: tuple[str, ...]) -> None:
    # In a process of its own: what checks the shapes in these tests cannot be traced.
    program = Path(__file__).with_name("trace_program.py")
    done = subprocess.run([sys.executable, str(program), *names], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(names)
