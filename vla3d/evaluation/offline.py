"""Offline evaluation: a policy's keyframes beside those of demonstrations, without a simulator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vla3d.data.demos import DemosConfig
from vla3d.data.sources import DemoSource
from vla3d.data.store import EpisodeRef
from vla3d.errors import DataError, ObservationError, unknown_name
from vla3d.evaluation.offline_config import OFFLINE_CONTROLS
from vla3d.evaluation.questions import Question, Questions
from vla3d.evaluation.results import ActionRecord
from vla3d.policies.base import Decision, PolicyExplanation
from vla3d.policies.keyframe_errors import ActionTensors, keyframe_errors, look_errors
from vla3d.policies.learned import LearnedPolicy

NAMED = "named_position_error_mm"


@dataclass(frozen=True, kw_only=True)
class SampleRecord:
    """One question and how the answer compares.

    Attributes:
        task: name of the task.
        demo: the demonstration, as ``task/attempt``.
        step: the recorded step that was seen.
        keyframe: ordinal of the keyframe asked for, from 0.
        decision_point: whether a rollout decides at such an instant.
        said: the sentence that was read; empty when masked.
        goal: the sentence that the demonstrated keyframe answers.
        predicted: what the policy answered.
        demonstrated: what would have been right.
        views: views of each look; 0 when the policy does not tell what it looked at.
        errors: figure to value: millimetres, degrees, and 1 or 0 (a share of views for the hit rates).
    """

    task: str
    demo: str
    step: int
    keyframe: int
    decision_point: bool
    said: str
    goal: str
    predicted: ActionRecord
    demonstrated: ActionRecord
    views: int
    errors: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A question with the policy's answer, for pictures."""

    question: Question
    decision: Decision
    record: SampleRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class OfflineEvaluation:
    """All samples in the order of the demonstrations, and the worst of them (largest position error first) as a whole."""

    samples: tuple[SampleRecord, ...]
    worst: tuple[Judged, ...]


def offline_evaluation(
    policy: LearnedPolicy,
    dataset: DemoSource,
    demos: Sequence[EpisodeRef],
    *,
    control: str = "none",
    stride: int = 0,
    alternatives: bool = False,
    keyframe_rule: str = "recorded",
    batch_size: int = 16,
    worst: int = 10,
    progress: bool = True,
) -> OfflineEvaluation:
    """Ask a policy for the next keyframe at instants of demonstrations. The same call gives the same figures.

    Args:
        policy: with weights; it is left as it was.
        dataset: where the demonstrations lie.
        demos: which of them.
        control: one of ``OFFLINE_CONTROLS``.
        stride: recorded steps between samples on the way to a keyframe; 0 asks at decision points alone, as in a rollout.
        alternatives: also ask for the scene's other goals, as training does.
        keyframe_rule: how keyframes are found, see ``DemosConfig``.
        batch_size: samples decided on together.
        worst: how many of the worst samples to keep with their images.
        progress: show a progress bar.

    Raises:
        DataError: no demonstrations, or a damaged one (named).
        ConfigError: a demonstration lacks a camera; an unknown control; no sentence to swap in.
        ObservationError: the policy cannot use a sample (named).
    """
    if control not in OFFLINE_CONTROLS:
        raise unknown_name("control", control, OFFLINE_CONTROLS)
    if not demos:
        raise DataError(f"Got no demonstrations of {dataset.path}, expected at least one; collect some with vla3d collect.")
    wanted = DemosConfig(stride=stride, alternatives=alternatives, keyframe_rule=keyframe_rule)
    questions = Questions(dataset, policy.required_cameras, wanted, control, demos)
    samples: list[SampleRecord] = []
    kept: list[Judged] = []
    mask, training = policy.mask_text, policy.training
    policy.mask_text = control == "mask_text"
    policy.eval()
    try:
        for batch in _batches(questions, demos, batch_size, progress):
            judged = _judge(batch, _decide(policy, batch))
            samples += [one.record for one in judged]
            # Sorting is stable: of equal errors the earlier sample stands first, whatever the batches were.
            kept = sorted([*kept, *judged], key=lambda one: -one.record.errors["position_error_mm"])[:worst]
    finally:
        policy.mask_text = mask
        policy.train(training)
    return OfflineEvaluation(samples=tuple(samples), worst=tuple(kept))


def _batches(
    questions: Questions, demos: Sequence[EpisodeRef], batch_size: int, progress: bool
) -> Iterator[Sequence[Question]]:
    batch: list[Question] = []
    with tqdm(total=len(demos), desc="evaluate", unit="demo", dynamic_ncols=True, disable=not progress) as bar:
        for ref in demos:
            for question in questions.of(ref):
                batch.append(question)
                if len(batch) == batch_size:
                    yield batch
                    batch = []
            bar.update()
        if batch:
            yield batch


def _decide(policy: LearnedPolicy, batch: Sequence[Question]) -> list[Decision]:
    try:
        return policy.decide([question.observation for question in batch])
    except ObservationError:
        for question in batch:  # which one was it?
            try:
                policy.decide([question.observation])
            except ObservationError as error:
                raise ObservationError(f"{question.sample.source}: {error}") from error
        raise


def _judge(batch: Sequence[Question], decisions: Sequence[Decision]) -> list[Judged]:
    demonstrated = ActionTensors.of([question.sample.action for question in batch])
    predicted = ActionTensors.of([decision.action for decision in decisions])
    figures = keyframe_errors(predicted, demonstrated)
    looks = [decision.explanation for decision in decisions]
    told = [look for look in looks if look is not None and look.pixel_maps is not None]
    if len(told) == len(looks):
        figures |= _look_errors(told, demonstrated.position)
    rows = [dict(zip(figures, row, strict=True)) for row in torch.stack(list(figures.values()), 1).tolist()]
    judged = []
    for question, decision, errors in zip(batch, decisions, rows, strict=True):
        if question.named is not None:
            errors[NAMED] = 1000 * float(np.linalg.norm(decision.action.position - question.named.position))
        record = _record(question, decision, errors, len(told[0].view_names) if len(told) == len(looks) else 0)
        judged.append(Judged(question=question, decision=decision, record=record))
    return judged


def _look_errors(looks: Sequence[PolicyExplanation], target: Tensor) -> dict[str, Tensor]:
    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(look, name) for look in looks])).double()

    return look_errors(stacked("positions")[:, 0], stacked("heatmaps"), stacked("pixel_maps"), target)


def _record(question: Question, decision: Decision, errors: dict[str, float], views: int) -> SampleRecord:
    sample = question.sample
    return SampleRecord(
        task=sample.task,
        demo=str(question.ref),
        step=sample.step,
        keyframe=sample.keyframe,
        decision_point=sample.from_keyframe,
        said=question.said,
        goal=question.goal,
        predicted=ActionRecord.of(decision.action, None),
        demonstrated=ActionRecord.of(sample.action, None),
        views=views,
        errors=errors,
    )
