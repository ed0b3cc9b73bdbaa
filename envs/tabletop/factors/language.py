"""Factors of the sentence: other wordings, names of colours that were never said, and compositions of words that never met."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, Rgb
from vla3d.envs.tabletop.factors.base import Change, Factor
from vla3d.envs.tabletop.factors.palette import UNSEEN
from vla3d.envs.tabletop.tasks.base import TabletopTask


class TaskVariations(Factor):
    """Sentences of the same meaning that no demonstration uses."""

    name = "task_variations"
    label = "task variations (wording)"

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task has such sentences."""
        return bool(task.unseen_templates)

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Nothing is drawn: the episode draws its sentence."""
        return _Unheard()


class _Unheard(Change):
    unseen_sentences = True


class UnseenRelations(Factor):
    """Sides and anchors that no demonstration joins, each of them known from others."""

    name = "unseen_relations"
    label = "unseen relations"

    def applies_to(self, task: TabletopTask) -> bool:
        """Whether the task holds some out."""
        return bool(task.variations(unseen=True))

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Nothing is drawn: the episode draws its variation."""
        return _Unjoined()


class _Unjoined(Change):
    unseen_variations = True


class UnseenColors(Factor):
    """Things in colours of other names, asked for by those names."""

    name = "unseen_colors"
    label = "unseen colours"

    def draw(self, rng: np.random.Generator, task: TabletopTask) -> Change:
        """Draw which unseen colour stands for which training colour."""
        names = list(UNSEEN)
        drawn = [names[index] for index in rng.permutation(len(names))]
        return _Renamed(dict(zip(COLOR_NAMES, drawn, strict=True)))


@dataclass(frozen=True)
class _Renamed(Change):
    names: Mapping[str, str]

    def repaint(self, body: str, rgb: Rgb) -> Rgb:
        return {COLORS[old]: UNSEEN[new] for old, new in self.names.items()}.get(rgb, rgb)

    def reword(self, sentence: str) -> str:
        return replace_words(sentence, self.names)


def replace_words(sentence: str, words: Mapping[str, str]) -> str:
    """A sentence with whole words replaced, all at once."""
    choices = "|".join(re.escape(word) for word in words)
    return re.sub(rf"\b({choices})\b", lambda found: words[found.group()], sentence)
