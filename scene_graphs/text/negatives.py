"""Hard negatives that words alone do not give away.

A sentence that was changed into a false one often sounds false: "the sofa is in the bowl". A model that is trained with such
negatives learns what sounds false and need not look. So no sentence is used as a negative here unless it is a positive as
often: two scenes are brought together of which one makes the first of two sentences true and the second one false, and the
other scene the other way round. Each of the two sentences then is a positive once and a negative once. Whatever answers by the
words alone is right on exactly half of such a quadruple.
"""

import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from vla3d.errors import ConfigError
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.text.claims import Claim
from vla3d.scene_graphs.text.edits import EditKind, edits
from vla3d.scene_graphs.text.sentence import Sentence
from vla3d.scene_graphs.text.sentences import Speaker

Scene = TypeVar("Scene")
_STYLES = 2**31


@dataclass(frozen=True, kw_only=True)
class Contrast(Generic[Scene]):
    """A scene, what is true of it, and what is false.

    Attributes:
        scene: as it was handed in.
        positive: true of it.
        negative: false of it, and different from ``positive`` in one thing.
    """

    scene: Scene
    positive: Sentence
    negative: Sentence


@dataclass(frozen=True, kw_only=True)
class ContrastPair(Generic[Scene]):
    """Two scenes for which two sentences change places.

    Attributes:
        kind: in what the sentences differ.
        first: a scene of which one sentence is true.
        second: a scene of which the other one is.
    """

    kind: EditKind
    first: Contrast[Scene]
    second: Contrast[Scene]

    def labelled(self) -> Iterator[tuple[Scene, str, bool]]:
        """``(scene, text, whether it is true)``, four of them, in which each text is true once and false once."""
        for contrast in (self.first, self.second):
            yield contrast.scene, contrast.positive.text, True
            yield contrast.scene, contrast.negative.text, False


class ContrastMiner(Generic[Scene]):
    """Brings together scenes as they come.

    Args:
        seed: chooses among edits and paraphrases.
        per_kind: in how many pairs of a kind one scene may take part.
        memory: how many scenes wait for a partner; the oldest are given up first.

    Raises:
        ConfigError: ``per_kind`` or ``memory`` is below 1.
    """

    def __init__(self, seed: int = 0, *, per_kind: int = 2, memory: int = 4096) -> None:
        if per_kind < 1 or memory < 1:
            raise ConfigError(f"contrast miner: got per_kind {per_kind} and memory {memory}, expected at least 1.")
        self._seed, self._per_kind, self._memory, self._number = seed, per_kind, memory, 0
        self._waiting: dict[tuple[str, Claim, Claim], list[int]] = defaultdict(list)
        self._known: dict[int, tuple[Scene, Speaker]] = {}
        self._order: deque[int] = deque()
        self._proposed: dict[int, list[tuple[str, Claim, Claim]]] = {}
        self._used: Counter[tuple[int, str]] = Counter()

    def add(self, scene: Scene, graph: SceneGraph) -> list[ContrastPair[Scene]]:
        """Take in a scene.

        Args:
            scene: whatever names it; it comes back in the pairs.
            graph: of the scene.

        Returns:
            Pairs of this scene and earlier ones.
        """
        number, self._number = self._number, self._number + 1
        speaker = Speaker(graph, seed=hash_of(self._seed, number))
        rng = random.Random(hash_of(self._seed, number) + 1)
        self._known[number] = (scene, speaker)
        self._order.append(number)
        proposals: dict[tuple[str, Claim, Claim], EditKind] = {}
        for edit in edits(speaker, rng):
            proposals[graph.viewpoint.name, edit.true, edit.false] = edit.kind
        found = []
        for key in sorted(proposals, key=lambda _: rng.random()):
            partner = self._partner(key, number, proposals[key])
            if partner is not None:
                found.append(self._pair(key, proposals[key], number, partner, rng))
        self._proposed[number] = list(proposals)
        for key in proposals:
            self._waiting[key].append(number)
        self._forget()
        return found

    def _partner(self, key: tuple[str, Claim, Claim], number: int, kind: EditKind) -> int | None:
        """An earlier scene of which the same two claims are false and true."""
        if self._used[number, kind] >= self._per_kind:
            return None
        waiting = self._waiting.get((key[0], key[2], key[1]), [])
        for place, other in enumerate(waiting):
            if self._used[other, kind] < self._per_kind:
                del waiting[place]
                return other
        return None

    def _pair(
        self, key: tuple[str, Claim, Claim], kind: EditKind, number: int, partner: int, rng: random.Random
    ) -> ContrastPair[Scene]:
        # One style throughout: then the texts are equal to the letter in both scenes, and differ in one thing in each.
        style = int(rng.random() * _STYLES)
        true, false = ((claim, style) for claim in key[1:])
        self._used[number, kind] += 1
        self._used[partner, kind] += 1
        return ContrastPair(
            kind=kind,
            first=self._contrast(number, true, false, kind),
            second=self._contrast(partner, false, true, kind),
        )

    def _contrast(self, number: int, true: tuple[Claim, int], false: tuple[Claim, int], kind: EditKind) -> Contrast[Scene]:
        scene, speaker = self._known[number]
        positive, negative = (speaker.say(claim, kind, style=style) for claim, style in (true, false))
        return Contrast(scene=scene, positive=positive, negative=negative)

    def _forget(self) -> None:
        while len(self._order) > self._memory:
            oldest = self._order.popleft()
            del self._known[oldest]
            for key in self._proposed.pop(oldest):
                waiting = self._waiting[key]
                if oldest in waiting:
                    waiting.remove(oldest)
                if not waiting:
                    del self._waiting[key]


def mine(scenes: Iterable[tuple[Scene, SceneGraph]], seed: int = 0, *, per_kind: int = 2) -> Iterator[ContrastPair[Scene]]:
    """All pairs among scenes.

    Args:
        scenes: ``(name, graph)``, as many as there are.
        seed: chooses among edits and paraphrases.
        per_kind: in how many pairs of a kind one scene may take part.
    """
    miner: ContrastMiner[Scene] = ContrastMiner(seed, per_kind=per_kind)
    for scene, graph in scenes:
        yield from miner.add(scene, graph)


def hash_of(seed: int, number: int) -> int:
    """A seed for scene ``number``: the same in every process."""
    return random.Random(f"{seed}/{number}").getrandbits(62)
