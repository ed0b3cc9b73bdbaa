"""Keyframe samples: what a keyframe policy sees at one instant of a demo, and the next keyframe it must predict."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from torch.utils.data import Dataset

from vla3d.errors import ObservationError
from vla3d.types import Episode, KeyframeAction, Observation, Step

Prepared = TypeVar("Prepared")


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeSample:
    """One training sample.

    Attributes:
        observation: what is seen at a recorded instant.
        action: the next keyframe to reach from there.
        paraphrases: sentences that ask for the same thing, the recorded one first.
        task: name of the task.
        keyframe: ordinal of the predicted keyframe in its demo, from 0.
        from_keyframe: whether the instant is itself a decision point (the start or a keyframe), as in a rollout.
        step: the recorded step that is seen.
        source: the demo and the step it was taken from, for messages.
    """

    observation: Observation
    action: KeyframeAction
    paraphrases: tuple[str, ...]
    task: str
    keyframe: int
    from_keyframe: bool
    step: int = 0
    source: str = "sample"


def sample_instants(keyframes: Sequence[int], stride: int, chain_duplicates: bool = False) -> list[tuple[int, int]]:
    """Pairs (recorded step, ordinal of the next keyframe) that become samples.

    Decision points (step 0 and every keyframe but the last) always do; between them every ``stride``-th step does too, which
    shows the arm on its way (PerAct, section 3.1, "demo augmentation"). ``stride=0`` keeps the decision points alone.

    Args:
        keyframes: indices of the keyframes, ascending, none of them 0.
        stride: steps between samples.
        chain_duplicates: take them as RVT fills its replay buffer instead: every ``stride``-th step of the whole demo is a
            start, and from each the whole remaining chain is added, the start with the next keyframe, that keyframe with the
            one after it, and so on to the last. A decision point then occurs as often as there are starts before it.
    """
    if chain_duplicates:
        return _chained_instants(keyframes, stride)
    instants = []
    start = 0
    for ordinal, keyframe in enumerate(keyframes):
        steps = range(start, keyframe, stride) if stride else [start]
        instants += [(step, ordinal) for step in steps]
        start = keyframe
    return instants


def _chained_instants(keyframes: Sequence[int], stride: int) -> list[tuple[int, int]]:
    instants = []
    last = keyframes[-1] if keyframes else 0
    for start in range(0, last, stride or max(1, last)):
        at = start
        for ordinal, keyframe in enumerate(keyframes):
            if keyframe > start:
                instants.append((at, ordinal))
                at = keyframe
    return instants


def target_action(step: Step, before: Step) -> KeyframeAction:
    """The action that leads to a keyframe: the recorded one, else the pose the demo reached there.

    Args:
        step: the keyframe.
        before: the step before it, whose recorded action (if any) tells ``ignore_collisions``.
    """
    if step.action is not None:
        return step.action
    reached = step.observation
    return KeyframeAction(
        position=reached.gripper_position,
        quaternion=reached.gripper_quaternion,
        gripper_open=reached.gripper_open,
        ignore_collisions=before.action.ignore_collisions if before.action is not None else False,
    )


def keyframe_samples(
    episode: Episode,
    keyframes: Sequence[int],
    stride: int,
    alternatives: bool = True,
    *,
    answers: bool = False,
    chain_duplicates: bool = False,
    source: str = "demo",
) -> Iterator[KeyframeSample]:
    """Samples of one demo.

    Args:
        episode: the demo.
        keyframes: indices of its keyframes, ascending.
        stride: see ``sample_instants``.
        alternatives: also ask for the scene's other goals, where the demo tells what would have been done. The same picture
            then comes with several sentences, and only the sentence tells the answers apart.
        answers: whether alternatives count to which the right response is no motion but a terminal answer.
        chain_duplicates: see ``sample_instants``.
        source: what messages call the demo.
    """
    decision_points = {0, *keyframes}
    sentences = tuple(dict.fromkeys((episode.instruction, *episode.paraphrases)))
    for index, ordinal in sample_instants(keyframes, stride, chain_duplicates):
        keyframe = keyframes[ordinal]
        sample = KeyframeSample(
            observation=episode.steps[index].observation,
            action=target_action(episode.steps[keyframe], episode.steps[keyframe - 1]),
            paraphrases=sentences,
            task=episode.task,
            keyframe=ordinal,
            from_keyframe=index in decision_points,
            step=index,
            source=f"{source}, step {index}",
        )
        yield sample
        if alternatives:
            for other in (other for other in episode.alternatives if other.keyframe == ordinal):
                if other.action.answer != "move" and not answers:
                    continue
                yield replace(sample, action=other.action, paraphrases=other.sentences)


class PreparedSamples(Dataset[Prepared], Generic[Prepared]):
    """Samples turned once into what a policy keeps of them, held in memory.

    A policy's ``prepare`` shrinks a sample (four RGB-D images become one cropped cloud), so a few hundred demos fit.

    Attributes:
        tasks: the task of each sample.

    Raises:
        ObservationError: the policy cannot use a sample; names the demo and the step.
    """

    def __init__(self, samples: Iterator[KeyframeSample], prepare: Callable[[KeyframeSample], Prepared]) -> None:
        self._prepared = []
        self.tasks: list[str] = []
        for sample in samples:
            try:
                self._prepared.append(prepare(sample))
            except ObservationError as error:
                raise ObservationError(f"{sample.source}: {error}") from error
            self.tasks.append(sample.task)

    def __len__(self) -> int:
        return len(self._prepared)

    def __getitem__(self, index: int) -> Prepared:
        return self._prepared[index]
