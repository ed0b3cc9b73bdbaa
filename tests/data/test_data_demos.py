"""Demos as training data: who is held out, which sentences there are, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla3d.data.demos import DemosConfig, iterate_samples, sentences_of, split_demos
from vla3d.data.reader import DemoDataset
from vla3d.data.writer import DatasetWriter
from vla3d.errors import ConfigError, DataError
from vla3d.types import Alternative, Episode, KeyframeAction, Observation, RgbdFrame, Step

DOWN = np.array([0.0, 1.0, 0.0, 0.0])


def episode(task: str, number: int) -> Episode:
    def step(index: int) -> Step:
        frame = RgbdFrame(
            rgb=np.full((4, 4, 3), number, dtype=np.uint8),
            depth=np.full((4, 4), 0.5, dtype=np.float32),
            intrinsics=np.eye(3),
            T_world_camera=np.eye(4),
        )
        seen = Observation(
            frames={"front": frame, "wrist": frame},
            instruction=f"{task} {number}",
            gripper_position=np.full(3, index / 10),
            gripper_quaternion=DOWN,
            gripper_width=0.08,
            gripper_open=True,
            joint_positions=np.zeros(7),
        )
        action = KeyframeAction(position=seen.gripper_position, quaternion=DOWN, gripper_open=True) if index in (3, 6) else None
        return Step(observation=seen, time=index / 10, arm_moving=False, joint_velocities=np.zeros(7), action=action)

    other = Alternative(
        sentences=(f"{task} other",), action=KeyframeAction(position=np.ones(3), quaternion=DOWN, gripper_open=True)
    )
    return Episode(
        task=task,
        variation=0,
        instruction=f"{task} {number}",
        paraphrases=(f"{task} {number}", f"please {task} {number}"),
        seed=number,
        success=True,
        steps=[step(index) for index in range(7)],
        alternatives=(other,),
    )


@pytest.fixture
def dataset(tmp_path: Path) -> DemoDataset:
    with DatasetWriter(tmp_path / "demos", {"asked": "for"}) as writer:
        for task, count in (("lift", 12), ("open", 3), ("push", 1)):
            for number in range(count):
                writer.add(episode(task, number), number)
    return DemoDataset(tmp_path / "demos")


def test_the_last_demos_of_each_task_are_held_out(dataset: DemoDataset) -> None:
    split = split_demos(dataset, DemosConfig(validation_share=0.25))
    assert [str(ref) for ref in split.validation] == ["lift/000009", "lift/000010", "lift/000011", "open/000002"]
    assert len(split.train) == 9 + 2 + 1
    assert not set(split.train) & set(split.validation)


def test_nothing_is_held_out_when_told_so(dataset: DemoDataset) -> None:
    split = split_demos(dataset, DemosConfig(validation_share=0.0))
    assert (len(split.train), len(split.validation)) == (16, 0)


def test_tasks_and_numbers_are_chosen(dataset: DemoDataset) -> None:
    split = split_demos(dataset, DemosConfig(tasks=("lift", "open"), episodes=2))
    assert [str(ref) for ref in (*split.train, *split.validation)] == [
        "lift/000000",
        "open/000000",
        "lift/000001",
        "open/000001",
    ]


def test_too_few_demos_are_named(dataset: DemoDataset) -> None:
    with pytest.raises(DataError, match="has 3 demos of open, expected 5"):
        split_demos(dataset, DemosConfig(tasks=("open",), episodes=5))
    with pytest.raises(ConfigError, match="Did you mean 'lift'"):
        split_demos(dataset, DemosConfig(tasks=("lft",)))


def test_sentences_are_those_of_demos_and_alternatives(dataset: DemoDataset) -> None:
    refs = dataset.episodes(["push"])
    assert sentences_of(dataset, refs) == ["please push 0", "push 0", "push other"]


def test_terminal_answers_change_nothing_unless_asked_for(dataset: DemoDataset, tmp_path: Path) -> None:
    """The same demos with and without sentences about absent things train the same, byte for byte and word for word."""
    whole = dataset.read(dataset.episodes(["push"])[0])
    gone = replace(whole.alternatives[0].action, answer="absent")
    more = (*whole.alternatives, Alternative(sentences=("push the absent",), action=gone))
    with DatasetWriter(tmp_path / "more", {"asked": "for"}) as writer:
        writer.add(replace(whole, alternatives=more), 0)
    other = DemoDataset(tmp_path / "more")
    (ref,) = other.episodes()
    assert sentences_of(other, [ref]) == sentences_of(dataset, dataset.episodes(["push"]))
    assert "push the absent" in sentences_of(other, [ref], answers=True)

    def samples(source: DemoDataset, answers: bool) -> list[tuple[object, ...]]:
        config, refs = DemosConfig(stride=0, answers=answers), source.episodes(["push"])
        found = iterate_samples(source, refs, config, ["front"], progress=None)
        return [(one.paraphrases, one.action.answer, one.action.position.tolist(), one.keyframe, one.step) for one in found]

    assert samples(other, answers=False) == samples(dataset, answers=False) == samples(dataset, answers=True)
    learned = samples(other, answers=True)
    assert [one[1] for one in learned].count("absent") == 1 and len(learned) == len(samples(dataset, answers=True)) + 1


def test_samples_hold_the_chosen_cameras_and_the_alternatives(dataset: DemoDataset) -> None:
    refs = dataset.episodes(["push"])
    samples = list(iterate_samples(dataset, refs, DemosConfig(stride=2), ("wrist",), progress="test"))
    assert [sample.keyframe for sample in samples] == [0, 0, 0, 0, 1, 1]
    assert all(list(sample.observation.frames) == ["wrist"] for sample in samples)
    assert [sample.action.position[0] for sample in samples] == [0.3, 1.0, 0.3, 1.0, 0.6, 0.6]
    without = DemosConfig(stride=0, alternatives=False)
    assert len(list(iterate_samples(dataset, refs, without, ("wrist",), progress="test"))) == 2


def test_a_camera_that_was_not_recorded_is_named(dataset: DemoDataset) -> None:
    with pytest.raises(ConfigError, match="camera of episode push/000000"):
        list(iterate_samples(dataset, dataset.episodes(["push"]), DemosConfig(), ("overhead",), progress="test"))


@pytest.mark.parametrize("values", [{"episodes": 0}, {"validation_share": 1.0}, {"stride": -1}])
def test_bad_settings_are_refused(values: dict) -> None:
    with pytest.raises(ConfigError, match=f"demos.{next(iter(values))}"):
        DemosConfig(**values)
