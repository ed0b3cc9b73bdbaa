"""Checkpoints of the 2025 release: every key accounted for at full size, the same answers at a small one, bad files refused."""

import errno
import fcntl
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bridgevla_v1_checkpoints import (
    NESTINGS,
    Nesting,
    fine_tuned,
    full_size,
    head_shapes,
    paligemma_weights,
    pre_trained,
)
from safetensors.torch import save_file
from test_bridgevla import CAMERA, observation
from torch import Tensor
from toy_scenes import HIGH, LOW, toy_sentences
from transformers import PaliGemmaModel

from vla3d import cli
from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.policies.bridgevla_v1 import BridgeVLAV1
from vla3d.policies.bridgevla_v1.checkpoint_files import StoredTensor, stored_tensors
from vla3d.policies.bridgevla_v1.config import BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.key_map import kind_of, map_keys
from vla3d.policies.learned import load_policy
from vla3d.views import lift_rvt2_heatmaps, project_to_rvt2_views, sample_by_inverse_distance

NUMBERS = np.load(Path(__file__).parent / "data/bridgevla_v1.npz")
SENTENCE = "pick up the red cube"
SCENE = (f"workspace_low={list(LOW)}", f"workspace_high={list(HIGH)}", f"cameras=[{CAMERA}]")


def stored(tensors: Mapping[str, Tensor]) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=lambda value=value: value)
        for name, value in tensors.items()
    }


# Full size


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("nesting", NESTINGS)
def test_every_key_of_the_published_size_is_accounted_for(nesting: Nesting, prefix: str) -> None:
    model, heads = full_size(nesting)
    with torch.device("meta"):
        expected = BridgeVLAV1(BridgeVLAV1Config(), None).state_dict()
    assert all(value.is_meta for value in expected.values())
    whole = stored(fine_tuned(model, heads, prefix))
    assert kind_of(whole, "it") == "fine-tuned"
    key_map = map_keys(whole, expected, "fine-tuned")
    assert list(key_map.used) == list(expected) and len(set(key_map.used.values())) == len(expected)
    assert not key_map.missing and not key_map.different and not key_map.unexplained and not key_map.fresh
    assert sorted(name.rsplit(".", 2)[-2] for name in key_map.left_over) == ["feat_fc_pe", "lm_head"]
    assert len(key_map.used) + len(key_map.left_over) == len(whole)

    start = stored(pre_trained(model, heads, prefix))
    assert kind_of(start, "it") == "pre-trained"
    key_map = map_keys(start, expected, "pre-trained")
    assert not key_map.missing and not key_map.different and not key_map.unexplained
    assert {name.split(".")[0] for name in key_map.used} == {"backbone", "heatmap_head"}
    assert {name.split(".")[0] for name in key_map.fresh} == {"action_head"}


def test_the_heads_are_of_the_published_size() -> None:
    """309.3 million weights for heatmaps and 235.4 million for four networks."""
    with torch.device("meta"):
        policy = BridgeVLAV1(BridgeVLAV1Config(), None)
    networks = [policy.action_head.gripper_and_collisions, policy.action_head.rotation]
    sizes = [sum(value.numel() for part in parts for value in part.parameters()) for parts in ([policy.heatmap_head], networks)]
    assert [round(size / 1e6, 1) for size in sizes] == [309.3, 235.4]


def test_a_dry_run_needs_no_memory_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of the published shapes without a single number: 3.5 billion weights are planned for in a moment."""
    torch.save({"epoch": 80, "model_state": fine_tuned(*full_size("4.51"))}, tmp_path / "model_80.pth")
    before = sorted(tmp_path.iterdir())
    assert cli.main(("convert", "bridgevla-checkpoint", str(tmp_path / "model_80.pth"), "dry_run=true")) == 0
    printed = capsys.readouterr().out
    assert "A fine-tuned checkpoint of BridgeVLA's 2025 release, 644 keys." in printed
    assert "mvt1.feat_fc_z.4.weight -> action_head.rotation.2.4.weight  1 key [72, 2048]" in printed
    assert "layers.*.mlp.up_proj.weight  18 keys [16384, 2048]" in printed
    assert "Missing: 0. Unexplained: 0." in printed and "nothing was written" in printed
    assert sorted(tmp_path.iterdir()) == before


# A small size


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it would be fetched: PaliGemma's tokenizer and configuration, at a small size."""
    folder = tmp_path_factory.mktemp("paligemma")
    words = InstructionTokenizer.train(toy_sentences())
    words.save(folder)
    config = PaliGemmaBackboneConfig(
        size="nano", resolution=224, patch=14, vision_width=16, text_width=16, text_layers=1, vocab_size=words.vocab_size,
        positions="rotary",
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config.to_transformers().to_dict()))
    return folder


@pytest.fixture(scope="module")
def parts(tokenizer: Path) -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """A random PaliGemma under the names of each version, and heads whose numbers the official program made."""
    from transformers import PaliGemmaConfig

    heads = {name.removeprefix("pose."): torch.from_numpy(NUMBERS[name]) for name in NUMBERS.files if name.startswith("pose.")}
    assert {name: tuple(value.shape) for name, value in heads.items()} == dict(head_shapes(16, 32, (32, 16), 14))
    found = {}
    for nesting in NESTINGS:
        torch.manual_seed(5)
        model = paligemma_weights(PaliGemmaConfig.from_pretrained(tokenizer), nesting)
        found[nesting] = {name: value.clone() for name, value in model.items()}, heads
    return {name: parts for name, parts in found.items()}


@pytest.fixture
def convert(tokenizer: Path, tmp_path: Path) -> Callable[..., BridgeVLAV1]:
    def run(source: Path, *words: str) -> BridgeVLAV1:
        out = tmp_path / "policy"
        arguments = ("convert", "bridgevla-checkpoint", str(source), str(out), f"tokenizer={tokenizer}", *SCENE, *words)
        assert cli.main(arguments) == 0
        policy = load_policy(out)
        assert isinstance(policy, BridgeVLAV1)
        return policy

    return run


@pytest.mark.parametrize("nesting", NESTINGS)
def test_a_converted_policy_acts_as_its_weights_say(
    nesting: Nesting, parts: dict, tmp_path: Path, tokenizer: Path, convert: Callable[..., BridgeVLAV1]
) -> None:
    """Against a direct computation from the checkpoint's own tensors, without any module of the policy."""
    model, heads = parts[nesting]
    torch.save({"epoch": 80, "model_state": fine_tuned(model, heads, "module.")}, tmp_path / "model_80.pth")
    policy = convert(tmp_path / "model_80.pth")
    seen = observation(instruction=SENTENCE)
    action = policy.act(seen)
    shown = policy.explain()
    assert shown is not None
    hidden = image_tokens(parts["5"][0], torch.from_numpy(shown.views), tokenizer)
    heat = [softmax_maps(upsampled(tokens, heads)) for tokens in hidden]
    center, _ = lift_rvt2_heatmaps(heat[0][None])
    place, _ = lift_rvt2_heatmaps(heat[1][None])
    rotation, gripper, collisions = answers(hidden[1], project_to_rvt2_views(place[None])[0, 0], heads)
    low, high = np.array(LOW), np.array(HIGH)
    cube = (place / 4 + center)[0].numpy()
    expected = np.clip(cube * (high - low).max() / 2 + (low + high) / 2, low, high)
    np.testing.assert_allclose(action.position, expected, atol=1e-5)
    np.testing.assert_allclose(action.quaternion, quaternion(rotation), atol=1e-5)
    assert action.gripper_open == bool(gripper.argmax()) and action.ignore_collisions == bool(collisions.argmax())
    report = (tmp_path / "policy" / "conversion.txt").read_text()
    assert "used\tmodule.mvt1.feat_fc_x.0.weight\taction_head.rotation.0.0.weight\t[32, 96]\tfloat32\tfloat32\n" in report
    assert len(report.splitlines()) == 3 + len(model) + len(heads)


def image_tokens(model: Mapping[str, Tensor], looks: Tensor, tokenizer: Path) -> Tensor:
    """Tokens of both looks, by transformers' own model: images, <bos>, words, newline, and everything reads everything."""
    from transformers import PaliGemmaConfig

    network = PaliGemmaModel._from_config(PaliGemmaConfig.from_pretrained(tokenizer), attn_implementation="eager").eval()
    weights = {name.removeprefix("model."): value for name, value in model.items() if name != "lm_head.weight"}
    network.load_state_dict(weights)
    words = InstructionTokenizer.load(tokenizer).encode([SENTENCE], 64).ids
    image_id = network.config.image_token_id
    ids = torch.cat([torch.full((1, 768), image_id), words], dim=1)
    pixels = (looks - 0.5) / 0.5
    tokens = []
    with torch.no_grad():
        for look in pixels:
            features = network.get_image_features(look).pooler_output.reshape(1, 768, -1)
            embedded = network.language_model.embed_tokens(ids.where(ids != image_id, 0))
            embedded[:, :768] = features
            allowed = torch.zeros(1, 1, ids.shape[1], ids.shape[1])
            hidden = network(inputs_embeds=embedded, attention_mask=allowed, use_cache=False).last_hidden_state
            tokens.append(hidden[0, :768].view(3, 16, 16, -1))
    return torch.stack(tokens)


def upsampled(tokens: Tensor, heads: Mapping[str, Tensor]) -> Tensor:
    """Convex upsampling, written out."""

    def conv(x: Tensor, name: str) -> Tensor:
        weight = heads[f"up0.{name}.weight"]
        return F.conv2d(x, weight, heads[f"up0.{name}.bias"], padding=weight.shape[-1] // 2)

    maps = tokens.permute(0, 3, 1, 2)
    cells = conv(conv(conv(maps, "net_out.0").relu(), "net_out.2").relu(), "net_out.4")
    mask = (0.1 * conv(conv(maps, "net_mask.0").relu(), "net_mask.2")).view(3, 9, 14, 14, 16, 16).softmax(1)
    around = F.unfold(cells, 3, padding=1).view(3, 9, 1, 1, 16, 16)
    return (mask * around).sum(1).permute(0, 3, 1, 4, 2).reshape(3, 224, 224)


def softmax_maps(logits: Tensor) -> Tensor:
    return logits.flatten(1).softmax(-1).view_as(logits)


def answers(tokens: Tensor, pixels: Tensor, heads: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Bins, gripper and collision logits."""
    maps = tokens.permute(0, 3, 1, 2)
    overall = maps.amax((2, 3)).T.flatten()
    local = sample_by_inverse_distance(maps, pixels[:, None] / 14).flatten()
    feature = torch.cat((overall, local))

    def network(name: str, x: Tensor) -> Tensor:
        for layer in (0, 2, 4):
            x = heads[f"{name}.{layer}.weight"] @ (x.relu() if layer else x) + heads[f"{name}.{layer}.bias"]
        return x

    flags = network("feat_fc_ex_rot", feature)
    norm = {name: heads[f"feat_fc_init_bn.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    feature = (feature - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * norm["weight"] + norm["bias"]
    bins: list[Tensor] = []
    for axis in "xyz":
        if bins:
            angle = bins[-1] * heads["feat_fc_pe.div_term"][0]
            feature = feature + torch.cat((angle.sin(), angle.cos()))
        bins.append(network(f"feat_fc_{axis}", feature).argmax())
    return torch.stack(bins), flags[:2], flags[2:]


def quaternion(bins: Tensor) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_euler("xyz", bins.numpy() * 5 - 180, degrees=True).as_quat()
    return np.array([w, x, y, z]) * math.copysign(1, w)


@pytest.mark.parametrize("sharded", [False, True])
def test_pre_trained_weights_start_a_training(
    sharded: bool, parts: dict, tmp_path: Path, convert: Callable[..., BridgeVLAV1], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {name: value.contiguous() for name, value in pre_trained(*parts["4.51"]).items()}
    del weights["language_model.lm_head.weight"]  # saved from tied weights, only one of the two is in the file
    folder = tmp_path / "pretrain"
    folder.mkdir()
    if sharded:
        names = list(weights)
        shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, held in shards.items():
            save_file({name: weights[name] for name in held}, folder / file)
        index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(weights, folder / "model.safetensors")
    policy = convert(folder)
    assert "Its action heads are untrained." in capsys.readouterr().out
    assert torch.equal(policy.heatmap_head.logits[0].weight, weights["up0.net_out.0.weight"])
    assert policy.config.action_widths == (32, 16)
    assert policy.action_head.normalization.running_var.eq(1).all()

    values = policy.config.to_dict() | {"pretrained": str(tmp_path / "policy")}
    started = BridgeVLAV1.from_config(values, sentences=toy_sentences(), seed=3)
    assert started.config == policy.config
    for name, value in started.state_dict().items():
        assert torch.equal(value, policy.state_dict()[name])
    assert started.tokenizer.words(SENTENCE) == policy.tokenizer.words(SENTENCE)


def test_embeddings_are_found_under_the_name_of_the_output_layer(
    parts: dict, tmp_path: Path, convert: Callable[..., BridgeVLAV1]
) -> None:
    model, heads = parts["5"]
    tied = {name: value for name, value in model.items() if "embed_tokens" not in name}
    torch.save({"epoch": 1, "model_state": fine_tuned(tied, heads)}, tmp_path / "tied.pth")
    policy = convert(tmp_path / "tied.pth")
    assert torch.equal(policy.backbone.model.language_model.embed_tokens.weight, model["lm_head.weight"])


def test_half_precision_stays_half_in_the_backbone_alone(
    parts: dict, tmp_path: Path, convert: Callable[..., BridgeVLAV1]
) -> None:
    model, heads = parts["4.51"]
    half = {name: value.bfloat16() for name, value in model.items()}
    torch.save({"epoch": 1, "model_state": fine_tuned(half, heads)}, tmp_path / "half.pth")
    policy = convert(tmp_path / "half.pth")
    assert {value.dtype for value in policy.backbone.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in policy.heatmap_head.parameters()} == {torch.float32}
    assert policy.config.backbone_dtype == "bfloat16"
    assert policy.config.workspace.contains(policy.act(observation(instruction=SENTENCE)).position)


def test_a_file_of_an_old_torch_is_read_too(parts: dict, tmp_path: Path) -> None:
    state = fine_tuned(*parts["4.51"])
    torch.save({"epoch": 1, "model_state": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = stored_tensors(tmp_path / "old.pth")
    assert all(torch.equal(found[name].read(), value) for name, value in state.items())


# Refusals


@pytest.fixture
def refused(tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Convert what must be refused; the one sentence, after which nothing is left behind."""

    def run(source: Path, *words: str, out: Path | None = None) -> str:
        out = out or tmp_path / "policy"
        before = sorted(tmp_path.rglob("*"))
        given = words or (f"tokenizer={tokenizer}",)
        assert cli.main(("convert", "bridgevla-checkpoint", str(source), str(out), *SCENE, *given)) == 2
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("vla3d: ")
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return run


def saved(path: Path, state: Mapping[str, Tensor]) -> Path:
    torch.save({"epoch": 1, "model_state": dict(state)}, path)
    return path


def test_a_checkpoint_that_does_not_fit_is_refused(parts: dict, tmp_path: Path, refused: Callable[..., str]) -> None:
    state = fine_tuned(*parts["4.51"])
    lacking = {name: value for name, value in state.items() if "feat_fc_y.2" not in name}
    sentence = refused(saved(tmp_path / "a.pth", lacking))
    assert "lacks 2 of the" in sentence and "'action_head.rotation.1.2.weight'" in sentence
    wrong = state | {"mvt1.feat_fc_z.4.weight": torch.zeros(36, 16)}
    sentence = refused(saved(tmp_path / "b.pth", wrong))
    assert "is of another size: 1 weights differ" in sentence and "got [36, 16], expected [72, 16]" in sentence
    sentence = refused(saved(tmp_path / "c.pth", state | {"mvt1.extra.weight": torch.zeros(1)}))
    assert "1 weights that bridgevla_v1 has no place for, first 'mvt1.extra.weight'" in sentence
    slow = state | {"mvt1.feat_fc_pe.div_term": 2 * state["mvt1.feat_fc_pe.div_term"]}
    assert "holds other frequencies" in refused(saved(tmp_path / "d.pth", slow))


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("mvt2.up0.net_out.0.weight", "a checkpoint of RVT or RVT-2 (it holds 'mvt2.up0.net_out.0.weight')"),
        ("mvt1.patchify.weight", "a checkpoint of RVT or RVT-2 (it holds 'patchify')"),
        ("mvt1.feat_fc.0.weight", "a checkpoint of BridgeVLA++ (it holds 'feat_fc')"),
        ("mvt1.mem_temporal_s1.slot_embed", "a checkpoint of BridgeVLA++ (it holds 'mem_temporal_s1')"),
    ],
)
def test_other_architectures_are_named(key: str, part: str, parts: dict, tmp_path: Path, refused: Callable[..., str]) -> None:
    state = fine_tuned(*parts["4.51"]) | {key: torch.zeros(1)}
    assert part in refused(saved(tmp_path / "other.pth", state))


def test_paligemma_itself_is_named(parts: dict, tmp_path: Path, refused: Callable[..., str]) -> None:
    save_file(
        {name: value.contiguous() for name, value in parts["4.51"][0].items() if "lm_head" not in name},
        tmp_path / "p.safetensors",
    )
    assert "PaliGemma without BridgeVLA's heatmap head" in refused(tmp_path / "p.safetensors")


class Surprise:
    """What must not run when a checkpoint is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("surprise"),)  # type: ignore[return-value]


def test_damaged_and_dangerous_files_are_refused(
    parts: dict, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = saved(tmp_path / "good.pth", fine_tuned(*parts["4.51"]))
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:50_000])
    assert "cannot be read as a checkpoint of tensors and plain values alone" in refused(tmp_path / "cut.pth")
    torch.save({"epoch": 1, "model_state": {"mvt1.x": Surprise()}}, tmp_path / "bad.pth")
    assert "tensors and plain values alone" in refused(tmp_path / "bad.pth")
    assert not (tmp_path / "surprise").exists()
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds list, expected a fine-tuned checkpoint" in refused(tmp_path / "list.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    assert "cannot be read as safetensors" in refused(tmp_path / "cut.safetensors")
    assert "No checkpoint at" in refused(tmp_path / "none.pth")
    (tmp_path / "empty").mkdir()
    assert "holds 0 .safetensors files" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../good.pth"}}')
    assert "'../good.pth', which is not a file beside it" in refused(tmp_path / "empty")


def test_the_tokenizer_is_asked_for(parts: dict, tokenizer: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    good = saved(tmp_path / "good.pth", fine_tuned(*parts["4.51"]))
    sentence = refused(good, "seed=0")
    assert "is of another size" in sentence and "config.json of its PaliGemma" in sentence
    published = saved(tmp_path / "published.pth", fine_tuned(*full_size("4.51")))
    sentence = refused(published, "seed=0")
    assert "comes without PaliGemma's tokenizer" in sentence and "hf download google/paligemma-3b-pt-224" in sentence
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text((tokenizer / "config.json").read_text())
    assert "No tokenizer.json in" in (sentence := refused(good, f"tokenizer={alone}")) and "hf download" in sentence


def test_a_folder_in_use_is_not_written_over(parts: dict, tmp_path: Path, refused: Callable[..., str]) -> None:
    good = saved(tmp_path / "good.pth", fine_tuned(*parts["4.51"]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").write_text("mine")
    assert "is not an empty folder" in refused(good, out=tmp_path / "out")


def test_two_at_once_and_what_a_killed_conversion_left(
    parts: dict, tmp_path: Path, refused: Callable[..., str], convert: Callable[..., BridgeVLAV1]
) -> None:
    good = saved(tmp_path / "good.pth", fine_tuned(*parts["4.51"]))
    aside = tmp_path / ".policy.partial"
    aside.mkdir()
    (aside / "half.safetensors").write_bytes(b"half")
    descriptor = os.open(aside, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "is being written by another process" in refused(good)
    os.close(descriptor)  # as the kernel does when the other process dies
    convert(good)
    assert sorted(path.name for path in (tmp_path / "policy").iterdir()) == [
        "conversion.txt", "model.safetensors", "policy.json", "tokenizer.json",
    ]  # fmt: skip
    assert not aside.exists()


@pytest.mark.parametrize("what", ["InstructionTokenizer.save", "write_policy"])
def test_a_full_disk_is_one_sentence(
    what: str, parts: dict, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = saved(tmp_path / "good.pth", fine_tuned(*parts["4.51"]))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"vla3d.policies.bridgevla_v1.convert.{what}", full)
    assert "cannot be written ([Errno 28] No space left on device); free space and convert again" in refused(good)


def test_words_that_say_too_little(capfd: pytest.CaptureFixture[str]) -> None:
    for words, part in [((), "Got no checkpoint"), (("a.pth",), "Got no out"), (("a.pth", "b", "tokeniser=c"), "'tokenizer'")]:
        assert cli.main(("convert", "bridgevla-checkpoint", *words)) == 2
        assert part in capfd.readouterr().err
