"""Can negatives be told by their words? Text-only classifiers on edited sentences as they come, and on balanced ones.

python benchmarks/hard_negatives.py [--scenes 400]

A bag of words and pairs of words with logistic regression, and a GRU over words, are trained on sentences that are true or
false of scenes, without the scenes, and asked about sentences of other scenes. Of each quadruple of the balanced ones a single
item is asked: over whole quadruples every classifier of words is right on exactly half.
"""

import argparse
import platform
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from itertools import pairwise

import torch
from torch import Tensor, nn

from vla3d.evaluation.statistics import wilson_interval
from vla3d.scene_graphs.generator.catalog import SceneKind
from vla3d.scene_graphs.generator.scene import GeneratorConfig, SceneSplit, scenes
from vla3d.scene_graphs.text.edits import EDITS, edits
from vla3d.scene_graphs.text.negatives import mine
from vla3d.scene_graphs.text.sentences import Speaker

KINDS: tuple[SceneKind, ...] = ("tabletop", "room")
Item = tuple[str, bool, str]
"""A text, whether it is true, and how it or its partner was edited."""

Classifier = Callable[[Sequence[Item], Sequence[Item]], list[bool]]


def balanced(split: SceneSplit, count: int, single: bool) -> list[Item]:
    """Items of balanced pairs; one of each if ``single``."""
    rng, found = random.Random(0), []
    for kind in KINDS:
        drawn = scenes(split, count, config=GeneratorConfig.usual(kind))
        for pair in mine((scene.index, scene.graph) for scene in drawn):
            items = [(text, truth, pair.kind) for _, text, truth in pair.labelled()]
            found += [items[int(4 * rng.random())]] if single else items
    return found


def as_they_come(split: SceneSplit, count: int) -> list[Item]:
    """For each kind of edit two true sentences of a scene and the false ones made of them."""
    found: list[Item] = []
    for kind in KINDS:
        for scene in scenes(split, count, config=GeneratorConfig.usual(kind)):
            speaker, rng, used = Speaker(scene.graph, seed=scene.seed), random.Random(scene.seed), Counter[str]()
            for edit in sorted(edits(speaker, rng), key=lambda _: rng.random()):
                if used[edit.kind] < 2:
                    used[edit.kind] += 1
                    style = int(rng.random() * 2**31)
                    for claim, truth in ((edit.true, True), (edit.false, False)):
                        found.append((speaker.say(claim, edit.kind, style=style).text, truth, edit.kind))
    return found


def words_of(text: str) -> list[str]:
    """Words in lower case."""
    return text.lower().replace(".", " .").replace(",", " ,").split()


def bag_of_words(train: Sequence[Item], test: Sequence[Item]) -> list[bool]:
    """Logistic regression on words and pairs of words."""
    counts = Counter(gram for text, _, _ in train for gram in set(grams(text)))
    numbers = {gram: number for number, (gram, _) in enumerate(counts.most_common(3000))}

    def features(items: Sequence[Item]) -> Tensor:
        table = torch.zeros(len(items), len(numbers))
        for row, (text, _, _) in enumerate(items):
            for gram in grams(text):
                if gram in numbers:
                    table[row, numbers[gram]] = 1.0
        return table

    model = nn.Linear(len(numbers), 1)
    fit(model, features(train), train, epochs=12, decay=1e-3)
    return (model(features(test))[:, 0] > 0).tolist()


def grams(text: str) -> list[str]:
    """Words and pairs of neighbours."""
    words = words_of(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


class Reader(nn.Module):
    """Reads a sentence word by word.

    Args:
        vocabulary: how many words there are; word 0 is none.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 48, padding_idx=0)
        self.reader = nn.GRU(48, 96, batch_first=True)
        self.answer = nn.Linear(96, 1)

    def forward(self, words: Tensor) -> Tensor:
        """Logits of sentences of padded words."""
        states, _ = self.reader(self.embedding(words))
        last = (words != 0).sum(dim=1) - 1
        logits: Tensor = self.answer(states[torch.arange(len(words)), last])
        return logits


def gru(train: Sequence[Item], test: Sequence[Item]) -> list[bool]:
    """A small recurrent network over words."""
    known = {word: number for number, word in enumerate(sorted({w for t, _, _ in train for w in words_of(t)}), start=2)}

    def features(items: Sequence[Item]) -> Tensor:
        rows = [torch.tensor([known.get(word, 1) for word in words_of(text)]) for text, _, _ in items]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    model = Reader(len(known) + 2)
    fit(model, features(train), train, epochs=8, decay=1e-4)
    with torch.no_grad():
        return (model(features(test))[:, 0] > 0).tolist()


def fit(model: nn.Module, features: Tensor, items: Sequence[Item], epochs: int, decay: float) -> None:
    """Adam on the log loss."""
    truth = torch.tensor([truth for _, truth, _ in items], dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=decay)
    for _ in range(epochs):
        for rows in torch.randperm(len(items)).split(128):
            loss = nn.functional.binary_cross_entropy_with_logits(model(features[rows])[:, 0], truth[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def report(name: str, train: list[Item], test: list[Item], classify: Classifier) -> None:
    """A row: accuracy with its interval, and by kind of edit."""
    torch.manual_seed(0)
    said = classify(train, test)
    right = [answer == truth for answer, (_, truth, _) in zip(said, test, strict=True)]
    interval = wilson_interval(sum(right), len(right))
    by_kind = []
    for kind in EDITS:
        mine_ = [value for value, (_, _, other) in zip(right, test, strict=True) if other == kind]
        by_kind.append(f"{100 * sum(mine_) / max(len(mine_), 1):9.1f}")
    bounds = f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    print(f"{name:26}{len(test):7}{100 * sum(right) / len(right):8.1f} %  {bounds:14}{''.join(by_kind)}", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=400, help="of each kind for training, and as many for testing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"text-only classifiers, {options.scenes} + {options.scenes} scenes of each kind; {date.today()}, "
          f"{platform.machine()}, {versions}")  # fmt: skip
    print(f"{'':26}{'asked':>7}{'right':>10}  {'Wilson 95 %':14}{''.join(f'{kind:>9}' for kind in EDITS)}")
    classifiers: dict[str, Classifier] = {"bag of words": bag_of_words, "GRU": gru}
    plain = as_they_come("train", options.scenes), as_they_come("validation", options.scenes)
    for name, classifier in classifiers.items():
        report(f"as they come, {name}", *plain, classifier)
    even = balanced("train", options.scenes, single=False), balanced("validation", options.scenes, single=True)
    for name, classifier in classifiers.items():
        report(f"balanced, {name}", *even, classifier)


if __name__ == "__main__":
    main()
