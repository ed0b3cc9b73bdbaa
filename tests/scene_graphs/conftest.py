"""Scenes are shared by the tests of this room; hypothesis has no wall-clock limit and the same examples on every run."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("scene_graphs", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("scene_graphs")
