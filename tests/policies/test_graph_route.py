"""BridgeVLA that reads scene graphs and may answer "absent": what its parts promise, on toy scenes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from graph_toys import ENCODER, GRAPH, graph_sample, toy_graph, toy_scene
from test_bridgevla import CAMERA, generator, observation, small_config
from toy_scenes import toy_sentences

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.data.samples import KeyframeSample
from vla3d.errors import CheckpointError, ConfigError, ObservationError
from vla3d.policies.bridgevla import AugmentationConfig, BridgeVLA
from vla3d.policies.bridgevla.augmentation import augment
from vla3d.policies.bridgevla.processor import BridgeVLABatch, PreparedSample
from vla3d.policies.grounding.controls import emptied, oracle, shuffled
from vla3d.policies.grounding.grounder import Grounder, Grounding
from vla3d.policies.grounding.pretrained import pretrained_grounder
from vla3d.policies.grounding.prior import box_prior
from vla3d.policies.grounding.scenes import SceneReader, SeenScenes
from vla3d.policies.grounding.targets import grounding_accuracy, grounding_loss, target_slots
from vla3d.policies.grounding.triplets import prompt, spaced, triplets_of
from vla3d.policies.learned import load_policy
from vla3d.pretraining.config import SceneGraphObjectiveConfig
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.types import KeyframeAction, Observation
from vla3d.views.projection import project_to_views

STILL = {"augmentation": AugmentationConfig(translation=(0, 0, 0), yaw_degrees=0), "zoom_jitter": 0.0}


def make(**changes: object) -> BridgeVLA:
    torch.set_num_threads(1)
    values = {"graph": GRAPH, "answers": True} | changes
    return BridgeVLA.from_config(small_config(**values).to_dict(), sentences=toy_sentences(), seed=0).eval()


@pytest.fixture(scope="module")
def policy() -> BridgeVLA:
    return make()


def mixed(policy: BridgeVLA) -> BridgeVLABatch:
    """Four scenes of three or two cubes; two of them ask for what is not there."""
    return policy.collate([graph_sample(seed, num_cubes=3 - seed % 2, absent=seed > 1) for seed in range(4)])


def seen(**changes: object) -> Observation:
    """The block of ``test_bridgevla``, with instance masks: a cube of 12 pixels in the middle of the picture."""
    base = observation()
    frame = base.frames[CAMERA]
    depth, segmentation = np.full((32, 32), 0.8, dtype=np.float32), np.zeros((32, 32), dtype=np.int16)
    depth[10:22, 10:22], segmentation[10:22, 10:22] = 0.74, 2
    frames = {CAMERA: replace(frame, depth=depth, segmentation=segmentation)}
    return replace(base, **({"frames": frames, "instance_names": {1: "robot", 2: "cube_1"}} | changes))


# Learning


def test_losses_are_finite_pure_and_named(policy: BridgeVLA) -> None:
    batch = mixed(policy)
    losses, again = policy.loss(batch, generator()), policy.loss(batch, generator())
    assert losses.keys() == {
        "grounding", "absence", "heatmap_coarse", "heatmap_fine", "rotation", "gripper", "collisions", "loss",
    }  # fmt: skip
    assert all(torch.isfinite(value) and torch.equal(value, again[name]) for name, value in losses.items())


def test_every_weight_that_may_train_gets_a_gradient() -> None:
    policy = make()
    torch.nn.init.normal_(policy.route.embedding.weight, std=0.1)  # type: ignore[union-attr]
    torch.nn.init.normal_(policy.route.grounder.scoring.grounding.salience.weight)  # type: ignore[union-attr]
    policy.loss(mixed(policy), generator())["loss"].backward()
    learns = {name: value for name, value in policy.named_parameters() if value.requires_grad}
    assert not [name for name, value in learns.items() if value.grad is None]
    without = [name for name, value in learns.items() if not value.grad.any()]
    # Keys without a query that prefers any get none; a softmax does not see what is added to all alike.
    assert not [name for name in without if "embed" not in name and not name.endswith("key_value.bias")]
    assert any(name.startswith("route.grounder.encoder.graph_layers") for name in learns)


def test_heatmaps_teach_the_grounder_only_end_to_end() -> None:
    for end_to_end in (False, True):
        policy = make(graph=replace(GRAPH, end_to_end=end_to_end, weight=0.0), answers=False)
        torch.nn.init.normal_(policy.route.embedding.weight, std=0.1)  # type: ignore[union-attr]
        policy.loss(mixed(policy), generator())["loss"].backward()
        grads = [value.grad for value in policy.route.grounder.parameters() if value.grad is not None]  # type: ignore[union-attr]
        assert any(grad.any() for grad in grads) == end_to_end


def test_absent_samples_count_for_nothing_but_their_answer() -> None:
    policy = make(**STILL)
    samples = [replace(graph_sample(seed, absent=seed > 1), sentences=graph_sample(seed).sentences[:1]) for seed in range(4)]
    both, moving = policy.loss(policy.collate(samples), generator()), policy.loss(policy.collate(samples[:2]), generator())
    for name in ("heatmap_coarse", "heatmap_fine", "rotation", "gripper", "collisions"):
        torch.testing.assert_close(both[name], moving[name], atol=1e-5, rtol=1e-4)


def test_a_batch_without_any_motion_teaches_answers_alone() -> None:
    policy = make()
    losses = policy.loss(policy.collate([graph_sample(seed, absent=True) for seed in range(3)]), generator())
    assert all(losses[name] == 0 for name in ("heatmap_coarse", "heatmap_fine", "rotation", "gripper", "collisions"))
    assert losses["absence"] > 0 and losses["grounding"] > 0
    losses["loss"].backward()
    assert all(torch.isfinite(value.grad).all() for value in policy.parameters() if value.grad is not None)


def test_metrics_leave_out_what_a_batch_tells_nothing_about(policy: BridgeVLA) -> None:
    found = policy.metrics(policy.collate([graph_sample(seed, absent=True) for seed in range(3)]))
    assert found.keys() == {"absence_accuracy", "grounding_accuracy"}
    assert {"position_error_mm", *found} <= policy.metrics(mixed(policy)).keys()


def test_a_fresh_route_changes_nothing_yet() -> None:
    with_route, without = make(answers=False), make(graph=replace(GRAPH, enabled=False), answers=False)
    batch = mixed(with_route)
    said = [options[0] for options in batch.sentences]
    first, second = with_route.answer(batch, said), without.answer(replace(batch, scenes=None), said)
    assert torch.equal(first.heatmaps, second.heatmaps) and torch.equal(first.position, second.position)


def test_boxes_follow_the_augmentation_and_relations_do_not(policy: BridgeVLA) -> None:
    batch = mixed(policy)
    moved = augment(batch, AugmentationConfig(), policy.low, policy.high, generator())
    assert batch.scenes is not None and moved.scenes is not None and moved.scenes.graphs is batch.scenes.graphs

    def local(one: BridgeVLABatch) -> torch.Tensor:
        boxes = one.scenes.boxes  # type: ignore[union-attr]
        return torch.einsum("bnji,bpnj->bpni", boxes.rotation, one.points[:, :, None] - boxes.center[:, None])

    torch.testing.assert_close(local(moved), local(batch), atol=1e-5, rtol=0)
    named = torch.zeros(batch.scenes.things.shape)
    named[:, 0] = 1.0
    prior = box_prior(moved.scenes.boxes, named, policy._to_cube(), policy.view_set, 128)
    inside = (local(moved)[:, :, 0].abs() <= 0.0201).all(-1)
    for row, center in enumerate(moved.scenes.boxes.center[:, 0]):
        # Away from the faces, so that the middle of the pixel of a point is in the box as well.
        inner = center + 0.7 * (moved.points[row : row + 1, inside[row]] - center)
        pixels = project_to_views(policy._to_cube().apply(inner), policy.view_set, 128)[0].long()
        assert len(pixels) >= 200
        assert all((prior[row, view, pixels[:, view, 1], pixels[:, view, 0]] == 1).all() for view in range(3))


def test_a_row_of_a_batch_answers_what_it_answers_alone(policy: BridgeVLA) -> None:
    batch, alone = mixed(policy), policy.collate([graph_sample(1, num_cubes=2)])
    together = policy.answer(batch, [options[0] for options in batch.sentences])
    single = policy.answer(alone, [alone.sentences[0][0]])
    assert together.grounding is not None and single.grounding is not None
    torch.testing.assert_close(single.grounding.things[0], together.grounding.things[1, :4], atol=1e-5, rtol=0)
    torch.testing.assert_close(single.priors, together.priors[1:2], atol=1e-5, rtol=0)  # type: ignore[index]
    torch.testing.assert_close(single.absence[0], together.absence[1], atol=1e-4, rtol=0)  # type: ignore[index]


# Grounding


def test_what_a_keyframe_concerns() -> None:
    scenes = SeenScenes.stack([toy_scene(0), toy_scene(1, num_cubes=2), toy_scene(2)])
    position = scenes.boxes.center[:, 1] + torch.tensor([0.0, 0.0, 0.1])
    position[2] = torch.tensor([0.4, 0.0, 0.9])
    slots = target_slots(scenes, position, torch.tensor([False, True, False]), 0.15)
    assert slots.tolist() == [1, scenes.things.shape[1], -1]
    logits = torch.randn(3, scenes.things.shape[1] + 1, generator=generator()).requires_grad_()
    torch.testing.assert_close(grounding_loss(logits, slots), torch.nn.functional.cross_entropy(logits[:2], slots[:2]))
    assert grounding_loss(logits, torch.full((3,), -1)) == 0
    assert grounding_accuracy(Grounding.certain(slots, 5), slots) == 1.0
    assert grounding_accuracy(Grounding.certain(slots, 5), torch.full((3,), -1)) is None


def test_only_things_are_grounded(policy: BridgeVLA) -> None:
    batch = mixed(policy)
    grounding = policy.answer(batch, [options[0] for options in batch.sentences]).grounding
    assert grounding is not None and batch.scenes is not None
    assert not grounding.things[~batch.scenes.things].any()
    torch.testing.assert_close(grounding.total, torch.ones(4))


@pytest.mark.slow
def test_it_learns_which_cube_is_meant_and_that_none_is() -> None:
    torch.manual_seed(0)
    grounder = Grounder(replace(ENCODER, width=32, embedding=32), InstructionTokenizer.train(toy_sentences()))
    optimizer = torch.optim.AdamW([value for value in grounder.parameters() if value.requires_grad], lr=3e-3)

    def batch(samples: list[PreparedSample]) -> tuple[SeenScenes, list[str], torch.Tensor]:
        scenes = SeenScenes.stack([sample.scene for sample in samples if sample.scene is not None])
        slots = torch.tensor([scenes.things.shape[1] if sample.action.answer == "absent" else 0 for sample in samples])
        return scenes, [sample.sentences[0] for sample in samples], slots

    known = [graph_sample(seed, absent=seed % 4 == 0) for seed in range(320)]
    for step in range(150):
        scenes, said, slots = batch(known[32 * (step % 10) :][:32])
        loss = grounding_loss(grounder(scenes, grounder.read(said, 32)), slots)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scenes, said, slots = batch([graph_sample(seed, absent=seed % 4 == 0) for seed in range(90_000, 90_100)])
    accuracy = grounding_accuracy(Grounding.of(grounder.eval()(scenes, grounder.read(said, 100))), slots)
    assert accuracy is not None and accuracy > 0.9


# Controls


def test_shuffled_probabilities_belong_to_other_things() -> None:
    scenes = SeenScenes.stack([toy_scene(0), toy_scene(1, num_cubes=2)])
    grounding = Grounding(things=torch.tensor([[0.5, 0.2, 0.1, 0, 0], [0.6, 0.3, 0, 0, 0]]), nothing=torch.tensor([0.2, 0.1]))
    for seed in range(5):
        other = shuffled(grounding, scenes, seed)
        assert torch.equal(other.things, shuffled(grounding, scenes, seed).things)
        assert torch.equal(other.things.sort(1).values, grounding.things.sort(1).values)
        assert (other.things != grounding.things)[scenes.things].all() and torch.equal(other.nothing, grounding.nothing)
        assert not other.things[~scenes.things].any()
    assert not emptied(grounding).total.any()


class Reaching:
    def __init__(self, action: KeyframeAction) -> None:
        self.action = action

    def next_action(self) -> KeyframeAction:
        return self.action


def test_the_oracle_knows_what_the_expert_would_act_on() -> None:
    scenes = SeenScenes.stack([toy_scene(0)])
    position = scenes.boxes.center[0, 2].double().numpy()
    action = KeyframeAction(position=position, quaternion=np.array([1.0, 0, 0, 0]), gripper_open=True)
    assert oracle(scenes, Reaching(action), 0.15).things.tolist() == [[0, 0, 1, 0, 0]]
    assert oracle(scenes, Reaching(replace(action, answer="absent")), 0.15).nothing.tolist() == [1]
    assert not oracle(scenes, Reaching(replace(action, position=position + 1)), 0.15).total.any()
    with pytest.raises(ConfigError, match="without an expert"):
        oracle(scenes, None, 0.15)


def test_a_policy_follows_its_graph_control() -> None:
    policy = make(answers=False)
    torch.nn.init.normal_(policy.route.embedding.weight, std=0.3)  # type: ignore[union-attr]
    assert policy.reads_graph and policy.terminal_answers == ()
    expected = policy.answer(policy.collate([policy._observed(seen())]).to("cpu"), ["pick up the red cube"])
    policy.act(seen())
    assert expected.priors is not None and policy.explain().priors.max() > 0  # type: ignore[union-attr]
    plain = policy.explain().heatmaps  # type: ignore[union-attr]
    policy.graph_control = "empty"
    policy.act(seen())
    shown = policy.explain()
    assert shown is not None and shown.priors is not None and not shown.priors.any()
    assert not np.array_equal(shown.heatmaps, plain)
    policy.graph_control = "orcle"
    with pytest.raises(ConfigError, match="Did you mean 'oracle'"):
        policy.act(seen())


# Seeing


def test_an_observation_becomes_a_scene_once() -> None:
    reader, one = SceneReader((CAMERA,), ENCODER, triplets=True), seen()
    scene = reader.read(one)
    assert reader.read(one) is scene and reader.read(seen()) is not scene
    assert int(scene.things.sum()) == 1 and len(scene.graph) == len(scene.things) >= 2
    (cube,) = scene.boxes.center[0, scene.things]
    assert (cube - torch.tensor([0.5, 0.0, 0.06])).norm() < 0.03 and scene.graph.point_mask[scene.things].any()


def test_without_masks_there_is_no_graph(policy: BridgeVLA) -> None:
    action = KeyframeAction(position=np.zeros(3), quaternion=np.array([1.0, 0, 0, 0]), gripper_open=True)
    sample = KeyframeSample(
        observation=seen(), action=action, paraphrases=("lift",), task="toy", keyframe=0, from_keyframe=True
    )
    assert policy.prepare(sample).scene is not None
    with pytest.raises(ObservationError, match=r"'front' has no instance masks.*policy.graph.enabled=false"):
        policy.prepare(replace(sample, observation=observation()))


@pytest.mark.parametrize(("threshold", "answer"), [(0.0, "absent"), (1.0, "move")])
def test_it_says_that_something_is_absent_where_the_hand_is(threshold: float, answer: str) -> None:
    policy = make(absent_threshold=threshold)
    assert policy.terminal_answers == ("absent",)
    action, present = policy.act(seen()), seen()
    assert action.answer == answer
    assert np.array_equal(action.position, present.gripper_position) == (answer == "absent")
    explanation = policy.explain()
    assert explanation is not None and explanation.absence is not None and 0 < explanation.absence < 1


# Words


def test_the_prompt_tells_what_matters_for_the_sentence_and_never_too_much() -> None:
    graph = toy_graph(0, num_cubes=4)
    red = graph.nodes[0].color
    triplets = triplets_of(graph)
    said = f"pick up the {red} block."
    assert all("table" not in triplet.text for triplet in triplets) and len(triplets) > 4
    whole = prompt(said, triplets, 3, lambda text: True)
    first, *told = whole.split(". ")
    assert first == said[:-1] and len(told) == 3 and all(red in one for one in told)  # type: ignore[operator]
    assert prompt(said, triplets, 3, lambda text: len(text) < len(whole)) == whole.removesuffix(f". {told[-1]}")
    assert prompt(said, triplets, 3, lambda text: False) == said == prompt(said, (), 3, lambda text: True)
    assert prompt("open it", triplets, 3, lambda text: True) == "open it"
    assert spaced("Pick the Red-cube, now!") == " pick the red cube now "


def test_triplets_stay_within_the_budget() -> None:
    policy = make(graph=replace(GRAPH, triplets=20), answers=False)
    batch = mixed(policy)
    said = [options[0] for options in batch.sentences]
    prompts = policy._prompts(batch, said, [True, True, False, True])
    assert prompts[0] != said[0] and prompts[0].startswith(said[0]) and prompts[2] == said[2]
    assert policy.backbone.tokenize(prompts).ids.shape[1] <= 32


# Files


def test_saved_and_loaded_it_answers_the_same(policy: BridgeVLA, tmp_path: Path) -> None:
    policy.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path)
    assert loaded.architecture() == policy.architecture()
    np.testing.assert_array_equal(policy.act(seen()).position, loaded.act(seen()).position)
    assert loaded.explain().absence == policy.explain().absence  # type: ignore[union-attr]


def test_it_begins_with_what_pre_training_learned(tmp_path: Path) -> None:
    base = SceneGraphPretraining(
        SceneGraphObjectiveConfig(encoder=ENCODER, labels=("cup", "box")), InstructionTokenizer.train(["a cup on a red box"])
    )
    base.save_pretrained(tmp_path / "pretrained")
    policy = make(graph=replace(GRAPH, encoder=replace(ENCODER, width=64), pretrained=str(tmp_path / "pretrained")))
    grounder = policy.route.grounder  # type: ignore[union-attr]
    assert grounder.tokenizer.vocab_size == base.tokenizer.vocab_size != policy.tokenizer.vocab_size
    own = grounder.encoder.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in base.encoder.state_dict().items())
    assert policy.config.graph.encoder == ENCODER and policy.config.graph.pretrained == ""
    policy.save_pretrained(tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    assert loaded.explain() is None and loaded.act(seen()).answer == policy.act(seen()).answer


def test_fused_scoring_begins_with_the_temperature_of_pre_training(tmp_path: Path) -> None:
    base = SceneGraphPretraining(
        SceneGraphObjectiveConfig(encoder=ENCODER, labels=("cup", "box")), InstructionTokenizer.train(["a cup on a red box"])
    )
    torch.nn.init.constant_(base.temperatures["sentence_object"].log_factor, 1.5)
    base.save_pretrained(tmp_path / "pretrained")
    policy = make(graph=replace(GRAPH, scoring="fused", pretrained=str(tmp_path / "pretrained")))
    stored = policy.state_dict()
    assert stored["route.grounder.scoring.temperature.log_factor"] == 1.5
    losses = policy.loss(mixed(policy), generator())
    losses["loss"].backward()
    assert losses["grounding"] > 0 and policy.route.grounder.scoring.nothing.grad.any()  # type: ignore[union-attr]
    policy.save_pretrained(tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    assert all(torch.equal(value, stored[name]) for name, value in loaded.state_dict().items())  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"policy\.graph\.scoring"):
        replace(GRAPH, scoring="fuse")  # type: ignore[arg-type]


def test_a_folder_that_holds_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No pre-trained scene encoder"):
        make(graph=replace(GRAPH, pretrained=str(tmp_path)))
    base = SceneGraphPretraining(SceneGraphObjectiveConfig(encoder=ENCODER, labels=("cup",)), InstructionTokenizer.train(["a"]))
    base.save_pretrained(tmp_path)
    stored = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(stored.replace('"width": 16', '"width": 32'))
    with pytest.raises(CheckpointError, match="do not fit the configuration"):
        pretrained_grounder(tmp_path)
    (tmp_path / "config.json").write_text(stored)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        pretrained_grounder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph": {"reach": -1}}, "policy.graph.reach"),
        ({"graph": {"dropout": 1.0}}, "policy.graph.dropout.*below 1"),
        ({"graph": {"triplets": 1.5}}, "policy.graph.triplets"),
        ({"graph": {"enabled": "yes"}}, "policy.graph.enabled"),
        ({"graph": {"encoder": {"wdith": 3}}}, "encoder setting"),
        ({"graph": {"recah": 1}}, "recah"),
        ({"answers": 1}, "policy.answers"),
        ({"absent_threshold": 2}, "policy.absent_threshold"),
    ],
)
def test_bad_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BridgeVLA.check_config(small_config().to_dict() | changes)
