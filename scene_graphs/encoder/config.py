"""Configuration of the encoder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from vla3d.errors import ConfigError, unknown_name
from vla3d.scene_graphs.predicates.table import RELATIONS

EdgeInputs = Literal["both", "predicates", "geometry"]
_EDGE_INPUTS: tuple[str, ...] = get_args(EdgeInputs)


@dataclass(frozen=True, kw_only=True)
class SceneEncoderConfig:
    """Sizes of the encoder of scene graphs and sentences, and what it reads of a graph.

    Attributes:
        width: of all hidden features.
        embedding: dimensions of the space in which things, pairs, words, sentences and scenes are compared.
        heads: of attention; they share ``width``.
        points: most points that are read of one object.
        graph_layers: rounds of messages along edges; 0 reads every object by itself.
        text_layers: self-attention layers over the words.
        fusion_layers: layers in which words and objects attend to each other.
        edge_inputs: what an edge says of its pair: ``"predicates"``, the relative ``"geometry"`` of the boxes, or ``"both"``.
        predicates: names that edges carry.
        max_text_tokens: most tokens of a text.

    Raises:
        ConfigError: a size is out of range, or a name is unknown.
    """

    width: int = 64
    embedding: int = 64
    heads: int = 4
    points: int = 64
    graph_layers: int = 2
    text_layers: int = 2
    fusion_layers: int = 1
    edge_inputs: EdgeInputs = "both"
    predicates: tuple[str, ...] = RELATIONS
    max_text_tokens: int = 160

    def __post_init__(self) -> None:
        object.__setattr__(self, "predicates", tuple(self.predicates))
        for name, least in (
            ("width", 1),
            ("embedding", 1),
            ("heads", 1),
            ("points", 1),
            ("graph_layers", 0),
            ("text_layers", 0),
            ("fusion_layers", 1),
            ("max_text_tokens", 3),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"encoder.{name}: got {value!r}, expected a whole number of at least {least}.")
        if self.width % self.heads:
            raise ConfigError(f"encoder.width: got {self.width}, expected a multiple of heads, which is {self.heads}.")
        if self.edge_inputs not in _EDGE_INPUTS:
            raise unknown_name("edge input", str(self.edge_inputs), _EDGE_INPUTS)
        for predicate in self.predicates:
            if predicate not in RELATIONS:
                raise unknown_name("predicate", str(predicate), RELATIONS)

    def to_dict(self) -> dict[str, Any]:
        """Plain, JSON-able form."""
        return {**asdict(self), "predicates": list(self.predicates)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the plain form.

        Raises:
            ConfigError: an unknown key or a value that does not fit.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_name("encoder setting", key, known)
        return cls(**values)
