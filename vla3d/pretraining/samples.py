"""Generated scenes with what is said of them: deterministic, and apart by split."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from vla3d.pretraining.config import SceneTextsConfig
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import GraphTensors, graph_tensors
from vla3d.scene_graphs.generator.catalog import SURFACES, labels_of
from vla3d.scene_graphs.generator.holdout import Holdout
from vla3d.scene_graphs.generator.scene import GeneratedScene, GeneratorConfig, SceneSplit, generate
from vla3d.scene_graphs.generator.surface import Sampling, sample_points
from vla3d.scene_graphs.text.checker import Facts
from vla3d.scene_graphs.text.claims import All, Claim, Count, Description, Exists, Has
from vla3d.scene_graphs.text.negatives import Contrast, mine
from vla3d.scene_graphs.text.sentence import Sentence
from vla3d.scene_graphs.text.sentences import Speaker

Item = TypeVar("Item")

# Points that are drawn on a node for each one that is read: about half of them are hidden.
_DRAWN = 2.5
# Contrasts of a scene about held-out compositions: few scenes are of use to each other there, so each is used often.
_HELD_OUT = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneSample:
    """A scene and sentences about it.

    Attributes:
        graph: the scene as the encoder reads it.
        facts: the scene as the checker knows it.
        ids: of the nodes, in the order of ``graph``.
        sentences: true ones.
        negatives: false ones, each different from a true one in one thing.
        summary: position in ``sentences`` of the text about the whole.
        contrasts: positions in ``sentences`` and ``negatives`` of those that differ in one thing. Among all samples each of
            these texts is true as often as it is false.
    """

    graph: GraphTensors
    facts: Facts
    ids: tuple[int, ...]
    sentences: tuple[Sentence, ...]
    negatives: tuple[Sentence, ...]
    summary: int
    contrasts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Scenes that are judged together.

    Attributes:
        scenes: among which a text has to find its own.
        compositions: scenes with held-out compositions; their contrasts are about those.
    """

    scenes: tuple[SceneSample, ...]
    compositions: tuple[SceneSample, ...]


def scene_labels(kind: str) -> tuple[str, ...]:
    """Every label of the scenes of a kind, sorted."""
    return tuple(sorted({*labels_of(kind), *SURFACES}))  # type: ignore[arg-type]


def scene_samples(
    split: SceneSplit,
    count: int,
    *,
    seed: int,
    texts: SceneTextsConfig,
    encoder: SceneEncoderConfig,
    labels: Sequence[str],
    first: int = 0,
) -> list[SceneSample]:
    """Scenes of a split with sentences.

    Args:
        split: see `vla3d.scene_graphs.generator.scene.generate`. In ``test_attributes`` only contrasts count of which one
            sentence speaks of a held-out pair of colour and label.
        count: how many.
        seed: the same one gives the same samples.
        texts: what is said.
        encoder: what it reads of a graph.
        labels: the categories of things.
        first: number of the first scene of the split.
    """
    config = GeneratorConfig.usual(texts.kind)
    scenes = [generate(split, first + number, seed=seed, config=config) for number in range(count)]
    held_out = split == "test_attributes"
    most = _HELD_OUT if held_out else texts.contrasts
    contrasts = _contrasts(scenes, most, seed, config.holdout if held_out else None)
    return [_sample(scene, contrasts[number], texts, encoder, labels) for number, scene in enumerate(scenes)]


def _contrasts(
    scenes: Sequence[GeneratedScene], most: int, seed: int, holdout: Holdout | None
) -> dict[int, list[Contrast[int]]]:
    """At most so many contrasts for each scene. Of a pair both are taken or none, or words would give the answer away."""
    numbered = ((number, scene.graph) for number, scene in enumerate(scenes))
    pairs = list(mine(numbered, seed=seed) if holdout is None else mine(numbered, seed=seed, per_kind=_HELD_OUT))
    found: dict[int, list[Contrast[int]]] = defaultdict(list)
    for pair in random.Random(seed).sample(pairs, len(pairs)):
        both = (pair.first, pair.second)
        if holdout is not None and not any(speaks_of(contrast.positive.claim, holdout) for contrast in both):
            continue
        if all(len(found[contrast.scene]) < most for contrast in both):
            for contrast in both:
                found[contrast.scene].append(contrast)
    return found


def _sample(
    scene: GeneratedScene,
    contrasts: list[Contrast[int]],
    texts: SceneTextsConfig,
    encoder: SceneEncoderConfig,
    labels: Sequence[str],
) -> SceneSample:
    graph, rng = scene.graph, random.Random(scene.seed)
    speaker = Speaker(graph, seed=scene.seed)
    said = [
        *_some(speaker.objects(), texts.objects, rng),
        *_some(speaker.references(1), texts.references, rng),
        *islice(speaker.relations(texts.relations), texts.relations),
        *_some(speaker.attributes(2 * texts.attributes), texts.attributes, rng),
        speaker.summary(texts.summary_relations),
    ]
    summary = len(said) - 1
    sampled = sample_points(graph, scene.seed, Sampling(per_object=round(_DRAWN * encoder.points)))
    return SceneSample(
        graph=graph_tensors(graph, encoder, sampled=sampled, labels=labels),
        facts=speaker.facts,
        ids=graph.ids,
        sentences=(*said, *(contrast.positive for contrast in contrasts)),
        negatives=tuple(contrast.negative for contrast in contrasts),
        summary=summary,
        contrasts=tuple((summary + 1 + place, place) for place in range(len(contrasts))),
    )


def _some(items: Iterator[Item], most: int, rng: random.Random) -> list[Item]:
    """Some of the items, in their order."""
    everything = list(items)
    kept = sorted(rng.sample(range(len(everything)), min(most, len(everything))))
    return [everything[place] for place in kept]


def speaks_of(claim: Claim, holdout: Holdout) -> bool:
    """Whether a claim says a held-out pair of colour and label of something."""
    if isinstance(claim, All):
        return any(speaks_of(part, holdout) for part in claim.claims)
    if isinstance(claim, Has):
        value = {"color": claim.value}.get(claim.attribute)
        if value is not None and (value, claim.subject.label) in holdout.attributes:
            return True
        return _describes(claim.subject, holdout)
    if isinstance(claim, Exists | Count):
        return _describes(claim.description, holdout)
    return _describes(claim.subject, holdout) or _describes(claim.object, holdout)


def _describes(description: Description | None, holdout: Holdout) -> bool:
    if description is None:
        return False
    return (description.color, description.label) in holdout.attributes or _describes(description.anchor, holdout)
