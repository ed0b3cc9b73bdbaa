"""Kill a conversion before each of its file operations in turn; see ``tests/data/kill_everywhere.py``.

Run as ``python kill_convert.py FOLDER STEP``.
"""

import sys
from pathlib import Path

import conversion_fakes
import kill_everywhere  # found through conversion_fakes

if __name__ == "__main__":
    base = Path(sys.argv[1])
    demos = conversion_fakes.write_demos(base / "demos", {"lift": [3, conversion_fakes.DAMAGED], "draw": [4]})
    kill_everywhere.main(base, int(sys.argv[2]), lambda out: conversion_fakes.run(demos, out))
