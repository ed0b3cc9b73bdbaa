"""Every operation goes whole through torch.compile and torch.export."""

import subprocess
import sys
from pathlib import Path


def test_every_operation_compiles_and_exports_whole() -> None:
    # In a process of its own: what checks the shapes in these tests cannot be traced.
    program = Path(__file__).with_name("trace_program.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
