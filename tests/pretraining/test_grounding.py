"""Grounding: boxes from what was seen, targets by overlap, accuracy by ScanRefer's rule."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_scenes import ENCODER

from vla3d.errors import ConfigError
from vla3d.pretraining.grounding import GroundingSample, SceneGrounding, grounding_samples, judged, label_share, seen_graph
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.scene_graphs.generator.scene import GeneratorConfig, generate
from vla3d.scene_graphs.generator.surface import Sampling, sample_points
from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import Trainer


@pytest.fixture(scope="module")
def phrases() -> list[GroundingSample]:
    return grounding_samples("train", 4, seed=0, kind="tabletop", encoder=ENCODER)


@pytest.fixture
def grounding(model: SceneGraphPretraining) -> SceneGrounding:
    return SceneGrounding(model)


def test_boxes_come_from_points_and_know_no_words() -> None:
    graph = generate("test", 0, config=GeneratorConfig.usual("room")).graph
    points = sample_points(graph, 0, Sampling(per_object=64))
    seen = seen_graph(graph, points)
    assert set(seen.ids) <= set(graph.ids) and len(seen.ids) > 4
    for node in seen.nodes:
        mine = points.points[points.ids == node.id]
        assert node.box.contains(mine.astype(np.float64), margin=1e-3).all()
        assert node.label == "unknown" and not node.attributes and node.opening is None
        assert not node.box.same_as(graph.node(node.id).box)


def test_the_target_is_the_box_that_overlaps_most(phrases: list[GroundingSample]) -> None:
    assert len(phrases) > 8 and {sample.unique for sample in phrases} == {True, False}
    for sample in phrases:
        assert len(sample.ious) == len(sample.graph)
        assert sample.ious[sample.target] == sample.ious.max() and (sample.ious >= 0).all()
    assert np.mean([sample.ious.max() >= 0.5 for sample in phrases]) > 0.5


def test_a_batch_is_its_phrases(grounding: SceneGrounding, phrases: list[GroundingSample]) -> None:
    grounding.eval()
    together = grounding.collate(phrases)
    logits = grounding.logits(together)
    assert torch.isinf(logits).equal(~together.graphs.node_mask)
    for row in (0, 5, len(phrases) - 1):
        alone = grounding.logits(grounding.collate([phrases[row]]))
        count = len(phrases[row].graph)
        torch.testing.assert_close(logits[row, :count], alone[0], atol=1e-4, rtol=1e-4)
        assert together.ious[row, :count].tolist() == pytest.approx(phrases[row].ious.tolist())


def test_metrics_count_overlaps(
    grounding: SceneGrounding, phrases: list[GroundingSample], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = grounding.collate(phrases)
    best = torch.nn.functional.one_hot(batch.targets, batch.ious.shape[1]).float()
    monkeypatch.setattr(grounding, "logits", lambda batch: best)
    found = grounding.metrics(batch)
    expected = float(np.mean([sample.ious.max() >= 0.5 for sample in phrases]))
    assert found["accuracy_at_half"] == found["limit_at_half"] == pytest.approx(expected)
    worst = torch.nn.functional.one_hot(batch.ious.argmin(dim=1), batch.ious.shape[1]).float()
    monkeypatch.setattr(grounding, "logits", lambda batch: worst)
    assert grounding.metrics(batch)["accuracy_at_quarter"] == 0.0
    assert grounding.metrics(batch)["error_at_half"] == 1.0


def test_labels_are_drawn_once(phrases: list[GroundingSample]) -> None:
    few, more = label_share(phrases, 0.25, 1), label_share(phrases, 0.5, 1)
    assert len(few) == round(0.25 * len(phrases)) and {id(sample) for sample in few} <= {id(sample) for sample in more}
    assert [id(sample) for sample in label_share(phrases, 1.0, 1)] == [id(sample) for sample in phrases]
    assert len(label_share(phrases, 1e-6, 1)) == 1
    with pytest.raises(ConfigError, match="label share: got 0"):
        label_share(phrases, 0, 1)


def test_it_learns_and_is_opened_again(grounding: SceneGrounding, phrases: list[GroundingSample], tmp_path: Path) -> None:
    """Tuned on a few phrases it finds what they mean; and what was saved answers alike."""
    settings = {"steps": 60, "batch_size": 8, "lr": 1e-2, "ema_decay": 0.0, "validate_every": 0, "progress": False}
    before = np.mean([iou >= 0.5 for iou, _ in judged(grounding, phrases)])
    result = Trainer(TrainerConfig.from_mapping(settings), grounding, phrases, phrases, out=tmp_path / "run").train()
    answers = list(judged(grounding, phrases))
    after = np.mean([iou >= 0.5 for iou, _ in answers])
    limit = np.mean([sample.ious.max() >= 0.5 for sample in phrases])
    assert before < 0.5 * limit and after > 0.8 * limit
    again = SceneGrounding(SceneGraphPretraining.from_pretrained(result.policy))
    assert list(judged(again, phrases)) == answers
    assert [unique for _, unique in answers] == [sample.unique for sample in phrases]
