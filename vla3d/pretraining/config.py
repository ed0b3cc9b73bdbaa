"""What is pre-trained on scene graphs, and on which scenes. No torch here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from vla3d.errors import ConfigError, unknown_name
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.generator.catalog import SceneKind, items_of


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses; one of weight 0 is still computed and logged.

    Attributes:
        word_object: words of a noun phrase and the things it stands for.
        phrase_edge: words of a predicate and the pairs of which it holds.
        sentence_subgraph: a sentence and the things it speaks of, together.
        scene_text: texts and scenes.
        sentence_object: a sentence and what it is about, after fusion.
        masked_words: words that were masked.
        masked_objects: the category of things that were masked.
    """

    word_object: float = 1.0
    phrase_edge: float = 0.5
    sentence_subgraph: float = 0.5
    scene_text: float = 1.0
    sentence_object: float = 0.5
    masked_words: float = 0.5
    masked_objects: float = 1.0

    def __post_init__(self) -> None:
        values = asdict(self)
        for name, value in values.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
                raise ConfigError(f"weights.{name}: got {value!r}, expected a number of 0 or more.")
        if not any(values.values()):
            raise ConfigError("weights: all of them are 0, expected at least one loss to train.")


@dataclass(frozen=True, kw_only=True)
class SceneGraphObjectiveConfig:
    """Scene-graph pre-training: the model, its losses and how it is masked.

    Attributes:
        encoder: see `SceneEncoderConfig`.
        weights: of the losses.
        word_share: of the words that are masked; at least one of each sentence.
        object_share: of the things that are masked; at least one of each scene.
        hard_negatives: whether sentences that are false of their scene by one word stand among those it is compared with.
        position_blind: the control of masked things: their place is hidden as well.
        temperature: of all contrasts at first; each learns its own.
        labels: the categories of things; those of the scenes by default.

    Raises:
        ConfigError: a value is out of range.
    """

    encoder: SceneEncoderConfig = field(default_factory=SceneEncoderConfig)
    weights: LossWeights = field(default_factory=LossWeights)
    word_share: float = 0.2
    object_share: float = 0.3
    hard_negatives: bool = True
    position_blind: bool = False
    temperature: float = 0.07
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        for name in ("word_share", "object_share"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < 1:
                raise ConfigError(f"objective.{name}: got {value!r}, expected a number above 0 and below 1.")
        if not isinstance(self.temperature, int | float) or not 0.01 <= self.temperature <= 1:
            raise ConfigError(f"objective.temperature: got {self.temperature!r}, expected a number from 0.01 to 1.")
        if len(set(self.labels)) != len(self.labels):
            raise ConfigError(f"objective.labels: got a label twice in {list(self.labels)}, expected each once.")

    def to_dict(self) -> dict[str, Any]:
        """Plain, JSON-able form."""
        return {**asdict(self), "encoder": self.encoder.to_dict(), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the plain form; sections become their dataclasses.

        Raises:
            ConfigError: an unknown key or a value that does not fit.
        """
        known = [item.name for item in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_name("objective setting", key, known)
        plain = dict(values)
        if isinstance(plain.get("encoder"), Mapping):
            plain["encoder"] = SceneEncoderConfig.from_dict(plain["encoder"])
        if isinstance(plain.get("weights"), Mapping):
            names = [item.name for item in fields(LossWeights)]
            for key in plain["weights"]:
                if key not in names:
                    raise unknown_name("loss", key, names)
            plain["weights"] = LossWeights(**plain["weights"])
        return cls(**plain)


@dataclass(frozen=True, kw_only=True)
class SceneTextsConfig:
    """Which scenes there are, and what is said of each.

    Attributes:
        kind: ``"tabletop"`` or ``"room"``.
        train: number of scenes to learn from.
        gallery: number of validation scenes among which a text has to find its own; as many with held-out compositions.
        objects: noun phrases of a scene.
        references: phrases of a scene that fit one thing alone.
        relations: sentences of a scene about how two things stand.
        attributes: sentences of a scene about one thing.
        summary_relations: relations in the text about the whole scene.
        contrasts: pairs of a true sentence and one that is false by a word, at most; those that judge held-out compositions are
            as many as there are, up to 8.

    Raises:
        ConfigError: no such kind, or a number is out of range.
    """

    kind: SceneKind = "tabletop"
    train: int = 1000
    gallery: int = 100
    objects: int = 2
    references: int = 2
    relations: int = 2
    attributes: int = 1
    summary_relations: int = 2
    contrasts: int = 2

    def __post_init__(self) -> None:
        items_of(self.kind)
        for name, least in (("train", 2), ("gallery", 2)):
            self._check(name, least)
        for name in ("objects", "references", "relations", "attributes", "summary_relations", "contrasts"):
            self._check(name, 0)

    def _check(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"scenes.{name}: got {value!r}, expected a whole number of at least {least}.")
