"""Scenes and a model shared by the tests of this room."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_scenes import LABELS, OBJECTIVE, small_samples

from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.pretraining.samples import SceneSample


@pytest.fixture(scope="session")
def samples() -> list[SceneSample]:
    return small_samples("train", 8)


@pytest.fixture
def model(samples: list[SceneSample]) -> SceneGraphPretraining:
    return SceneGraphPretraining.from_scenes(OBJECTIVE, samples, LABELS, seed=0)
