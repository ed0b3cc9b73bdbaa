"""PaliGemma (Beyer et al. 2024) as a `ViewBackbone`: SigLIP reads each view, Gemma reads views and sentence together."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PaliGemmaConfig, PaliGemmaModel

from vla3d.backbones.base import TextBatch, ViewBackbone, ViewTokens
from vla3d.backbones.config import PARTS, PaliGemmaBackboneConfig
from vla3d.backbones.initialization import smooth_patch_filters
from vla3d.backbones.prompt import Prompt, lay_out
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import CheckpointError, ConfigError

CONFIG_NAME, WEIGHTS_NAME = "backbone.json", "model.safetensors"


class PaliGemmaBackbone(ViewBackbone):
    """Views and a sentence through PaliGemma, without its language-modelling head.

    Prompt: the patches of view 0, 1, ... (rows downwards), a proprioception token if there is one, ``<bos>``, the
    sentence, a newline.
    With ``mask="text_first_causal"`` the patches come last.

    Args:
        config: sizes and options. A vocabulary size of 0 is taken from the tokenizer.
        tokenizer: turns sentences into tokens; None only to look at the architecture (no sentence can be read then).
        seed: of the initial weights; the global random state is left alone.
        dtype: number format of the weights, float32 when None. Unlike ``to(dtype)`` it leaves the rotary frequencies precise.

    Raises:
        ConfigError: when the tokenizer has more tokens than the configuration, or neither gives a vocabulary size.
    """

    def __init__(
        self,
        config: PaliGemmaBackboneConfig,
        tokenizer: InstructionTokenizer | None = None,
        *,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        _model: PaliGemmaModel | None = None,
    ) -> None:
        super().__init__()
        config = _with_vocabulary(config, tokenizer)
        self.config = config
        self.tokenizer = tokenizer
        self.dim = config.text_width
        self.grid = config.grid
        self.num_views = config.num_views
        self.resolution = config.resolution
        self.proprio_dim = config.proprio_dim
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = _model or PaliGemmaModel._from_config(
                config.to_transformers(), attn_implementation=_attention(config), dtype=dtype
            )
            if _model is None and not config.published:
                smooth_patch_filters(self.model.vision_tower.embeddings.patch_embedding)
            self.proprio: nn.Module | None = None
            if config.positions == "learned":
                self.view_embedding = nn.Parameter(torch.zeros(config.num_views, 1, 1, self.dim, dtype=dtype))
                self.word_embedding = nn.Parameter(torch.zeros(config.max_text_tokens, self.dim, dtype=dtype))
            if config.proprio_dim:
                layers = nn.Linear(config.proprio_dim, self.dim), nn.GELU(), nn.Linear(self.dim, self.dim)
                self.proprio = nn.Sequential(*layers).to(dtype)

    @classmethod
    def from_instructions(
        cls, config: PaliGemmaBackboneConfig, instructions: Sequence[str], *, seed: int = 0
    ) -> "PaliGemmaBackbone":
        """A new model whose vocabulary is learnt from the instructions it is to follow."""
        return cls(config, InstructionTokenizer.train(instructions), seed=seed)

    def forward(
        self,
        views: Float[Tensor, "B V 3 H W"],
        text: TextBatch,
        proprio: Float[Tensor, "B P"] | None = None,
        hints: Float[Tensor, "B V gh gw D"] | None = None,
    ) -> ViewTokens:
        """See `ViewBackbone.forward`."""
        self.check_inputs(views, text, proprio, hints)
        images = self.view_features(views)
        if hints is not None:
            images = images + hints.to(images.dtype)
        words = self.model.language_model.embed_tokens(text.ids)
        if self.config.positions == "learned":
            images = images + self.view_embedding
            words = words + self.word_embedding[: words.shape[1]]
        images = images.flatten(1, 3)
        state = None if self.proprio is None else self.proprio(proprio)[:, None].to(words.dtype)
        prompt = lay_out(text.mask, images.shape[1], 0 if state is None else 1, self.config.mask)
        hidden = self.model(
            inputs_embeds=prompt.join(images.to(words.dtype), state, words),
            attention_mask=self._attention_mask(prompt, words.dtype),
            position_ids=prompt.positions if self.config.positions == "rotary" else torch.zeros_like(prompt.positions),
            use_cache=False,
        ).last_hidden_state
        grid, spoken = prompt.split(hidden, images.shape[1], words.shape[1])
        return ViewTokens(
            grid=grid.unflatten(1, (self.num_views, *self.grid)), text=spoken.masked_fill(~text.mask[..., None], 0.0)
        )

    def view_features(self, views: Float[Tensor, "B V 3 H W"]) -> Float[Tensor, "B V gh gw D"]:
        """SigLIP features of each view, projected to the language model's width."""
        pixels = views.flatten(0, 1) * 2 - 1  # SigLIP's mean and standard deviation are 0.5 in every channel
        features = self.model.get_image_features(pixels).pooler_output
        return features.view(*views.shape[:2], *self.grid, self.dim)

    def tokenize(self, sentences: Sequence[str]) -> TextBatch:
        """See `ViewBackbone.tokenize`."""
        return self._reader().encode(sentences, self.config.max_text_tokens).to(self._device())

    def blank(self, batch_size: int) -> TextBatch:
        """See `ViewBackbone.blank`."""
        return self._reader().blank(batch_size).to(self._device())

    def parts(self) -> Mapping[str, nn.Module]:
        """See `ViewBackbone.parts`; the names are `config.PARTS`."""
        language_model = self.model.language_model
        modules = (
            self.model.vision_tower,
            self.model.multi_modal_projector,
            language_model,
            language_model.embed_tokens,
        )
        return dict(zip(PARTS, modules, strict=True))

    def pretrained_names(self) -> Iterator[str]:
        """See `ViewBackbone.pretrained_names`: PaliGemma's own, without the learned positions and the proprioception token."""
        return (f"model.{name}" for name, _ in self.model.named_parameters())

    def save_pretrained(self, directory: str | PathLike[str]) -> None:
        """Write ``backbone.json``, ``model.safetensors`` and ``tokenizer.json`` into ``directory``."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        self._reader().save(folder)
        (folder / CONFIG_NAME).write_text(json.dumps(dataclasses.asdict(self.config), indent=2) + "\n")
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS_NAME)

    @classmethod
    def from_pretrained(
        cls, directory: str | PathLike[str], *, dtype: torch.dtype | None = None, **options: Any
    ) -> "PaliGemmaBackbone":
        """Read what `save_pretrained` wrote, or a published PaliGemma in its `transformers` format.

        Args:
            directory: a local folder; nothing is downloaded. For published weights it holds ``config.json``, the
                ``*.safetensors`` and ``tokenizer.json`` as they lie on the Hub.
            dtype: number format of the weights, as stored when None.
            options: fields of `PaliGemmaBackboneConfig` that published weights leave open: ``num_views``, ``max_text_tokens``,
                ``mask``, ``proprio_dim``, ``attention``. Our own checkpoints carry them.

        Raises:
            CheckpointError: when a file is missing or damaged, or the weights do not fit the configuration.
        """
        folder = Path(directory)
        if not (folder / CONFIG_NAME).exists() and (folder / "config.json").exists():
            return cls._from_published(folder, dtype, options)
        if options:
            raise ConfigError(f"Got {', '.join(options)} for {folder}, expected no options: this checkpoint carries its own.")
        try:
            config = PaliGemmaBackboneConfig(**json.loads((folder / CONFIG_NAME).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{folder / CONFIG_NAME} cannot be read ({error}), expected a backbone checkpoint."
            ) from error
        backbone = cls(config, InstructionTokenizer.load(folder))
        try:
            weights = load_file(folder / WEIGHTS_NAME)
            stored = next(iter(weights.values())).dtype
            backbone.to(stored).load_state_dict(weights)
        except Exception as error:  # safetensors raises its own class, torch a RuntimeError
            raise CheckpointError(f"{folder / WEIGHTS_NAME} does not fit {CONFIG_NAME} beside it: {error}") from error
        return backbone if dtype is None else backbone.to(dtype)

    @classmethod
    def _from_published(cls, folder: Path, dtype: torch.dtype | None, options: dict[str, Any]) -> "PaliGemmaBackbone":
        try:
            config = PaliGemmaBackboneConfig.from_transformers(
                PaliGemmaConfig.from_pretrained(folder, local_files_only=True), **options
            )
            tokenizer = InstructionTokenizer.load(folder)
            loaded: Any = PaliGemmaModel.from_pretrained(
                folder,
                config=config.to_transformers(),
                attn_implementation=_attention(config),
                dtype=dtype or "auto",
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError) as error:
            raise CheckpointError(f"{folder} cannot be read as PaliGemma weights: {error}") from error
        model, report = loaded
        if report["missing_keys"] or report["mismatched_keys"]:
            lacking = sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])])
            raise CheckpointError(f"{folder} lacks {len(lacking)} of the model's weights, first {lacking[0]!r}.")
        return cls(config, tokenizer, _model=model)

    def _attention_mask(self, prompt: Prompt, dtype: torch.dtype) -> Tensor:
        if self.config.attention == "sdpa":
            return prompt.allowed
        blocked = torch.zeros(prompt.allowed.shape, dtype=dtype, device=prompt.allowed.device)
        return blocked.masked_fill_(~prompt.allowed, torch.finfo(dtype).min)

    def _reader(self) -> InstructionTokenizer:
        if self.tokenizer is None:
            raise ConfigError("This backbone has no tokenizer, expected one for reading sentences: pass it when building it.")
        return self.tokenizer

    def _device(self) -> torch.device:
        return self.model.device


def _attention(config: PaliGemmaBackboneConfig) -> dict[str, str]:
    return {"": config.attention, "text_config": config.attention, "vision_config": "sdpa"}


def _with_vocabulary(config: PaliGemmaBackboneConfig, tokenizer: InstructionTokenizer | None) -> PaliGemmaBackboneConfig:
    if tokenizer is None:
        if not config.vocab_size:
            raise ConfigError(
                "vocab_size is 0 and there is no tokenizer, expected one of the two to say how many tokens there are."
            )
        return config
    if not config.vocab_size:
        return dataclasses.replace(config, vocab_size=tokenizer.vocab_size)
    if tokenizer.vocab_size > config.vocab_size:
        raise ConfigError(
            f"The tokenizer has {tokenizer.vocab_size} tokens, expected at most vocab_size ({config.vocab_size})."
        )
    return config
