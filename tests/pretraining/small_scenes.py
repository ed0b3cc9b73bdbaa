"""A few small scenes, and an objective that is quick to compute."""

from vla3d.pretraining.config import SceneGraphObjectiveConfig, SceneTextsConfig
from vla3d.pretraining.samples import SceneSample, scene_labels, scene_samples
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig

ENCODER = SceneEncoderConfig(width=16, embedding=12, heads=2, points=16, graph_layers=1, text_layers=1)
OBJECTIVE = SceneGraphObjectiveConfig(encoder=ENCODER)
TEXTS = SceneTextsConfig(train=8, gallery=4)
LABELS = scene_labels("tabletop")


def small_samples(split: str, count: int, texts: SceneTextsConfig = TEXTS) -> list[SceneSample]:
    return scene_samples(split, count, seed=0, texts=texts, encoder=ENCODER, labels=LABELS)  # type: ignore[arg-type]
