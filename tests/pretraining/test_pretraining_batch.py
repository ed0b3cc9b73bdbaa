"""What a batch says of words, things, pairs and truth is what the graphs say."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from small_scenes import TEXTS, small_samples

from vla3d.errors import DataError, InstructionError
from vla3d.pretraining.batch import SceneBatch
from vla3d.pretraining.config import SceneTextsConfig
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.pretraining.samples import SceneSample, speaks_of
from vla3d.scene_graphs.encoder.inputs import UNLISTED
from vla3d.scene_graphs.generator.holdout import default_holdout
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE
from vla3d.scene_graphs.text.checker import check


@pytest.fixture
def batch(model: SceneGraphPretraining, samples: list[SceneSample]) -> SceneBatch:
    made = model.collate(samples[:4])
    assert isinstance(made, SceneBatch)
    return made


def said(samples: list[SceneSample]) -> list[tuple[int, str]]:
    """Scene and text of each sentence, in the order of a batch."""
    return [
        (number, sentence.text) for number, sample in enumerate(samples) for sentence in (*sample.sentences, *sample.negatives)
    ]


def test_samples_are_the_same_every_time(samples: list[SceneSample]) -> None:
    again = small_samples("train", 8)
    assert said(again) == said(samples)
    assert all(torch.equal(mine.graph.points, its.graph.points) for mine, its in zip(samples, again, strict=True))


def test_true_sentences_are_true_and_false_ones_false(samples: list[SceneSample]) -> None:
    for sample in samples:
        assert all(check(sentence.claim, sample.facts) == TRUE for sentence in sample.sentences)
        assert all(check(sentence.claim, sample.facts) == FALSE for sentence in sample.negatives)
        assert sample.sentences[sample.summary].kind == "summary"
        for positive, negative in sample.contrasts:
            assert sample.sentences[positive].text != sample.negatives[negative].text
    assert sum(len(sample.contrasts) for sample in samples) > 3


def test_a_phrase_is_about_what_it_refers_to_and_not_about_what_that_stands_beside(
    model: SceneGraphPretraining, samples: list[SceneSample]
) -> None:
    made = model.collate(samples)
    assert isinstance(made, SceneBatch)
    about: dict[int, list[int]] = {}
    for row, node in made.sentence_subjects.T.tolist():
        about.setdefault(row, []).append(node)
    spoken_of = {(row, node) for row, node in made.sentence_things.T.tolist()}
    start, row, anchored, several = 0, 0, 0, 0
    for sample in samples:
        for sentence in sample.sentences:
            meant = [sample.ids[node - start] for node in about.get(row, [])]
            if sentence.kind in ("reference", "relation"):
                assert meant == [sentence.target]
                anchored += sum(place == row for place, _ in spoken_of) > 1
            several += sentence.kind == "summary" and len(meant) > 1
            row += 1
        row += len(sample.negatives)
        start += len(sample.ids)
    assert anchored > 0 and several > 0


@pytest.mark.parametrize("split", ["train", "test_attributes"])
def test_words_do_not_give_contrasts_away(split: str) -> None:
    samples = small_samples(split, 24)
    true = Counter(sample.sentences[positive].text for sample in samples for positive, _ in sample.contrasts)
    false = Counter(sample.negatives[negative].text for sample in samples for _, negative in sample.contrasts)
    assert true and true == false
    most = max(len(sample.contrasts) for sample in samples)
    assert most == TEXTS.contrasts if split == "train" else TEXTS.contrasts < most <= 8


def test_held_out_contrasts_speak_of_what_training_never_says(samples: list[SceneSample]) -> None:
    holdout = default_holdout("tabletop")
    held_out = small_samples("test_attributes", 16)
    contrasts = [
        (sample.sentences[positive].claim, sample.negatives[negative].claim)
        for sample in held_out
        for positive, negative in sample.contrasts
    ]
    assert contrasts and all(speaks_of(true, holdout) or speaks_of(false, holdout) for true, false in contrasts)
    trained = [sentence.claim for sample in samples for sentence in sample.sentences]
    assert not any(speaks_of(claim, holdout) for claim in trained)


def test_sentences_and_truth(batch: SceneBatch, model: SceneGraphPretraining, samples: list[SceneSample]) -> None:
    texts = said(samples[:4])
    assert batch.scene.tolist() == [number for number, _ in texts]
    for row, (number, text) in enumerate(texts):
        assert model.tokenizer.decode(batch.ids[row][batch.mask[row]].tolist()) == text.lower()
        assert batch.word_mask[row].sum() == batch.mask[row].sum() - 2
        assert batch.truth[row, number] == (TRUE if batch.true[row] else FALSE)
    assert batch.true.sum() == sum(len(sample.sentences) for sample in samples[:4])
    positive, negative = batch.contrasts
    assert batch.true[positive].all() and not batch.true[negative].any()
    assert batch.scene[positive].equal(batch.scene[negative])
    assert (batch.truth == TRUE).sum() > len(batch.true)  # a noun phrase fits more than one scene


def test_words_lead_to_the_things_and_pairs_they_stand_for(
    batch: SceneBatch, model: SceneGraphPretraining, samples: list[SceneSample]
) -> None:
    """Against the texts: every word of a span, letter by letter, and no other one."""
    starts = [0]
    for sample in samples[:4]:
        starts.append(starts[-1] + len(sample.ids))
    things: set[tuple[int, int, int]] = set()
    pairs: set[tuple[int, int, str, int, int]] = set()
    row = 0
    for number, sample in enumerate(samples[:4]):
        for sentence in sample.sentences:
            pieces = model.tokenizer.spans(sentence.text)
            for span in sentence.spans:
                inside = [place + 1 for place, (start, end) in enumerate(pieces) if span.start <= start and end <= span.end]
                assert "".join(sentence.text[slice(*pieces[place - 1])] for place in inside) == sentence.words(span).replace(
                    " ", ""
                )
                if span.role == "object":
                    rows = [starts[number] + sample.ids.index(node_id) for node_id in span.ids]
                    things |= {(row, place, node) for place in inside for node in rows}
                if span.role == "predicate":
                    assert span.predicate is not None
                    pairs |= {
                        (row, place, span.predicate, starts[number] + sample.ids.index(s), starts[number] + sample.ids.index(o))
                        for place in inside
                        for s in span.ids
                        for o in span.object_ids
                    }
            row += 1
        row += len(sample.negatives)
    width = batch.ids.shape[1]
    assert {(word // width, word % width, node) for word, node in batch.word_things.T.tolist()} == things
    ends = batch.graphs.edge_index.T.tolist()
    found = {(word // width, word % width, *ends[edge]) for word, edge in batch.word_pairs.T.tolist()}
    assert found and found <= {(row, place, s, o) for row, place, _, s, o in pairs}
    assert {place[:2] for place in pairs} == {place[:2] for place in found}
    predicates = model.config.encoder.predicates
    for word, edge in batch.word_pairs.T.tolist():
        names = {name for row, place, name, *pair in pairs if (row, place) == (word // width, word % width)}
        assert any(batch.graphs.edge_predicates[edge, predicates.index(name)] > 0 for name in names)


def test_labels_are_of_the_list(batch: SceneBatch, model: SceneGraphPretraining) -> None:
    assert (batch.graphs.labels != UNLISTED).all() and int(batch.graphs.labels.max()) < len(model.config.labels)


def test_without_hard_negatives_only_true_sentences_are_left(model: SceneGraphPretraining, samples: list[SceneSample]) -> None:
    model.config = replace(model.config, hard_negatives=False)
    batch = model.collate(samples)
    assert isinstance(batch, SceneBatch)
    assert batch.true.all() and batch.contrasts.shape == (2, 0)
    assert len(batch.true) == sum(len(sample.sentences) for sample in samples)


def test_too_long_a_text_is_an_error(model: SceneGraphPretraining, samples: list[SceneSample]) -> None:
    model.config = replace(model.config, encoder=replace(model.config.encoder, max_text_tokens=8))
    with pytest.raises(InstructionError, match="expected at most 8"):
        model.collate(samples)


def test_nothing_said_is_an_error(model: SceneGraphPretraining, samples: list[SceneSample]) -> None:
    silent = [replace(sample, sentences=(), negatives=(), contrasts=()) for sample in samples[:2]]
    with pytest.raises(DataError, match="nothing is said"):
        model.collate(silent)


def test_fewer_texts_are_said_when_fewer_are_asked_for() -> None:
    texts = SceneTextsConfig(objects=0, references=0, relations=0, attributes=0, contrasts=0)
    for sample in small_samples("validation", 2, texts):
        assert [sentence.kind for sentence in sample.sentences] == ["summary"] and not sample.negatives
