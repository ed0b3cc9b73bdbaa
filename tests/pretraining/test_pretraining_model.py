"""Levels of contrast against loops; losses that reach every weight; a run that resumes to the same bytes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_scenes import ENCODER, LABELS, OBJECTIVE, TEXTS, small_samples

from vla3d.errors import CheckpointError, ConfigError
from vla3d.pretraining import judging, levels
from vla3d.pretraining.batch import SceneBatch
from vla3d.pretraining.config import LossWeights, SceneGraphObjectiveConfig
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.pretraining.run import PretrainConfig, pretrain
from vla3d.pretraining.samples import Gallery, SceneSample
from vla3d.scene_graphs.encoder.phrases import full_precision
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE
from vla3d.training.config import TrainerConfig
from vla3d.training.interfaces import as_module

LOSSES = {
    "loss", "word_object", "phrase_edge", "sentence_subgraph", "scene_text", "sentence_object", "masked_words",
    "masked_objects",
}  # fmt: skip


@pytest.fixture
def batch(model: SceneGraphPretraining, samples: list[SceneSample]) -> SceneBatch:
    made = model.collate(samples[:4])
    assert isinstance(made, SceneBatch)
    return made


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Levels


def test_words_are_compared_with_the_things_of_their_scene(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    embedded = judging.encode(model, batch)
    width = batch.ids.shape[1]
    for contrast, links, scenes, columns in (
        (levels.word_object(batch, embedded), batch.word_things, batch.graphs.node_scene, embedded.nodes),
        (levels.phrase_edge(batch, embedded), batch.word_pairs, batch.graphs.edge_scene, embedded.pairs),
    ):
        words = sorted({word for word, _ in links.T.tolist()})
        assert contrast.positives.nonzero().tolist() == sorted([words.index(w), c] for w, c in links.T.tolist())
        for row, word in enumerate(words[:20]):
            sentence, place = divmod(word, width)
            assert contrast.candidates[row].equal(scenes == batch.scene[sentence])
            expected = (columns @ embedded.words[sentence, place]).tolist()
            assert contrast.similarities[row].tolist() == pytest.approx(expected, abs=1e-5)
        assert not (contrast.positives & ~contrast.candidates).any()


def test_sentences_are_compared_with_groups_that_are_surely_others(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    embedded = judging.encode(model, batch)
    contrast = levels.sentence_subgraph(batch, embedded)
    about: dict[int, set[int]] = {}
    for row, node in batch.sentence_things.T.tolist():
        about.setdefault(row, set()).add(node)
    spoken = sorted(about)
    assert contrast.positives.shape == (len(batch.ids), len(spoken))
    for row in range(len(batch.ids)):
        for column, other in enumerate(spoken):
            here = bool(batch.scene[row] == batch.scene[other])
            same = here and bool(batch.true[row]) and about.get(row) == about[other]
            false = bool(batch.truth[row, batch.scene[other]] == FALSE)
            assert bool(contrast.positives[row, column]) == same
            assert bool(contrast.candidates[row, column]) == ((here and bool(batch.true[row])) or false)
    negatives = ~batch.true
    assert negatives.any() and not contrast.positives[negatives].any() and contrast.candidates[negatives].any()


def test_texts_are_compared_with_scenes_by_the_checker(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    contrast = levels.scene_text(batch, judging.encode(model, batch))
    assert contrast.positives.equal(batch.truth == TRUE)
    assert contrast.candidates.equal(batch.truth != 0)
    assert contrast.positives.any(dim=0).all()


def test_a_sentence_fits_its_own_scene_as_it_does_among_others(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    embedded = judging.encode(model, batch)
    everything = levels.scene_scores(batch, embedded, torch.arange(len(batch.ids)))
    own = levels.own_scores(batch, embedded)
    torch.testing.assert_close(own, everything[torch.arange(len(own)), batch.scene])
    part = levels.scene_scores(batch, embedded, torch.tensor([3, 1]))
    torch.testing.assert_close(part, everything[[3, 1]])


# Losses


def test_losses_reach_every_weight(model: SceneGraphPretraining, samples: list[SceneSample]) -> None:
    unseen = samples[0].graph.point_mask.clone()
    unseen[2] = False  # a thing that no camera saw
    first = replace(samples[0], graph=replace(samples[0].graph, point_mask=unseen))
    for blind, missing in ((False, {"encoder.objects.hidden_box"}), (True, set())):
        model.config = replace(model.config, position_blind=blind)
        model.zero_grad()
        batch = model.train().collate([first, *samples[1:4]])
        losses = model.loss(batch, generator())  # type: ignore[arg-type]
        assert losses.keys() == LOSSES
        losses["loss"].backward()
        still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        # Tokens that no sentence of the batch has, and a box that the objective does not hide, have nothing to learn.
        assert still == missing
        assert all(parameter.grad is not None for parameter in as_module(model).parameters())


def test_reduced_precision_changes_little(model: SceneGraphPretraining, batch: SceneBatch, samples: list[SceneSample]) -> None:
    full = model.loss(batch, generator())
    gallery = Gallery(scenes=tuple(samples[:3]), compositions=tuple(samples[3:5]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = model.loss(batch, generator())
        judged = model.metrics(model.collate([gallery]))  # type: ignore[arg-type]
    assert judged.keys() == model.metrics(model.collate([gallery])).keys()  # type: ignore[arg-type]
    for name in LOSSES:
        assert float(reduced[name].detach()) == pytest.approx(float(full[name].detach()), rel=0.02)
    # Rounded similarities would lie on a coarse grid.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = judging.encode(model, batch)
        with full_precision(embedded.words):
            similarities = levels.word_object(batch, embedded).similarities
    assert similarities.dtype == torch.float32
    assert not torch.equal(similarities, similarities.bfloat16().float())


def test_the_loss_is_the_weighted_sum(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    losses = model.loss(batch, generator(3))
    weights = model.config.weights
    total = sum(getattr(weights, name) * float(value.detach()) for name, value in losses.items() if name != "loss")
    assert float(losses["loss"].detach()) == pytest.approx(total, rel=1e-5)


def test_randomness_is_the_generators(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    first, same, other = (model.loss(batch, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in LOSSES)
    assert {name for name in LOSSES if not torch.equal(first[name], other[name])} == {
        "loss", "sentence_object", "masked_words", "masked_objects",
    }  # fmt: skip


def test_hidden_things_are_judged_by_their_place_unless_blind(model: SceneGraphPretraining, batch: SceneBatch) -> None:
    graphs = batch.graphs
    hidden = graphs.node_slot == 1
    moved = replace(graphs, boxes=torch.where(hidden[:, None], graphs.boxes + 0.5, graphs.boxes))
    looks = replace(graphs, points=torch.where(hidden[:, None, None], 0.2, graphs.points))
    seen = model.category_logits(graphs, hidden)
    assert torch.equal(seen, model.category_logits(looks, hidden))
    assert torch.equal(seen, model.category_logits(looks, hidden, model.encoder.encode_graph(graphs).shapes))
    assert not torch.equal(seen[hidden], model.category_logits(moved, hidden)[hidden])
    model.config = replace(model.config, position_blind=True)
    assert torch.equal(model.category_logits(graphs, hidden), model.category_logits(moved, hidden))


# Judging


def test_judging_counts_right(batch: SceneBatch, model: SceneGraphPretraining) -> None:
    """With embeddings that are right by construction every accuracy is 1, and with their opposite it is 0."""
    things = torch.eye(len(batch.graphs.labels))
    words = torch.zeros(*batch.ids.shape, len(things))
    word, node = batch.word_things
    words.view(-1, len(things))[word, node] = 1.0
    embedded = judging.encode(model, batch)
    size = len(things)
    resized = {name: torch.zeros(len(getattr(embedded, name)), size) for name in ("pairs", "sentences", "groups", "scenes")}
    right = replace(embedded, nodes=things, words=words, **resized)
    assert judging.word_accuracy(batch, right) == 1.0
    assert judging.word_accuracy(batch, replace(right, words=-words)) == 0.0
    scenes = torch.eye(len(batch.graphs))
    own = scenes[batch.scene] * torch.where(batch.true, 1.0, -1.0)[:, None]
    width = len(scenes)
    nothing = levels.Embeddings(
        nodes=torch.zeros(size, width),
        pairs=torch.zeros(len(embedded.pairs), width),
        words=torch.zeros(*batch.ids.shape, width),
        sentences=own,
        groups=torch.zeros(len(own), width),
        scenes=scenes,
        members=embedded.members,
    )
    found, chance = judging.retrieval(batch, nothing)
    assert found == 1.0 and chance == pytest.approx(float((batch.truth[batch.summaries] == TRUE).float().mean()))
    assert judging.contrast_wins(batch, nothing).all()
    assert not judging.contrast_wins(batch, replace(nothing, sentences=-own)).any()
    assert judging.share(torch.zeros(0, dtype=torch.bool)) == 0.5


def test_every_thing_is_hidden_once(model: SceneGraphPretraining, batch: SceneBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: list[torch.Tensor] = []

    def told(graphs: object, mask: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        hidden.append(mask)
        right = torch.nn.functional.one_hot(batch.graphs.labels, len(LABELS)).float()
        return torch.where((batch.graphs.node_scene == 0)[:, None], -right, right)

    monkeypatch.setattr(model, "category_logits", told)
    accuracy = judging.category_accuracy(model, batch.graphs)
    assert torch.stack(hidden).sum(dim=0).eq(1).all()
    assert accuracy == pytest.approx(float((batch.graphs.node_scene != 0).float().mean()))


def test_metrics_are_those_of_the_gallery(model: SceneGraphPretraining, samples: list[SceneSample]) -> None:
    gallery = Gallery(scenes=tuple(samples[:3]), compositions=tuple(small_samples("test_attributes", 4)))
    made = model.eval().collate([gallery, gallery])
    assert isinstance(made, list)
    metrics = model.metrics(made)
    assert model.selection_metric in metrics
    assert metrics == model.metrics(made[:1])
    assert metrics["retrieval_error"] == pytest.approx(1 - metrics["retrieval_r1"])


# Runs and files


def run_config(out: Path, steps: int, resume: bool = False) -> PretrainConfig:
    trainer = {
        "steps": 6, "batch_size": 3, "validate_every": 3, "save_every": 2, "log_every": 1, "progress": False,
        "max_minutes": None, "prefetch": 0,
    }  # fmt: skip
    trainer["steps"] = steps
    settings = TrainerConfig.from_mapping({**trainer, "schedule": "constant", "warmup_steps": 0})
    return PretrainConfig(out=out, objective=OBJECTIVE, scenes=TEXTS, trainer=settings, resume=resume)


def test_a_resumed_run_ends_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    whole = pretrain(run_config(tmp_path / "whole", 6))
    pretrain(run_config(tmp_path / "parts", 4))
    parts = pretrain(run_config(tmp_path / "parts", 6, resume=True))
    last = "checkpoints/step-00000006/policy/model.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "parts" / last).read_bytes()
    assert whole.metrics == parts.metrics
    with pytest.raises(ConfigError, match="already holds a run"):
        pretrain(run_config(tmp_path / "whole", 6))


def test_what_was_saved_is_opened(
    model: SceneGraphPretraining, batch: SceneBatch, samples: list[SceneSample], tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    again = SceneGraphPretraining.from_pretrained(tmp_path)
    assert again.config == model.config and not again.training
    reread = again.collate(samples[:4])
    assert isinstance(reread, SceneBatch) and torch.equal(reread.ids, batch.ids)
    for name, value in model.eval().loss(batch, generator()).items():
        assert torch.equal(value, again.loss(reread, generator())[name])
    assert {"encoder.objects.hidden_points", "encoder.text.mask_token"} <= load_file(tmp_path / "model.safetensors").keys()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("nothing", "cannot be read"),
        ('{"objective": "other", "config": {}}', "objective 'other'"),
        ('{"objective": "scene_graph", "config": {"encodr": 1}}', "does not fit this version"),
    ],
)
def test_damaged_files_are_named(model: SceneGraphPretraining, tmp_path: Path, damage: str, words: str) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(CheckpointError, match=words):
        SceneGraphPretraining.from_pretrained(tmp_path)


def test_weights_start_from_the_seed(samples: list[SceneSample]) -> None:
    torch.manual_seed(5)
    first, same, other = (SceneGraphPretraining.from_scenes(OBJECTIVE, samples, LABELS, seed=seed) for seed in (0, 0, 1))
    mine, its = first.state_dict(), same.state_dict()
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    assert not torch.equal(mine["word_out.weight"], other.state_dict()["word_out.weight"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"word_share": 0.0}, "word_share: got 0.0"),
        ({"temperature": 2.0}, "temperature: got 2.0"),
        ({"labels": ["a", "a"]}, "a label twice"),
        ({"weights": {"word_objct": 1.0}}, "Did you mean 'word_object'"),
        ({"weights": {"word_object": -1.0}}, "weights.word_object: got -1.0"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SceneGraphObjectiveConfig.from_dict(changes)


def test_no_loss_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="all of them are 0"):
        LossWeights(**dict.fromkeys(LOSSES - {"loss"}, 0.0))
    with pytest.raises(ConfigError, match="categories of things"):
        SceneGraphPretraining(OBJECTIVE, None)  # type: ignore[arg-type]
    assert SceneGraphObjectiveConfig.from_dict(OBJECTIVE.to_dict()) == OBJECTIVE
    assert OBJECTIVE.encoder == ENCODER
