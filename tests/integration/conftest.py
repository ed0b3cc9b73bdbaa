"""A small dataset of real demonstrations, collected once for all the tests of this folder that run in one process."""

import sys
from pathlib import Path

import pytest

from vla3d.evaluation.collect import collect
from vla3d.evaluation.collect_config import CollectConfig

sys.path.append(str(Path(__file__).parents[1] / "data"))  # the writers of foreign formats lie with the tests of their readers

TASK = "pick_and_lift"


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three demonstrations of one task; not to be written to."""
    out = tmp_path_factory.mktemp("pipeline") / "demos"
    collect(CollectConfig(tasks=[TASK], out=out, episodes=3, num_workers=1, image_size=48, renderer="raycast"), progress=False)
    return out
