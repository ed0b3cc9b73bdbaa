"""What an offline evaluation asks a policy: an instant of a demonstration, a sentence, and the keyframe that would be right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vla3d.data.demos import DemosConfig, episode_samples
from vla3d.data.reader import EpisodeInfo
from vla3d.data.samples import KeyframeSample
from vla3d.data.sources import DemoSource
from vla3d.data.store import EpisodeRef
from vla3d.errors import ConfigError
from vla3d.types import KeyframeAction, Observation

OFFLINE_DESCRIPTIONS: dict[str, str] = {
    "none": "The policy is given the demonstration's own sentence.",
    "swap_text": "The policy is given a sentence of another goal; errors are still counted against what was demonstrated.",
    "mask_text": "The policy's text is masked: what deciding blind to the sentence reaches.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """One sample and what is said about it.

    Attributes:
        ref: the demonstration.
        sample: what is seen, and the demonstrated keyframe.
        said: the sentence that the policy reads; empty when its text is masked.
        named: the keyframe that the swapped sentence asks for, where the demonstration holds it.
    """

    ref: EpisodeRef
    sample: KeyframeSample
    said: str
    named: KeyframeAction | None = None

    @property
    def goal(self) -> str:
        """The sentence that the demonstrated keyframe answers."""
        return self.sample.paraphrases[0]

    @property
    def observation(self) -> Observation:
        """What the policy sees and reads. Masked text is the policy's own matter: there its own sentence stands."""
        return self.sample.observation.with_instruction(self.said or self.goal)


class Questions:
    """Makes the questions of a dataset's demonstrations, one demonstration at a time.

    Args:
        dataset: where they lie.
        cameras: those that the policy needs.
        samples: which samples of a demonstration.
        control: one of ``OFFLINE_CONTROLS``.
        demos: every demonstration that will be asked about; their sentences are at hand for ``swap_text``.
    """

    def __init__(
        self,
        dataset: DemoSource,
        cameras: Sequence[str],
        samples: DemosConfig,
        control: str,
        demos: Sequence[EpisodeRef],
    ) -> None:
        self._dataset = dataset
        self._cameras = tuple(cameras)
        self._samples = samples
        self._control = control
        self._instructions: dict[str, list[str]] = {}
        if control == "swap_text":
            for ref in demos:
                self._instructions.setdefault(ref.task, []).append(dataset.info(ref).instruction)

    def of(self, ref: EpisodeRef) -> Iterator[Question]:
        """The questions of one demonstration.

        Raises:
            CorruptEpisodeError: naming it.
            ConfigError: it lacks a camera, or there is no other sentence to swap in.
        """
        info = self._dataset.info(ref)
        self._check_cameras(info)
        for sample in episode_samples(self._dataset, ref, self._samples, self._cameras):
            if self._control == "mask_text":
                yield Question(ref=ref, sample=sample, said="")
            elif self._control == "swap_text":
                sentence, named = self._other_goal(info, sample)
                yield Question(ref=ref, sample=sample, said=sentence, named=named)
            else:
                yield Question(ref=ref, sample=sample, said=sample.paraphrases[0])

    def _check_cameras(self, info: EpisodeInfo) -> None:
        missing = [name for name in self._cameras if name not in info.cameras]
        if missing:
            raise ConfigError(
                f"The checkpoint needs the camera {missing[0]!r} (it was trained with {', '.join(self._cameras)}); the "
                f"demonstration {info.ref} of {self._dataset.path} has {', '.join(info.cameras)}. Give data with that camera, "
                "or train on those there are."
            )

    def _other_goal(self, info: EpisodeInfo, sample: KeyframeSample) -> tuple[str, KeyframeAction | None]:
        """A sentence of the next of the scene's goals, and the keyframe it asks for here where that was recorded."""
        others = [other for other in info.alternatives if other.action.answer == "move"]  # the rest ask for no keyframe
        here = [other for other in others if other.keyframe == sample.keyframe]
        goals: list[tuple[str, KeyframeAction | None]] = [(info.instruction, None)]
        goals += [(other.sentences[0], other.action) for other in here]
        if not here:  # later keyframes: any goal of this scene, then of the task's other scenes
            goals += [(other.sentences[0], None) for other in others]
            goals += [(sentence, None) for sentence in self._instructions[info.ref.task]]
        own = next(index for index, (sentence, _) in enumerate(goals) if sentence == sample.paraphrases[0])
        for sentence, action in (*goals[own + 1 :], *goals[:own]):
            if sentence not in sample.paraphrases:
                return sentence, action
        raise ConfigError(
            f"control=swap_text: all demonstrations of {info.ref.task} ask for the same ({info.instruction!r}), expected "
            "another goal to swap in; take more demonstrations, or control=mask_text."
        )
