"""Controls: the same evaluation with the sentence tampered with, so that a claim about language can fail.

A policy that follows instructions loses the old goal and keeps its rate on the named one under ``swap``, and falls to the
level of a lucky choice under ``mask_text``.
"""

from dataclasses import dataclass

from vla3d.envs.base import KeyframeEnv
from vla3d.errors import unknown_name
from vla3d.evaluation.config import CONTROLS

DESCRIPTIONS: dict[str, str] = {
    "none": "The policy is given the episode's own sentence.",
    "swap": "The sentence names another object that is present. Success counts the named goal; the old one is scored too.",
    "mask_text": "The policy's text is masked: what acting blind to the sentence reaches.",
}


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """What is said in one episode.

    Attributes:
        own: the episode's own sentence.
        scored: the sentence whose goal counts as success.
        shown: what the policy reads; empty when its text is masked.
    """

    own: str
    scored: str
    shown: str


def sentences(control: str, env: KeyframeEnv) -> Sentences:
    """What is said in the environment's running episode under a control.

    Raises:
        ConfigError: for an unknown control.
    """
    if control not in CONTROLS:
        raise unknown_name("control", control, CONTROLS)
    own = env.instruction
    if control == "swap":
        named = env.swap_instruction()
        return Sentences(own=own, scored=named, shown=named)
    return Sentences(own=own, scored=own, shown="" if control == "mask_text" else own)
