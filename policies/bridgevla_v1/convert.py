"""A checkpoint of the release becomes a folder that `load_policy` opens."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PaliGemmaConfig

from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import CheckpointError, ConfigError
from vla3d.policies.bridgevla_v1.checkpoint_files import StoredTensor, stored_tensors
from vla3d.policies.bridgevla_v1.config import VIEWS, BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.heads import ActionHead, code_frequencies
from vla3d.policies.bridgevla_v1.key_map import KeyMap, Kind, kind_of, map_keys
from vla3d.policies.bridgevla_v1.key_map_text import describe, report
from vla3d.policies.bridgevla_v1.modeling import BridgeVLAV1
from vla3d.policies.bridgevla_v1.names import POSITIONAL_CODE, bare_name
from vla3d.policies.learned import write_policy

REPORT_FILE = "conversion.txt"
PUBLISHED = "paligemma-3b-224"
MAX_TEXT_TOKENS = 128
_PALIGEMMA_CONFIG = "config.json"
_HOW_TO_GET_IT = (
    "accept Gemma's terms at huggingface.co/google/paligemma-3b-pt-224, run "
    "'hf download google/paligemma-3b-pt-224 tokenizer.json config.json --local-dir DIR', and give tokenizer=DIR"
)


@dataclass(frozen=True, kw_only=True)
class ConvertCheckpointConfig:
    """What ``vla3d convert bridgevla-checkpoint`` converts.

    Attributes:
        source: see `stored_tensors`.
        out: the new folder; None only for a dry run.
        tokenizer: a folder with PaliGemma's ``tokenizer.json``; its ``config.json``, if there, tells the model's size.
        dry_run: only say what would become of every key.
        workspace_low: lower corner of the scenes that the checkpoint was trained on, metres; the default is RLBench's.
        workspace_high: upper corner.
        cameras: cameras that it was trained with, in the release's order.
        seed: of weights that the checkpoint does not hold.
    """

    source: Path
    out: Path | None = None
    tokenizer: Path | None = None
    dry_run: bool = False
    workspace_low: tuple[float, float, float] = BridgeVLAV1Config.workspace_low
    workspace_high: tuple[float, float, float] = BridgeVLAV1Config.workspace_high
    cameras: tuple[str, ...] = BridgeVLAV1Config.cameras
    seed: int = 0

    def __post_init__(self) -> None:
        if self.out is None and not self.dry_run:
            raise ConfigError("Got no out, expected the folder to write: vla3d convert bridgevla-checkpoint SRC DST.")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was found, and what was made of it.

    Attributes:
        kind: ``"fine-tuned"`` (a whole policy) or ``"pre-trained"`` (backbone and heatmap head).
        key_map: what became of every key.
        summary: the same as lines for a screen.
        policy: the folder written; None after a dry run.
    """

    kind: Kind
    key_map: KeyMap
    summary: tuple[str, ...]
    policy: Path | None


def convert_checkpoint(config: ConvertCheckpointConfig) -> Conversion:
    """Convert; the folder appears whole or not at all.

    Raises:
        CheckpointError: the checkpoint cannot be read, lacks a weight, is of another size or another program's.
        ConfigError: there is no tokenizer, ``out`` is taken, or a setting does not fit.
    """
    stored = stored_tensors(config.source)
    kind = kind_of(stored, config.source)
    settings = policy_settings(stored, config)
    with torch.device("meta"):
        expected = BridgeVLAV1(settings, None).state_dict()
    key_map = map_keys(stored, expected, kind)
    key_map.check(config.source)
    summary = tuple(describe(key_map, stored, kind, whole=config.dry_run))
    if config.dry_run:
        return Conversion(kind=kind, key_map=key_map, summary=summary, policy=None)
    assert config.out is not None
    tokenizer = _tokenizer(config, settings)
    _check_positional_code(key_map, stored, config.source)
    weights = {name: stored[theirs].read().to(expected[name].dtype).contiguous() for name, theirs in key_map.used.items()}
    if key_map.fresh:
        weights |= _fresh_heads(settings, config.seed)
    with _written_aside(config.out) as folder:
        try:
            tokenizer.save(folder)
            (folder / REPORT_FILE).write_text(report(key_map, stored, expected, kind, config.source))
            write_policy(folder, BridgeVLAV1.name, settings.to_dict(), weights)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{config.out} cannot be written ({error}); free space and convert again.") from error
    return Conversion(kind=kind, key_map=key_map, summary=summary, policy=config.out)


def policy_settings(stored: Mapping[str, StoredTensor], config: ConvertCheckpointConfig) -> BridgeVLAV1Config:
    """The policy that fits a checkpoint: sizes of the heads from its shapes, the rest from PaliGemma's configuration."""
    backbone = _backbone(config.tokenizer)
    shapes = {bare_name(name): tensor.shape for name, tensor in stored.items()}
    language = [tensor.dtype for name, tensor in stored.items() if bare_name(name).startswith("language_model.")]
    head = shapes.get("up0.net_out.0.weight", (0,))[0]
    # What a pre-trained checkpoint does not tell keeps the release's proportions.
    first = shapes.get("feat_fc_x.0.weight", (2 * backbone.text_width,))[0]
    second = shapes.get("feat_fc_x.2.weight", (backbone.text_width,))[0]
    return BridgeVLAV1Config(
        workspace_low=config.workspace_low,
        workspace_high=config.workspace_high,
        cameras=config.cameras,
        backbone=replace(backbone, max_text_tokens=MAX_TEXT_TOKENS),
        backbone_dtype="bfloat16" if torch.bfloat16 in language else "float32",
        head_width=max(1, head),
        action_widths=(first, second),
    )


def _backbone(folder: Path | None) -> PaliGemmaBackboneConfig:
    if folder is None or not (folder / _PALIGEMMA_CONFIG).is_file():
        return PaliGemmaBackboneConfig(size=PUBLISHED)
    try:
        published = PaliGemmaConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / _PALIGEMMA_CONFIG} is no configuration of PaliGemma ({error}).") from error
    return PaliGemmaBackboneConfig.from_transformers(published)


def _tokenizer(config: ConvertCheckpointConfig, settings: BridgeVLAV1Config) -> InstructionTokenizer:
    if config.tokenizer is None:
        raise ConfigError(f"The checkpoint comes without PaliGemma's tokenizer: {_HOW_TO_GET_IT}.")
    try:
        tokenizer = InstructionTokenizer.load(config.tokenizer)
    except CheckpointError as error:
        raise CheckpointError(f"{str(error).rstrip('.')}; {_HOW_TO_GET_IT}.") from error
    if tokenizer.vocab_size > settings.backbone.vocab_size:
        raise ConfigError(
            f"The tokenizer in {config.tokenizer} has {tokenizer.vocab_size} tokens and the checkpoint "
            f"{settings.backbone.vocab_size} embeddings; take the tokenizer of its PaliGemma."
        )
    return tokenizer


def _check_positional_code(key_map: KeyMap, stored: Mapping[str, StoredTensor], source: Path) -> None:
    for name in key_map.left_over:
        if bare_name(name) == POSITIONAL_CODE:
            theirs = stored[name].read().flatten().float()
            if not torch.allclose(theirs, code_frequencies(2 * len(theirs)), rtol=1e-4, atol=0.0):
                raise CheckpointError(f"{source}: {name!r} holds other frequencies than the 2025 release has; fetch it again.")


def _fresh_heads(settings: BridgeVLAV1Config, seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = ActionHead(settings.backbone.text_width, len(VIEWS), settings.action_widths)
    return {f"action_head.{name}": value for name, value in head.state_dict().items()}


@contextmanager
def _written_aside(out: Path) -> Iterator[Path]:
    """A folder that takes the place of ``out`` once it is complete."""
    aside = out.parent / f".{out.name}.partial"
    aside.mkdir(parents=True, exist_ok=True)
    with _alone_in(aside, out):
        try:
            if out.exists() and not (out.is_dir() and not any(out.iterdir())):
                raise ConfigError(f"out: {out} exists and is not an empty folder; choose another, or remove it.")
            for left in aside.iterdir():  # by a conversion that was killed
                left.unlink()
            yield aside
            aside.replace(out)
        except BaseException:
            rmtree(aside, ignore_errors=True)
            raise


@contextmanager
def _alone_in(aside: Path, out: Path) -> Iterator[None]:
    """The kernel drops the lock when its holder dies, however it dies."""
    descriptor = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (aside.exists() and os.path.samestat(os.fstat(descriptor), aside.stat())):  # finished in between
            raise BlockingIOError
        yield
    except BlockingIOError:
        raise ConfigError(f"out: {out} is being written by another process; wait until it has finished.") from None
    finally:
        os.close(descriptor)
