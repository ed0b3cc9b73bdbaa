"""The ray-cast scenes of the scene graphs' tests serve the verified policy, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scene_graphs"))
