"""The scripted baseline: the simulator's own expert as a policy, the upper bound of every success table."""

from typing import Protocol, runtime_checkable

from vla3d.policies.base import Policy, terminal_answer
from vla3d.types import Expert, KeyframeAction, Observation, Workspace


@runtime_checkable
class KnowsWhatIsAbsent(Protocol):
    """An expert that can be asked whether a sentence asks for something that is not there."""

    def is_absent(self, sentence: str) -> bool:
        """Whether it does."""
        ...


class ScriptedPolicy(Policy):
    """Hands on what the episode's privileged expert decides, or says ``absent`` where that expert knows it of the sentence.

    It reads the simulator's state and never the images, and the sentence for nothing else, so it is no learned policy's peer:
    it shows that the task can be done within the step limit.
    """

    def __init__(self, *, workspace: Workspace | None = None) -> None:
        self.workspace = workspace
        self._expert: Expert | None = None

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        """Begin an episode with its expert; the seed changes nothing.

        Raises:
            ValueError: without an expert.
        """
        if expert is None:
            raise ValueError("ScriptedPolicy.reset: got no expert, expected the environment's; pass expert=env.expert().")
        self._expert = expert

    def act(self, observation: Observation) -> KeyframeAction:
        """The expert's action from the present state, or that what the sentence asks for is absent."""
        if self._expert is None:
            raise ValueError("ScriptedPolicy.act: got no expert, expected reset(seed, expert) first; call it per episode.")
        if isinstance(self._expert, KnowsWhatIsAbsent) and self._expert.is_absent(observation.instruction):
            return terminal_answer(observation, "absent")
        return self._expert.next_action()
