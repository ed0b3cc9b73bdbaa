"""Configuration of the graph route. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from vla3d.errors import ConfigError, unknown_name
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig

Scoring = Literal["composed", "fused"]
_SCORINGS: tuple[str, ...] = get_args(Scoring)


@dataclass(frozen=True, kw_only=True)
class GraphRouteConfig:
    """How a policy reads the scene graph of what it sees.

    Attributes:
        enabled: whether it does; every other setting means nothing otherwise.
        pretrained: folder that ``vla3d pretrain objective=scene_graph`` wrote; its encoder and tokenizer are the beginning, for
            fused scoring the temperature too, and ``encoder`` is what it says there. Empty begins anew, with the policy's
            tokenizer.
        encoder: sizes of the encoder of graphs and sentences.
        scoring: how things are scored for a sentence: ``"composed"`` part by part, so that words that never met in training are
            understood together, or ``"fused"``, by similarity after fusion as in pre-training.
        reach: a demonstrated keyframe concerns the thing whose box is nearest to it, if it is within so many metres; where none
            is, nothing is learned from it. The default lets a hand that hovers over a thing, or has lifted it, count.
        weight: of the loss ``grounding``.
        end_to_end: whether the other losses reach the grounder through what it draws. Off, it answers for one thing only: which
            box is meant. On, heatmaps may bend that answer into whatever channel helps them, and a box that is drawn no longer
            says what the policy took the sentence to mean.
        dropout: share of training samples that are shown without their graph, so that the policy also knows how to go on where
            nothing is grounded (``graph=empty`` in rollouts).
        triplets: most relations that are added to the prompt in words, among those about things that the sentence mentions; 0
            adds none.

    Raises:
        ConfigError: a value is out of range.
    """

    enabled: bool = False
    pretrained: str = ""
    encoder: SceneEncoderConfig = field(
        default_factory=lambda: SceneEncoderConfig(points=32, text_layers=1, fusion_layers=2, max_text_tokens=64)
    )
    scoring: Scoring = "composed"
    reach: float = 0.15
    weight: float = 1.0
    end_to_end: bool = False
    dropout: float = 0.1
    triplets: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.encoder, Mapping):
            object.__setattr__(self, "encoder", SceneEncoderConfig.from_dict(self.encoder))
        for name in ("enabled", "end_to_end"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"policy.graph.{name}: got {getattr(self, name)!r}, expected true or false.")
        if not isinstance(self.pretrained, str):
            raise ConfigError(
                f"policy.graph.pretrained: got {self.pretrained!r}, expected a folder, or an empty text for none."
            )
        if self.scoring not in _SCORINGS:
            raise unknown_name("way of scoring (policy.graph.scoring)", str(self.scoring), _SCORINGS)
        for name, most in (("reach", float("inf")), ("weight", float("inf")), ("dropout", 1.0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < most:
                below = "" if most == float("inf") else f" and below {most:g}"
                raise ConfigError(f"policy.graph.{name}: got {value!r}, expected a number of 0 or more{below}.")
        if not isinstance(self.triplets, int) or isinstance(self.triplets, bool) or self.triplets < 0:
            raise ConfigError(f"policy.graph.triplets: got {self.triplets!r}, expected a whole number of 0 or more.")
