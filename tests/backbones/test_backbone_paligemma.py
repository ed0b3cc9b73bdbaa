"""PaliGemma behind the adapter: against transformers' own path, its sizes, its checkpoints and its bad inputs."""

import json
import time

import pytest
import torch
from transformers import PaliGemmaForConditionalGeneration

from vla3d.backbones.base import TextBatch
from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.backbones.paligemma import PaliGemmaBackbone
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import CheckpointError, ConfigError, InstructionError

SENTENCES = ["pick up the red block", "put the blue cylinder into the open drawer, please"]
NANO = PaliGemmaBackboneConfig()


def views(batch: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def nano() -> PaliGemmaBackbone:
    return PaliGemmaBackbone.from_instructions(NANO, SENTENCES).eval()


@pytest.mark.parametrize("size", ["nano", "nano2"])
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_equals_the_documented_transformers_call(size: str, padded: bool) -> None:
    """Same numbers as placeholder ids, pixel values and token_type_ids through PaliGemmaModel.forward."""
    backbone = PaliGemmaBackbone.from_instructions(PaliGemmaBackboneConfig(size=size, positions="rotary"), SENTENCES).eval()
    assert backbone.tokenizer is not None
    text = backbone.tokenize(SENTENCES if padded else SENTENCES[1:] * 2)
    assert bool(text.mask.all()) is not padded
    pictures = views(2)
    ours = backbone(pictures, text)

    image_id = backbone.tokenizer._tokenizer.token_to_id("<image>")
    model = backbone.model
    model.config.image_token_id = image_id
    placeholders = torch.full((2, 192), image_id)
    reference = model.language_model.config
    reference.is_causal = True  # so that the directions come from token_type_ids alone
    hidden = model(
        input_ids=torch.cat([placeholders, text.ids], dim=1),
        pixel_values=None,
        mm_encoder_outputs={"image": _joined(model.get_image_features(pictures.flatten(0, 1) * 2 - 1))},
        attention_mask=torch.cat([torch.ones(2, 192, dtype=torch.bool), text.mask], dim=1).long(),
        token_type_ids=torch.zeros(2, 192 + text.ids.shape[1], dtype=torch.long),
        use_cache=False,
    ).last_hidden_state
    torch.testing.assert_close(ours.grid.flatten(1, 3), hidden[:, :192], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ours.text[text.mask], hidden[:, 192:][text.mask], atol=2e-5, rtol=1e-4)


def _joined(output):  # type: ignore[no-untyped-def]
    """Six images of a batch of two, as three images for each sample (what transformers scatters in order)."""
    output.pooler_output = output.pooler_output.reshape(2, 192, -1)
    return output


def test_three_billion_parameters_on_the_meta_device() -> None:
    with torch.device("meta"):
        backbone = PaliGemmaBackbone(PaliGemmaBackboneConfig(size="paligemma-3b-224"))
    assert all(parameter.is_meta for parameter in backbone.parameters())
    assert sum(p.numel() for p in backbone.model.language_model.parameters()) == 2_508_662_784
    assert sum(p.numel() for p in backbone.model.vision_tower.parameters()) == 412_442_352
    assert backbone.dim == 2048 and backbone.grid == (16, 16) and backbone.config.vocab_size == 257216
    assert not any("lm_head" in name for name, _ in backbone.named_parameters())


def test_paligemma2_on_the_meta_device() -> None:
    with torch.device("meta"):
        backbone = PaliGemmaBackbone(PaliGemmaBackboneConfig(size="paligemma2-3b-224"))
    language = sum(p.numel() for p in backbone.model.language_model.parameters())
    assert language == pytest.approx(2.61e9, rel=0.01) and backbone.dim == 2304


def test_nano_is_small_and_quick(nano: PaliGemmaBackbone) -> None:
    assert sum(p.numel() for p in nano.parameters()) < 1_000_000
    text, pictures = nano.tokenize(SENTENCES[:1]), views(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            times = []
            for _ in range(20):
                start = time.process_time()
                nano(pictures, text)
                times.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert min(times) < 0.030  # 3 ms on an idle core; ten times that still excludes a rebuilt mask or cache


def test_initial_weights_are_wide_enough_to_train(nano: PaliGemmaBackbone) -> None:
    assert NANO.initializer_range == 0.1
    for name in ("q_proj", "k_proj"):
        weight = getattr(nano.model.language_model.layers[0].self_attn, name).weight
        assert weight.std().item() == pytest.approx(0.1, rel=0.1)
    assert PaliGemmaBackboneConfig(size="paligemma-3b-224").initializer_range == 0.02


def test_same_seed_same_weights_and_no_trace_in_the_global_state() -> None:
    tokenizer = InstructionTokenizer.train(SENTENCES)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    config = PaliGemmaBackboneConfig(proprio_dim=3)
    first = PaliGemmaBackbone(config, tokenizer, seed=5).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = PaliGemmaBackbone(config, tokenizer, seed=5).state_dict()
    other = PaliGemmaBackbone(config, tokenizer, seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["proprio.0.weight"], other["proprio.0.weight"])
    assert not torch.equal(first["model.language_model.embed_tokens.weight"], other["model.language_model.embed_tokens.weight"])


@pytest.mark.parametrize("mask", ["bidirectional", "text_first_causal"])
@pytest.mark.parametrize("size", ["nano", "nano2"])
def test_every_parameter_learns(size: str, mask: str) -> None:
    config = PaliGemmaBackboneConfig(size=size, mask=mask, proprio_dim=2)
    backbone = PaliGemmaBackbone.from_instructions(config, SENTENCES)
    tokens = backbone(views(2), backbone.tokenize(SENTENCES), torch.rand(2, 2, generator=torch.Generator().manual_seed(1)))
    (tokens.grid * torch.randn(tokens.grid.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        # A key bias shifts all scores of a query alike, which softmax ignores: its gradient is zero by definition.
        if "k_proj.bias" not in name:
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("resolution", "patch", "side"), [(64, 8, 8), (80, 8, 10), (96, 12, 8), (112, 14, 8)])
def test_resolutions(resolution: int, patch: int, side: int) -> None:
    config = PaliGemmaBackboneConfig(resolution=resolution, patch=patch)
    backbone = PaliGemmaBackbone.from_instructions(config, SENTENCES)
    tokens = backbone(views(1, resolution), backbone.tokenize(SENTENCES[:1]))
    assert backbone.grid == (side, side) and tokens.grid.shape == (1, 3, side, side, 64)


def test_bfloat16(nano: PaliGemmaBackbone) -> None:
    half = PaliGemmaBackbone(nano.config, nano.tokenizer).to(torch.bfloat16).eval()
    half.load_state_dict(nano.state_dict())
    text = nano.tokenize(SENTENCES)
    with torch.no_grad():
        full, low = nano(views(2), text).grid, half(views(2), text).grid
        with torch.autocast("cpu", torch.bfloat16):
            mixed = nano(views(2), text).grid
    assert low.dtype == torch.bfloat16
    for other in (low, mixed):
        assert (other.float() - full).square().mean().sqrt() < 0.1 * full.square().mean().sqrt()


def test_published_format_loads(tmp_path) -> None:
    nano = PaliGemmaBackbone.from_instructions(PaliGemmaBackboneConfig(positions="rotary"), SENTENCES).eval()
    assert nano.tokenizer is not None
    published = PaliGemmaForConditionalGeneration(nano.config.to_transformers())
    published.model.load_state_dict(nano.model.state_dict())
    published.save_pretrained(tmp_path)
    nano.tokenizer.save(tmp_path)
    backbone = PaliGemmaBackbone.from_pretrained(tmp_path, max_text_tokens=32).eval()
    assert backbone.config.max_text_tokens == 32
    with torch.no_grad():
        expected, found = (b(views(2), b.tokenize(SENTENCES)).grid for b in (nano, backbone))
    assert torch.equal(expected, found)
    with pytest.raises(ConfigError, match="Unknown option of a published backbone 'text_width'"):
        PaliGemmaBackbone.from_pretrained(tmp_path, text_width=128)
    half = PaliGemmaBackbone.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert next(half.parameters()).dtype == torch.bfloat16


def test_published_configuration_is_recognised() -> None:
    for size in ("paligemma-3b-224", "paligemma2-3b-224"):
        config = PaliGemmaBackboneConfig(size=size)
        assert PaliGemmaBackboneConfig.from_transformers(config.to_transformers()) == config


def test_checkpoint_carries_everything(tmp_path) -> None:
    config = PaliGemmaBackboneConfig(proprio_dim=3, mask="text_first_causal", max_text_tokens=20)
    backbone = PaliGemmaBackbone.from_instructions(config, SENTENCES, seed=4)
    backbone.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backbone.json", "model.safetensors", "tokenizer.json"]
    again = PaliGemmaBackbone.from_pretrained(tmp_path)
    assert again.config == backbone.config
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in backbone.state_dict().items())


def test_damaged_checkpoints_are_named(nano: PaliGemmaBackbone, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"backbone\.json cannot be read"):
        PaliGemmaBackbone.from_pretrained(tmp_path / "nowhere")
    nano.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "backbone.json").read_text())
    (tmp_path / "backbone.json").write_text(json.dumps(settings | {"text_layers": 3}))
    with pytest.raises(CheckpointError, match="does not fit"):
        PaliGemmaBackbone.from_pretrained(tmp_path)
    (tmp_path / "backbone.json").write_text(json.dumps(settings))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match="does not fit"):
        PaliGemmaBackbone.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="expected no options"):
        PaliGemmaBackbone.from_pretrained(tmp_path, mask="bidirectional")


def test_published_checkpoint_without_weights_is_refused(nano: PaliGemmaBackbone, tmp_path) -> None:
    assert nano.tokenizer is not None
    nano.config.to_transformers().save_pretrained(tmp_path)
    nano.tokenizer.save(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read as PaliGemma weights"):
        PaliGemmaBackbone.from_pretrained(tmp_path)


def test_wrong_shapes_are_named(nano: PaliGemmaBackbone) -> None:
    text = nano.tokenize(SENTENCES)
    with pytest.raises(ValueError, match=r"views has shape \(2, 3, 3, 32, 32\), expected \(B, 3, 3, 64, 64\)"):
        nano(views(2, 32), text)
    with pytest.raises(ValueError, match="text has 2 rows, expected 3"):
        nano(views(3), text)
    with pytest.raises(ValueError, match="proprio was given, expected None"):
        nano(views(2), text, torch.zeros(2, 4))
    needs = PaliGemmaBackbone.from_instructions(PaliGemmaBackboneConfig(proprio_dim=4), SENTENCES)
    with pytest.raises(ValueError, match=r"proprio is None, expected shape \(2, 4\)"):
        needs(views(2), text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "nanoo"}, "Unknown backbone size 'nanoo'. Did you mean"),
        ({"mask": "causal"}, "Unknown attention mask"),
        ({"resolution": 100}, "multiple of patch"),
        ({"vision_width": 65}, "multiple of vision_heads"),
        ({"text_kv_heads": 3}, "multiple of text_kv_heads"),
        ({"text_head_dim": 7}, "even number"),
        ({"num_views": 0}, "num_views is 0"),
        ({"text_layers": -1}, "text_layers is -1"),
        ({"max_text_tokens": 2}, "max_text_tokens is 2"),
        ({"initializer_range": 2.0}, "initializer_range is 2.0"),
        ({"attention": "flash"}, "Unknown attention"),
        ({"size": "nano2", "attention": "sdpa"}, "expected 'eager'"),
        ({"size": "paligemma-3b-224", "text_width": 1024}, "published architecture"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PaliGemmaBackboneConfig(**options)  # type: ignore[arg-type]


def test_tokenizer_and_vocabulary_must_fit() -> None:
    with pytest.raises(ConfigError, match="vocab_size is 0 and there is no tokenizer"):
        PaliGemmaBackbone(NANO)
    with pytest.raises(ConfigError, match="expected at most vocab_size"):
        PaliGemmaBackbone(PaliGemmaBackboneConfig(vocab_size=50), InstructionTokenizer.train(SENTENCES))
    with pytest.raises(ConfigError, match="has no tokenizer"):
        PaliGemmaBackbone(PaliGemmaBackboneConfig(vocab_size=400)).tokenize(SENTENCES)


def test_budget_of_the_configuration_holds() -> None:
    backbone = PaliGemmaBackbone.from_instructions(PaliGemmaBackboneConfig(max_text_tokens=8), SENTENCES)
    assert backbone.tokenize(SENTENCES[:1]).ids.shape == (1, 7)
    with pytest.raises(InstructionError, match="expected at most 8"):
        backbone.tokenize(SENTENCES[1:])


def test_blank_prompt_has_no_words(nano: PaliGemmaBackbone) -> None:
    blank = nano.blank(3)
    assert isinstance(blank, TextBatch) and blank.ids.shape == (3, 2) and bool(blank.mask.all())
    assert nano(views(3), blank).grid.shape == (3, 3, 8, 8, 64)


def test_patch_filters_start_smooth_and_silent_on_black(nano: PaliGemmaBackbone) -> None:
    embedding = nano.model.vision_tower.embeddings.patch_embedding
    black = torch.full((1, 3, 8, 8), -1.0)
    with torch.no_grad():
        assert embedding(black).abs().max() < 1e-4
        corner, beside, opposite = (black.clone() for _ in range(3))
        corner[..., :4, :4], beside[..., :4, 1:5], opposite[..., 4:, 4:] = 1.0, 1.0, 1.0
        reference, near, far = (embedding(image).flatten() for image in (corner, beside, opposite))
    similarity = torch.nn.functional.cosine_similarity
    # Independent pixels would give a shift by one of four columns 0.75, and no likeness at all across the patch.
    assert similarity(reference, near, dim=0) > 0.9
    assert similarity(reference, far, dim=0) > 0.3


def test_learned_positions_start_as_a_bag_of_words_and_tell_order_once_trained(nano: PaliGemmaBackbone) -> None:
    first, second = "put red into blue", "put blue into red"
    model = PaliGemmaBackbone.from_instructions(NANO, [first, second]).eval()
    pictures = views(1)
    with torch.no_grad():
        bag = [model(pictures, model.tokenize([sentence])).grid for sentence in (first, second)]
        model.word_embedding.normal_(std=1.0)
        ordered = [model(pictures, model.tokenize([sentence])).grid for sentence in (first, second)]
    torch.testing.assert_close(bag[0], bag[1], atol=1e-4, rtol=1e-3)
    assert (ordered[0] - ordered[1]).abs().max() > 1e-2


def test_learned_positions_tell_views_apart(nano: PaliGemmaBackbone) -> None:
    model = PaliGemmaBackbone.from_instructions(NANO, SENTENCES).eval()
    same = views(1)[:, :1].expand(1, 3, 3, 64, 64)
    with torch.no_grad():
        alike = model(same, model.tokenize(SENTENCES[:1])).grid
        model.view_embedding.normal_(std=1.0)
        apart = model(same, model.tokenize(SENTENCES[:1])).grid
    torch.testing.assert_close(alike[:, 0], alike[:, 1], atol=1e-4, rtol=1e-3)
    assert (apart[:, 0] - apart[:, 1]).abs().max() > 1e-2
