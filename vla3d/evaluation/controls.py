"""Controls: the same evaluation with the sentence tampered with, so that a claim about language can fail.

A policy that follows instructions loses the old goal and keeps its rate on the named one under ``swap``, falls to the level of
a lucky choice under ``mask_text``, and moves nothing but says so under ``absent``.
"""

from dataclasses import dataclass

from vla3d.envs.base import KeyframeEnv
from vla3d.errors import unknown_name
from vla3d.evaluation.config import CONTROLS

DESCRIPTIONS: dict[str, str] = {
    "none": "The policy is given the episode's own sentence.",
    "swap": "The sentence names another object that is present. Success counts the named goal; the old one is scored too.",
    "mask_text": "The policy's text is masked: what acting blind to the sentence reaches.",
    "absent": "The sentence asks for something that is not there. Success counts the answer “absent” and nothing else.",
}

SUCCESS_WORDS: dict[str, str] = {"absent": "answered absent"}
"""How reports call a success, where it is no goal that was reached."""


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """What is said in one episode.

    Attributes:
        own: the episode's own sentence.
        scored: the sentence whose goal counts as success.
        shown: what the policy reads; empty when its text is masked.
        absent: whether ``scored`` asks for something that is not there, so that the answer ``absent`` is the success.
    """

    own: str
    scored: str
    shown: str
    absent: bool = False


def sentences(control: str, env: KeyframeEnv) -> Sentences:
    """What is said in the environment's running episode under a control.

    Raises:
        ConfigError: for an unknown control, or one that the environment has no sentence for.
    """
    if control not in CONTROLS:
        raise unknown_name("control", control, CONTROLS)
    own = env.instruction
    if control == "swap":
        named = env.swap_instruction()
        return Sentences(own=own, scored=named, shown=named)
    if control == "absent":
        named = env.absent_instruction()
        return Sentences(own=own, scored=named, shown=named, absent=True)
    return Sentences(own=own, scored=own, shown="" if control == "mask_text" else own)
