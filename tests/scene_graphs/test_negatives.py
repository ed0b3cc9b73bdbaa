"""Hard negatives: proved false, one edit away, and as often true as false, so that no function of the words can tell."""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
from graph_scenes import cube, known_scene, table, tray

from vla3d.errors import ConfigError
from vla3d.scene_graphs.build import graph_of
from vla3d.scene_graphs.generator.scene import GeneratorConfig, scenes
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.text.checker import Facts, check
from vla3d.scene_graphs.text.claims import All, Description, Exists, Related
from vla3d.scene_graphs.text.edits import EDITS, edits
from vla3d.scene_graphs.text.negatives import ContrastMiner, ContrastPair, mine
from vla3d.scene_graphs.text.questions import yes_no
from vla3d.scene_graphs.text.sentences import Speaker
from vla3d.scene_graphs.truth import FALSE, TRUE


@pytest.fixture(scope="module")
def graphs() -> list[SceneGraph]:
    """Tabletops: of rooms a test of this size has too few that share a sentence."""
    return [scene.graph for scene in scenes("train", 24, config=GeneratorConfig.usual("tabletop"))]


@pytest.fixture(scope="module")
def pairs(graphs: list[SceneGraph]) -> list[ContrastPair[int]]:
    return list(mine(enumerate(graphs)))


def test_every_negative_is_proved_false_and_every_positive_true(
    pairs: list[ContrastPair[int]], graphs: list[SceneGraph]
) -> None:
    for pair in pairs:
        assert pair.first.scene != pair.second.scene
        for contrast in (pair.first, pair.second):
            facts = Facts(graphs[contrast.scene])
            assert check(contrast.positive.claim, facts) == TRUE
            assert check(contrast.negative.claim, facts) == FALSE


def test_there_are_pairs_of_every_kind(pairs: list[ContrastPair[int]]) -> None:
    """Two things that exchange their colours are rare among so few scenes."""
    assert {pair.kind for pair in pairs} >= set(EDITS) - {"binding"}
    cubes = [[cube(0, 0.4, 0.2, color=color), tray_of(other)] for color, other in (("red", "blue"), ("blue", "red"))]
    found = list(mine((number, graph_of([table(), *nodes])) for number, nodes in enumerate(cubes)))
    (pair,) = [pair for pair in found if pair.kind == "binding"][:1]
    assert pair.first.positive.text.split()[-8:] != pair.first.negative.text.split()[-8:]


def tray_of(color: str) -> SceneNode:
    return replace(tray(2, 0.6, -0.2), color=color, rgb=cube(0, 0, 0, color=color).rgb)


def test_sentences_change_places(pairs: list[ContrastPair[int]]) -> None:
    for pair in pairs:
        assert pair.first.positive.text == pair.second.negative.text
        assert pair.first.negative.text == pair.second.positive.text
        assert pair.first.positive.text != pair.first.negative.text


def test_texts_are_as_often_true_as_false(pairs: list[ContrastPair[int]]) -> None:
    true, false = Counter[str](), Counter[str]()
    for pair in pairs:
        for _, text, truth in pair.labelled():
            (true if truth else false)[text] += 1
    assert true == false and len(true) > 40


def length(text: str) -> bool:
    return len(text) % 2 == 0


def hashed(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


@pytest.mark.parametrize("guess", [length, hashed, lambda text: "left" in text, lambda text: True])
def test_whatever_goes_by_the_words_is_right_on_half(pairs: list[ContrastPair[int]], guess: Callable[[str], bool]) -> None:
    answers = [guess(text) == truth for pair in pairs for _, text, truth in pair.labelled()]
    assert 2 * sum(answers) == len(answers)


def test_even_one_who_knows_all_answers_by_heart_is_right_on_half(pairs: list[ContrastPair[int]]) -> None:
    known = defaultdict(Counter)  # type: defaultdict[str, Counter[bool]]
    for pair in pairs:
        for _, text, truth in pair.labelled():
            known[text][truth] += 1
    answers = [known[text].most_common(1)[0][0] == truth for pair in pairs for _, text, truth in pair.labelled()]
    assert 2 * sum(answers) == len(answers)


def test_unbalanced_edits_are_given_away_by_their_words(graphs: list[SceneGraph]) -> None:
    """What the balance is for: most sentences that edits make false are never true of any scene."""
    true, false = set(), set()
    for number, graph in enumerate(graphs[:8]):
        for edit in edits(Speaker(graph), random.Random(number), most=6):
            true.add(edit.true)
            false.add(edit.false)
    assert len(false - true) / len(false) > 0.7


def test_edits_change_one_thing(graphs: list[SceneGraph]) -> None:
    found = Counter[str]()
    for graph in graphs[:4]:
        for edit in edits(Speaker(graph), random.Random(0), most=6):
            true, false = edit.true, edit.false
            assert type(true) is type(false)
            found[edit.kind] += 1
            if isinstance(true, Related) and isinstance(false, Related):
                same = (true.subject == false.subject, true.predicate == false.predicate, true.object == false.object)
                swapped = (true.subject, true.object) == (false.object, false.subject) and same[1]
                assert swapped if edit.kind == "swap" else sum(same) == 2
                assert same[1] != (edit.kind == "relation")
            elif isinstance(true, Exists) and isinstance(false, Exists):
                one, two = dict(true.description.attributes), dict(false.description.attributes)
                assert one.keys() == two.keys() and sum(one[name] != two[name] for name in one) == 1
            elif isinstance(true, All) and isinstance(false, All) and edit.kind == "binding":
                colors = [
                    [part.description.color for part in claim.claims if isinstance(part, Exists)] for claim in (true, false)
                ]
                assert colors[0] == colors[1][::-1]
    assert set(found) == set(EDITS)


def test_what_lies_in_a_band_is_no_negative() -> None:
    """The red cube is 15 mm further left than the blue one, which is neither left of it nor not."""
    red, blue = Description(label="cube", color="red"), Description(label="cube", color="blue")
    for shift, expected in ((0.015, False), (-0.030, True)):
        graph = graph_of([table(), cube(0, 0.4, shift), cube(1, 0.6, 0.0, color="blue")])
        proposed = {edit.false for edit in edits(Speaker(graph), random.Random(0))}
        assert (Related(subject=red, predicate="left_of", object=blue) in proposed) == expected


def test_two_scenes_that_mirror_each_other_make_the_pair_one_would_write_down() -> None:
    left = graph_of([table(), tray(2, 0.5, 0.3), cube(0, 0.5, -0.3)])
    right = graph_of([table(), tray(2, 0.5, -0.3), cube(0, 0.5, 0.3)])
    miner: ContrastMiner[str] = ContrastMiner(per_kind=50)
    assert not miner.add("left", left)
    swaps = {pair.first.positive.claim for pair in miner.add("right", right) if pair.kind == "swap"}
    assert {(claim.subject.label, claim.predicate) for claim in swaps if isinstance(claim, Related)} >= {("cube", "left_of")}


def test_a_scene_makes_no_pair_with_itself_or_its_twin() -> None:
    assert not list(mine([("one", known_scene()), ("two", known_scene())]))


def test_no_scene_is_used_more_often_than_wanted(graphs: list[SceneGraph]) -> None:
    used = Counter[tuple[int, str]]()
    for pair in mine(enumerate(graphs[:12]), per_kind=1):
        used[pair.first.scene, pair.kind] += 1
        used[pair.second.scene, pair.kind] += 1
    assert max(used.values()) == 1


def test_what_waits_too_long_is_forgotten(graphs: list[SceneGraph]) -> None:
    miner: ContrastMiner[int] = ContrastMiner(memory=3)
    for number, graph in enumerate(graphs[:8]):
        for pair in miner.add(number, graph):
            assert number - min(pair.first.scene, pair.second.scene) <= 3
    assert len(miner._known) == 3 and {number for waiting in miner._waiting.values() for number in waiting} <= {5, 6, 7}
    with pytest.raises(ConfigError, match="got per_kind 0 and memory 1"):
        ContrastMiner(per_kind=0, memory=1)


def test_questions_are_answered_by_yes_and_no_alike(pairs: list[ContrastPair[int]], graphs: list[SceneGraph]) -> None:
    answers = defaultdict(Counter)  # type: defaultdict[str, Counter[str]]
    for style, pair in enumerate(pairs[:60]):
        for scene, question in yes_no(pair, (graphs[pair.first.scene], graphs[pair.second.scene]), style):
            assert scene in (pair.first.scene, pair.second.scene) and question.text.endswith("?")
            answers[question.text][question.answer] += 1
    assert len(answers) > 30
    assert all(counts["yes"] == counts["no"] for counts in answers.values())
