"""Sizes and options of the PaliGemma backbone, validated once and frozen."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from transformers import Gemma2Config, GemmaConfig, PaliGemmaConfig, SiglipVisionConfig

from vla3d.errors import ConfigError, unknown_name

Mask = Literal["bidirectional", "images_first_causal", "text_first_causal"]
MASKS: tuple[str, ...] = get_args(Mask)
Positions = Literal["rotary", "learned"]
POSITIONS: tuple[str, ...] = get_args(Positions)
PARTS = ("vision_tower", "projector", "language_model", "embeddings")
"""Parts of the model that can be frozen by name; the language model holds the (word) embeddings."""

# A field left at 0 takes the size's value. The two large sizes are the published checkpoints google/paligemma-3b-pt-224 and
# google/paligemma2-3b-pt-224 (their config.json), so their shapes may not be changed.
# The nano has two heads and hidden layers of twice the width, not four and four times: it is to learn within minutes on a CPU.
_NANO: dict[str, Any] = {
    "resolution": 64, "patch": 8, "vision_width": 64, "vision_layers": 1, "vision_heads": 2,
    "text_width": 64, "text_layers": 2, "text_heads": 2, "text_kv_heads": 1, "initializer_range": 0.1, "positions": "learned",
}  # fmt: skip
_SIGLIP_SO400M: dict[str, Any] = {
    "resolution": 224, "patch": 14, "vision_width": 1152, "vision_layers": 27, "vision_heads": 16, "vision_mlp": 4304,
    "vocab_size": 257216, "initializer_range": 0.02, "positions": "rotary",
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "nano": _NANO,
    "nano2": _NANO,
    "paligemma-3b-224": _SIGLIP_SO400M
    | {"text_width": 2048, "text_layers": 18, "text_heads": 8, "text_kv_heads": 1, "text_head_dim": 256, "text_mlp": 16384},
    "paligemma2-3b-224": _SIGLIP_SO400M
    | {"text_width": 2304, "text_layers": 26, "text_heads": 8, "text_kv_heads": 4, "text_head_dim": 256, "text_mlp": 9216},
}
_GEMMA2_SIZES = ("nano2", "paligemma2-3b-224")
_PUBLISHED = ("paligemma-3b-224", "paligemma2-3b-224")
_FREE_EVEN_WHEN_PUBLISHED = ("resolution", "initializer_range")


@dataclass(frozen=True, kw_only=True)
class PaliGemmaBackboneConfig:
    """What a `PaliGemmaBackbone` is built from. Numbers left at 0 are filled in from ``size``.

    Attributes:
        size: ``"nano"`` (trains from scratch on a CPU), ``"nano2"`` (the same with PaliGemma 2's language model),
            ``"paligemma-3b-224"``, ``"paligemma2-3b-224"``.
        num_views: views per sample.
        resolution: side of a view, pixels.
        patch: side of an image patch, pixels; it divides the resolution.
        vision_width, vision_layers, vision_heads, vision_mlp: the SigLIP image encoder.
        text_width, text_layers, text_heads, text_kv_heads, text_head_dim, text_mlp: the Gemma language model.
        vocab_size: number of tokens; 0 for a nano takes the tokenizer's.
        max_text_tokens: budget of one sentence, the two control tokens included. A longer sentence is refused.
        mask: who reads whom. ``"bidirectional"``: every token reads every other. ``"text_first_causal"``: the sentence comes
            first, and each token reads what comes before it. ``"images_first_causal"``: a control that must fail, since its
            image tokens cannot see the sentence.
        proprio_dim: length of the proprioception vector, 0 for none.
        positions: ``"rotary"``: as published. ``"learned"``: nothing is rotated; instead each view and each place in the
            sentence has an embedding, zero at first. In a narrow head most channels turn within a few tokens, so that with
            rotary positions a word must be found anew for every distance between it and a patch.
        initializer_range: standard deviation of the initial weights outside the image encoder. At widths of 64-128 the usual
            0.02 learns three times slower or not at all; 0.1 trains.
        attention: ``"sdpa"`` or ``"eager"``; ``""`` takes sdpa, and eager for Gemma 2, whose soft-capped scores sdpa lacks.

    Raises:
        ConfigError: when a value is out of range or two of them do not fit together.
    """

    size: str = "nano"
    num_views: int = 3
    resolution: int = 0
    patch: int = 0
    vision_width: int = 0
    vision_layers: int = 0
    vision_heads: int = 0
    vision_mlp: int = 0
    text_width: int = 0
    text_layers: int = 0
    text_heads: int = 0
    text_kv_heads: int = 0
    text_head_dim: int = 0
    text_mlp: int = 0
    vocab_size: int = 0
    max_text_tokens: int = 64
    mask: str = "bidirectional"
    proprio_dim: int = 0
    positions: str = ""
    initializer_range: float = 0.0
    attention: str = ""

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise unknown_name("backbone size", self.size, SIZES)
        if self.mask not in MASKS:
            raise unknown_name("attention mask", self.mask, MASKS)
        self._fill_in()
        if self.positions not in POSITIONS:
            raise unknown_name("kind of positions", self.positions, POSITIONS)
        self._check_numbers()
        if self.attention not in ("sdpa", "eager"):
            raise unknown_name("attention", self.attention, ("sdpa", "eager"))
        if self.gemma2 and self.attention != "eager":
            raise ConfigError(f"attention is {self.attention!r}, expected 'eager': Gemma 2 caps its scores, which sdpa cannot.")

    @property
    def gemma2(self) -> bool:
        """Whether the language model is Gemma 2 (else Gemma)."""
        return self.size in _GEMMA2_SIZES

    @property
    def published(self) -> bool:
        """Whether this is the architecture of published weights."""
        return self.size in _PUBLISHED

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per view, ``(rows, columns)``."""
        side = self.resolution // self.patch
        return side, side

    def _fill_in(self) -> None:
        preset = SIZES[self.size]
        for name, value in preset.items():
            given = getattr(self, name)
            if not given:
                object.__setattr__(self, name, value)
            elif given != value and self.published and name not in _FREE_EVEN_WHEN_PUBLISHED:
                raise ConfigError(f"{name} is {given}, expected {value}: size {self.size!r} is a published architecture.")
        derived = {
            "vision_mlp": 2 * self.vision_width,
            "text_mlp": 2 * self.text_width,
            "text_head_dim": self.text_width // max(1, self.text_heads),
            "attention": "eager" if self.gemma2 else "sdpa",
        }
        for name, value in derived.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    def _check_numbers(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("vocab_size", "proprio_dim") else 1
            if field.type is int and (not isinstance(value, int) or value < least):
                raise ConfigError(f"{field.name} is {value!r}, expected a whole number of at least {least}.")
        if self.resolution % self.patch:
            raise ConfigError(f"resolution is {self.resolution}, expected a multiple of patch ({self.patch}).")
        if self.vision_width % self.vision_heads:
            raise ConfigError(
                f"vision_width is {self.vision_width}, expected a multiple of vision_heads ({self.vision_heads})."
            )
        if self.text_heads % self.text_kv_heads:
            raise ConfigError(f"text_heads is {self.text_heads}, expected a multiple of text_kv_heads ({self.text_kv_heads}).")
        if self.text_head_dim % 2:
            raise ConfigError(
                f"text_head_dim is {self.text_head_dim}, expected an even number (rotary positions come in pairs)."
            )
        if self.max_text_tokens < 3:
            raise ConfigError(f"max_text_tokens is {self.max_text_tokens}, expected at least 3: a word and two control tokens.")
        if not 0 < self.initializer_range < 1:
            raise ConfigError(f"initializer_range is {self.initializer_range}, expected a value between 0 and 1.")

    @classmethod
    def from_transformers(cls, published: PaliGemmaConfig, **options: Any) -> "PaliGemmaBackboneConfig":
        """Describe an existing PaliGemma; ``options`` set the fields that its configuration leaves open.

        Raises:
            ConfigError: when an option contradicts the architecture or does not exist.
        """
        vision: Any = published.vision_config
        text: Any = published.text_config
        shape: dict[str, Any] = {
            "resolution": vision.image_size,
            "patch": vision.patch_size,
            "vision_width": vision.hidden_size,
            "vision_layers": vision.num_hidden_layers,
            "vision_heads": vision.num_attention_heads,
            "vision_mlp": vision.intermediate_size,
            "text_width": text.hidden_size,
            "text_layers": text.num_hidden_layers,
            "text_heads": text.num_attention_heads,
            "text_kv_heads": text.num_key_value_heads,
            "text_head_dim": text.head_dim,
            "text_mlp": text.intermediate_size,
            "vocab_size": text.vocab_size,
            "initializer_range": text.initializer_range,
            "positions": "rotary",
        }
        for name in options:
            if name in shape or name == "size" or name not in {field.name for field in dataclasses.fields(cls)}:
                open_fields = {field.name for field in dataclasses.fields(cls)} - {*shape, "size"}
                raise unknown_name("option of a published backbone", name, open_fields)
        gemma2 = text.model_type == "gemma2"
        for size in _PUBLISHED:
            fixed = {k: v for k, v in SIZES[size].items() if k not in _FREE_EVEN_WHEN_PUBLISHED}
            if fixed.items() <= shape.items() and gemma2 == (size in _GEMMA2_SIZES):
                return cls(size=size, **shape, **options)
        return cls(size="nano2" if gemma2 else "nano", **shape, **options)

    def to_transformers(self) -> PaliGemmaConfig:
        """The `transformers` configuration of the same architecture; attention directions agree with ``mask``."""
        bidirectional = self.mask == "bidirectional"
        vision = SiglipVisionConfig(
            hidden_size=self.vision_width,
            intermediate_size=self.vision_mlp,
            num_hidden_layers=self.vision_layers,
            num_attention_heads=self.vision_heads,
            image_size=self.resolution,
            patch_size=self.patch,
            vision_use_head=False,
        )
        shared: dict[str, Any] = {
            "vocab_size": self.vocab_size,
            "hidden_size": self.text_width,
            "intermediate_size": self.text_mlp,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.text_heads,
            "num_key_value_heads": self.text_kv_heads,
            "head_dim": self.text_head_dim,
            "initializer_range": self.initializer_range,
            "use_bidirectional_attention": bidirectional,
            "use_cache": False,
        }
        # Gemma 2 scales its scores by a number of its own; the published one (256) is the width of a head.
        scaling: dict[str, Any] = {"query_pre_attn_scalar": self.text_head_dim} if self.gemma2 else {}
        text = (Gemma2Config if self.gemma2 else GemmaConfig)(**shared, **scaling)
        text.is_causal = not bidirectional
        return PaliGemmaConfig(
            vision_config=vision,
            text_config=text,
            projection_dim=self.text_width,
            hidden_size=self.text_width,
            vocab_size=self.vocab_size,
            # Published checkpoints keep <image> one past their text vocabulary; the adapter itself never looks it up.
            image_token_index=257152 if self.published else self.vocab_size - 1,
        )


def check_parts(names: Iterable[str]) -> None:
    """Refuse to freeze what is no part of the model.

    Raises:
        ConfigError: naming it.
    """
    for name in names:
        if name not in PARTS:
            raise unknown_name("part of the backbone to freeze", name, PARTS)
