"""Offline evaluation: an oracle errs nowhere, known errors are found, controls show who reads, validation says the same."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from offline_fakes import KEYFRAMES, Oracle, episode, random_bridgevla, sentence, write_demos

from vla3d.data.demos import DemosConfig, iterate_samples
from vla3d.data.reader import DemoDataset
from vla3d.data.writer import DatasetWriter
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError, ObservationError
from vla3d.evaluation.offline import NAMED, OfflineEvaluation, offline_evaluation
from vla3d.evaluation.offline_results import check_free, read_results, write_results
from vla3d.evaluation.offline_summary import figures, offline_table, summarise_offline
from vla3d.policies.base import PolicyExplanation

SETTINGS = {"policy": "p", "control": "none", "seed": 0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    torch.set_num_threads(1)
    return write_demos(tmp_path_factory.mktemp("offline") / "demos", {"lift": 5, "open": 3})


def evaluated(policy: object, dataset: DemoDataset, **kwargs: object) -> OfflineEvaluation:
    return offline_evaluation(policy, dataset, dataset.episodes(), progress=False, **kwargs)  # type: ignore[arg-type]


# What is asked


def test_decision_points_are_asked_about_once(dataset: DemoDataset) -> None:
    samples = evaluated(Oracle(), dataset).samples
    assert [(one.demo, one.step, one.keyframe) for one in samples[:3]] == [
        ("lift/000000", 0, 0),
        ("lift/000000", KEYFRAMES[0], 1),
        ("lift/000001", 0, 0),
    ]
    assert len(samples) == 8 * 2 and all(one.decision_point for one in samples)


def test_strided_samples_and_alternatives_are_asked_for(dataset: DemoDataset) -> None:
    strided = evaluated(Oracle(), dataset, stride=1).samples
    assert len(strided) == 8 * KEYFRAMES[-1] and sum(one.decision_point for one in strided) == 8 * 2
    both = evaluated(Oracle(), dataset, alternatives=True).samples
    assert len(both) == 8 * 3 and sum(one.said != episode(one.task, int(one.demo[-1])).instruction for one in both) == 8


def test_batches_are_full_and_of_the_asked_size(dataset: DemoDataset) -> None:
    policy = Oracle()
    evaluated(policy, dataset, batch_size=5)
    assert policy.batches == [5, 5, 5, 1]


# What is found


def test_an_oracle_errs_nowhere(dataset: DemoDataset) -> None:
    overall = figures(evaluated(Oracle(), dataset, alternatives=True).samples, seed=0)
    assert overall["position_error_mm"]["p90"] == overall["position_error_mm"]["mean"] == 0
    assert overall["rotation_error_deg"]["p90"] == pytest.approx(0, abs=1e-9)
    assert {overall[name]["rate"] for name in ("within_2cm", "gripper_accuracy", "collision_accuracy")} == {1.0}
    assert "heatmap_hit_rate" not in overall, "it does not tell what it looked at"


def test_a_known_offset_is_found(dataset: DemoDataset) -> None:
    samples = evaluated(Oracle(off=(0.003, 0.0, 0.004)), dataset).samples
    assert [one.errors["position_error_mm"] for one in samples] == pytest.approx([5.0] * 16)
    assert samples[0].predicted.position == pytest.approx(np.add(samples[0].demonstrated.position, (0.003, 0, 0.004)))


def test_it_agrees_with_validation(dataset: DemoDataset) -> None:
    """The same demonstrations through the trainer's door give the same means."""
    policy = random_bridgevla()
    samples = iterate_samples(dataset, dataset.episodes(), DemosConfig(stride=0), policy.required_cameras, progress=None)
    validation = policy.metrics(policy.collate([policy.prepare(sample) for sample in samples]))
    found = evaluated(policy, dataset, alternatives=True).samples
    means = {name: float(np.mean([one.errors[name] for one in found])) for name in validation}
    assert means == pytest.approx(validation, rel=1e-4, abs=1e-4)
    assert {"heatmap_hit_rate", "fine_heatmap_hit_rate", "coarse_position_error_mm"} <= means.keys()


def test_the_batch_size_does_not_matter_and_it_repeats_itself(dataset: DemoDataset) -> None:
    policy = random_bridgevla()
    runs = [evaluated(policy, dataset, batch_size=size) for size in (4, 4, 7)]
    assert runs[0].samples == runs[1].samples
    for one, other in zip(runs[0].samples, runs[2].samples, strict=True):
        assert other.errors == pytest.approx(one.errors, rel=1e-3, abs=1e-2)


def test_the_worst_are_the_worst(dataset: DemoDataset) -> None:
    found = evaluated(random_bridgevla(), dataset, worst=3, batch_size=4)
    errors = sorted((one.errors["position_error_mm"] for one in found.samples), reverse=True)
    assert [one.record.errors["position_error_mm"] for one in found.worst] == errors[:3]
    for one in found.worst:
        assert one.record.demo == str(one.question.ref) and one.question.observation.instruction == one.record.said


def test_the_policy_is_left_as_it_was(dataset: DemoDataset) -> None:
    policy = random_bridgevla().train()
    evaluated(policy, dataset, control="mask_text")
    assert policy.training and not policy.mask_text


# Controls


@pytest.mark.parametrize("control", ["swap_text", "mask_text"])
@pytest.mark.parametrize("mask", ["bidirectional", "images_first_causal"])
def test_controls_change_the_figures_of_a_policy_that_reads(control: str, mask: str, dataset: DemoDataset) -> None:
    policy = random_bridgevla(mask)
    own, other = (
        np.array([one.errors["rotation_error_deg"] for one in evaluated(policy, dataset, control=name).samples])
        for name in ("none", control)
    )
    change = np.abs(own - other).max()
    assert change > 0.1 if mask == "bidirectional" else change < 1e-3


def test_swapped_text_names_the_other_goal_and_a_reader_goes_there(dataset: DemoDataset) -> None:
    samples = evaluated(Oracle(), dataset, control="swap_text").samples
    for one in samples:
        assert {one.said, one.goal} == {sentence(one.task, color) for color in ("red", "blue")}
        assert one.errors["position_error_mm"] == pytest.approx(300)
    first = [one for one in samples if one.keyframe == 0]
    assert [one.errors[NAMED] for one in first] == [0.0] * 8
    assert not any(NAMED in one.errors for one in samples if one.keyframe == 1), "no one recorded that keyframe"


def test_masked_text_leaves_a_guess(dataset: DemoDataset) -> None:
    samples = evaluated(Oracle(), dataset, control="mask_text").samples
    assert {one.said for one in samples} == {""}
    assert {one.errors["position_error_mm"] < 1 for one in samples if "red" in one.goal} == {True}
    assert {one.errors["position_error_mm"] < 1 for one in samples if "blue" in one.goal} == {False}


def test_without_alternatives_another_demonstrations_sentence_is_swapped_in(tmp_path: Path) -> None:
    several = write_demos(tmp_path / "several", {"lift": 2}, alternatives=False)
    assert {one.said == one.goal for one in evaluated(Oracle(), several, control="swap_text").samples} == {False}
    single = write_demos(tmp_path / "single", {"lift": 1}, alternatives=False)
    with pytest.raises(ConfigError, match="all demonstrations of lift ask for the same"):
        evaluated(Oracle(), single, control="swap_text")


# Figures


def test_figures_are_those_computed_by_hand(dataset: DemoDataset) -> None:
    samples = evaluated(Oracle(), dataset).samples[:4]
    errors = ((1.0, 1.0, 1 / 3), (2.0, 1.0, 2 / 3), (4.0, 0.0, 1.0), (30.0, 1.0, 0.0))
    given = [
        replace(
            one, views=3, errors={**one.errors, "position_error_mm": size, "gripper_accuracy": right, "heatmap_hit_rate": hits}
        )
        for one, (size, right, hits) in zip(samples, errors, strict=True)
    ]
    found = figures(given, seed=0)
    assert (found["samples"], found["demos"]) == (4, 2)
    position = found["position_error_mm"]
    assert (position["median"], position["mean"]) == (3.0, 9.25)
    assert position["p90"] == pytest.approx(4 + 0.7 * 26)
    assert position["interval"] == [1.5, 17.0], "the medians of each demonstration twice"
    assert (found["gripper_accuracy"]["successes"], found["gripper_accuracy"]["trials"]) == (3, 4)
    assert (found["heatmap_hit_rate"]["successes"], found["heatmap_hit_rate"]["trials"]) == (6, 12)


def test_summary_holds_every_level_and_every_sample(dataset: DemoDataset) -> None:
    samples = evaluated(Oracle(), dataset).samples
    summary = summarise_offline(samples, SETTINGS, {})
    assert summary["overall"]["samples"] == 16 and summary["tasks"]["lift"]["samples"] == 10
    assert [(one["keyframe"], one["samples"]) for one in summary["tasks"]["open"]["keyframes"]] == [(0, 3), (1, 3)]
    assert len(summary["samples"]) == 16 and summary["samples"][0]["position_error_mm"] == 0
    lines = offline_table(summary).splitlines()
    assert len(lines) == 2 + 2 * 3 + 2
    assert [line.split()[:2] for line in lines[2:4]] == [["lift", "10"], ["keyframe", "0"]]


# On disk


def test_results_are_the_same_bytes_again_and_other_settings_are_refused(dataset: DemoDataset, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        write_results(tmp_path / name, evaluated(random_bridgevla(), dataset, worst=2), SETTINGS)
        contents.append([(tmp_path / name / file).read_bytes() for file in ("evaluate.json", "report.html")])
    assert contents[0] == contents[1]
    assert read_results(tmp_path / "a")["overall"]["samples"] == 16
    check_free(tmp_path / "a", SETTINGS)
    with pytest.raises(ConfigError, match="other settings \\(control was 'none', now 'swap_text'\\)"):
        check_free(tmp_path / "a", SETTINGS | {"control": "swap_text"})
    (tmp_path / "a" / "evaluate.json").unlink()
    with pytest.raises(ConfigError, match="report of something else"):
        check_free(tmp_path / "a", SETTINGS)
    (tmp_path / "b" / "evaluate.json").write_text("{")
    with pytest.raises(DataError, match=r"evaluate\.json cannot be read"):
        read_results(tmp_path / "b")
    (tmp_path / "b" / "evaluate.json").write_text(json.dumps({"overall": 1}))
    with pytest.raises(DataError, match="not what vla3d evaluate writes"):
        read_results(tmp_path / "b")


# Bad input


def test_no_demonstrations_and_an_unknown_control(dataset: DemoDataset) -> None:
    with pytest.raises(DataError, match="Got no demonstrations"):
        offline_evaluation(Oracle(), dataset, [], progress=False)
    with pytest.raises(ConfigError, match="Did you mean 'swap_text'"):
        evaluated(Oracle(), dataset, control="swap")


def test_a_missing_camera_is_named(dataset: DemoDataset) -> None:
    with pytest.raises(ConfigError, match=r"needs the camera 'wrist'.*lift/000000.* has front\."):
        evaluated(Oracle(cameras=("front", "wrist")), dataset)


def test_a_truncated_demonstration_is_named(tmp_path: Path) -> None:
    damaged = write_demos(tmp_path / "demos", {"lift": 3})
    files = [path for path in (damaged.path / "lift/000001").rglob("*") if path.is_file() and path.name != "zarr.json"]
    shard = next(path for path in files if "depth" in str(path))
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(CorruptEpisodeError, match="Episode lift/000001, array 'depth"):
        evaluated(random_bridgevla(), damaged)


def test_a_sample_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    blind = episode("lift", 1)
    seen = blind.steps[3].observation
    dark = {name: replace(one, depth=np.zeros_like(one.depth)) for name, one in seen.frames.items()}
    steps = [*blind.steps]
    steps[3] = replace(steps[3], observation=replace(seen, frames=dark))
    with DatasetWriter(tmp_path / "demos", {}) as writer:
        writer.add(episode("lift", 0), 0)
        writer.add(replace(blind, steps=steps), 1)
    with pytest.raises(ObservationError, match="Episode lift/000001, step 3: No depth was measured"):
        evaluated(random_bridgevla(), DemoDataset(tmp_path / "demos"))


def test_explanations_tell_where_world_points_are_seen(dataset: DemoDataset) -> None:
    """The points that the looks settled on are shown at the peaks they were lifted from, to about a pixel."""
    policy = random_bridgevla()
    seen = dataset.read(dataset.episodes()[0]).steps[0].observation
    policy.act(seen)
    shown = policy.explain()
    assert isinstance(shown, PolicyExplanation) and shown.pixel_maps is not None
    assert shown.pixel_maps.shape == (2, 3, 2, 4)
    centre = np.append(shown.positions[0], 1.0)
    np.testing.assert_allclose(shown.pixel_maps[1] @ centre, 16.0, atol=1e-3, err_msg="the second look is centred there")
