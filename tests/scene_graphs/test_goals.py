"""Goals: read from sentences, bound to a scene, and true, false or undecided of it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from graph_scenes import cube, table, tray

from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.factors.palette import UNSEEN
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.goals.goal import GRIPPER, Goal, Wish
from vla3d.scene_graphs.goals.phrasebook import PHRASEBOOK, read_goal
from vla3d.scene_graphs.goals.phrases import fits, noun_phrases, patterns_of, words_of
from vla3d.scene_graphs.goals.vocabulary import ADJECTIVES, PLACES, meaning
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.scene_graphs.text.claims import Description, Has, Related
from vla3d.scene_graphs.text.render import name

RED, BLUE, BOX = (
    Description(label=label, color=color) for label, color in (("block", "red"), ("block", "blue"), ("box", None))
)
NOT_READABLE = {"push_buttons"}
"""Tasks whose goals no graph shows: that a button was pressed."""


def related(subject: Description, predicate: str, target: Description, holds: bool = True) -> Wish:
    return Wish(claim=Related(subject=subject, predicate=predicate, object=target), holds=holds)


def hand(x: float, y: float, z: float, holding: bool = True) -> SceneNode:
    box = OrientedBox.upright([x, y, z], [0.02, 0.04, 0.03])
    return SceneNode(id=1, label="gripper", kind="gripper", box=box, holding=holding)


def scene(*nodes: SceneNode) -> SceneGraph:
    return graph_of([table(), *nodes])


def two_cubes(**moved: tuple[float, float, float]) -> SceneGraph:
    """A red cube, a blue one beside it, a tray, and an empty hand above."""
    red, blue = moved.get("red", (0.4, 0.1, 0.02)), moved.get("blue", (0.4, -0.1, 0.02))
    return scene(cube(2, *red), cube(3, *blue, color="blue"), tray(4, 0.6, 0.0), hand(0.5, 0, 0.3, holding=False))


@cache
def sentences(unseen: bool) -> tuple[tuple[str, str, int], ...]:
    """Task, sentence and variation, for some variations of every task and each of its templates."""
    return tuple(_sentences(unseen))


def _sentences(unseen: bool) -> Iterator[tuple[str, str, int]]:
    for task_name, point in BUILT_IN.items():
        env = point.load()(renderer=None)
        task = env._task
        for variation in range(0, task.num_variations, max(1, task.num_variations // 4)):
            for sentence in task.sentences(variation, unseen):
                yield task_name, sentence, variation
        env.close()


# Reading


@pytest.mark.parametrize("unseen", [False, True])
def test_every_sentence_of_every_task_is_read_or_known_not_to_be(unseen: bool) -> None:
    said = sentences(unseen)
    read = {(task, sentence) for task, sentence, _ in said if read_goal(sentence) is not None}
    assert {task for task, sentence, _ in said if (task, sentence) not in read} == NOT_READABLE
    assert not {task for task, _ in read} & NOT_READABLE


def test_sentences_of_one_meaning_are_one_goal_and_of_two_are_two() -> None:
    """But for what a sentence leaves unsaid: that a colour is a block's, or the order in which two things are put away."""
    goals: dict[tuple[str, int], set[frozenset[Wish]]] = {}
    for task, sentence, variation in (*sentences(False), *sentences(True)):
        goal = read_goal(sentence)
        if goal is not None:
            goals.setdefault((task, variation), set()).add(frozenset(named(wish) for wish in goal.wishes))
    assert all(len(meanings) == 1 for meanings in goals.values())
    per_task = [[next(iter(found)) for (task, _), found in goals.items() if task == name] for name in BUILT_IN]
    assert all(len(set(found)) == len(found) for found in per_task)


def named(wish: Wish) -> Wish:
    """A wish about blocks where it names a colour alone."""
    claim = wish.claim
    subject = replace(claim.subject, label=claim.subject.label or "block")
    if isinstance(claim, Has):
        return wish
    if claim.predicate == "inside_gripper":
        return replace(wish, claim=replace(claim, subject=replace(subject, label="ball")))
    target = replace(claim.object, label=claim.object.label or "block")
    return replace(wish, claim=replace(claim, subject=subject, object=target))


def test_what_the_verbs_ask_for() -> None:
    on_table = related(RED, "on", Description(label="table"), holds=False)
    assert read_goal("Pick up the red cube!") == Goal(wishes=(related(RED, "held_by", GRIPPER), on_table))
    put = read_goal("put the red block into the bin")
    assert put == Goal(wishes=(related(RED, "in", BOX), related(RED, "held_by", GRIPPER, holds=False)))
    drawer = Description(label="drawer", color="green")
    assert read_goal("open the drawer with the green handle") == Goal(
        wishes=(Wish(claim=Has(subject=drawer, attribute="state", value="open")),)
    )
    tower = read_goal("build a tower with red at the bottom, then blue, then cyan and pink on top")
    assert tower is not None
    upward = [(wish.claim.subject.color, wish.claim.object.color) for wish in tower.wishes if wish.claim.predicate == "on"]
    assert upward == [("blue", "red"), ("cyan", "blue"), ("pink", "cyan")]


def test_where_a_thing_is_belongs_to_it_where_the_sentence_says_so() -> None:
    lifted = read_goal("lift the red block that is to the left of the drawer")
    assert lifted is not None
    beside = replace(RED, predicate="left_of", anchor=Description(label="drawer"))
    assert lifted.things[0] == beside
    assert read_goal("pick up the cube behind the box") == read_goal("raise the block standing behind the container")
    moved = read_goal("put the cube left of the box in the open drawer")
    assert moved is not None and moved.wishes[0].claim.object == Description(label="drawer", state="open")  # type: ignore[union-attr]


def test_just_beside_is_near_and_on_that_side() -> None:
    around = scene(tray(2, 0.5, 0.0), cube(3, 0.5, 0.135), cube(4, 0.5, 0.30), cube(5, 0.5, -0.135))
    meant = {}
    for sentence in (
        "lift the block just left of the tray",
        "lift the block next to the tray, left of it",
        "lift the block left of the tray",
    ):
        goal = read_goal(sentence)
        assert goal is not None
        (block,) = goal.handled
        meant[sentence] = goal.bind(around).meant[block]
        assert name(block, Viewpoint(), definite=True).text.startswith("the block ")
    assert list(meant.values()) == [(3,), (3,), (3, 4)]
    just = read_goal("lift the block just behind the tray")
    assert just is not None and [said.near for said in just.missing(around)] == [True]
    assert "just behind" in name(just.handled[0], Viewpoint(), definite=True).text


@pytest.mark.parametrize(
    "sentence",
    [
        "lift the mug",  # a noun that is not known
        "lift the red red cube",
        "polish the red cube",
        "lift the red cube and the blue cube",
        "do not lift the red cube",
        "lift the red cube twice",
        "put the red cube in the box on the table",  # into the box that is on the table, or onto the table from the box
        "open the red box",
        "lift one",
        "",
    ],
)
def test_what_cannot_be_read_is_not_guessed(sentence: str) -> None:
    assert read_goal(sentence) is None


def test_noun_phrases_are_the_inverse_of_our_own() -> None:
    """What `render.name` says of a description is read as that description."""
    anchors = [None, ("left_of", BOX), ("on", Description(label="drawer", state="open"))]
    for color in (None, "red", "gray"):
        for size in (None, "small"):
            for anchor in anchors:
                place = {} if anchor is None else {"predicate": anchor[0], "anchor": anchor[1]}
                thing = Description(label="block", color=color, size=size, **place)  # type: ignore[arg-type]
                for style in range(8):
                    text = name(thing, Viewpoint(), style, definite=True).text.split(", seen")[0]
                    assert thing in [found for found, rest in noun_phrases(words_of(text)) if not rest], text


def test_the_vocabulary_is_that_of_the_scenes() -> None:
    assert set(UNSEEN) <= set(ADJECTIVES), "sentences of the suites name these colours"
    assert {"left_of", "right_of", "in_front_of", "behind", "on", "in", "near"} <= set(PLACES.values())
    assert meaning("cube") == meaning("round block") == "block" and meaning("teapot") == "teapot"


def test_patterns_are_written_out_and_take_all_words() -> None:
    patterns = patterns_of("(lift|pick up) {x:block} (|now)")
    assert len(patterns) == 4
    assert [len(list(fits(pattern, words_of("pick up the red cube now")))) for pattern in patterns] == [0, 0, 0, 1]
    assert not any(list(fits(pattern, words_of("pick up the box now"))) for pattern in patterns)
    assert len({phrase.verb for phrase in PHRASEBOOK}) == len(PHRASEBOOK)


# Holding


def goal_of(sentence: str) -> Goal:
    goal = read_goal(sentence)
    assert goal is not None
    return goal


def test_a_lift_is_true_once_the_thing_is_off_the_table_in_the_hand() -> None:
    bound = goal_of("lift the red block").bind(two_cubes())
    assert bound.holds(two_cubes()) == FALSE
    held_low = scene(cube(2, 0.4, 0.1), hand(0.4, 0.1, 0.02))
    assert bound.holds(held_low) == FALSE
    assert [wish.words() for wish in bound.expected_delta(held_low)] == ["the red block is not on the table"]
    assert bound.holds(scene(cube(2, 0.4, 0.1, z=0.12), hand(0.4, 0.1, 0.12))) == TRUE
    assert bound.holds(scene(cube(3, 0.4, 0.1, z=0.12, color="blue"), cube(2, 0.6, 0.1), hand(0.4, 0.1, 0.12))) == FALSE


def test_put_in_wants_it_let_go() -> None:
    goal = goal_of("put the red block in the box")
    bound = goal.bind(two_cubes())
    assert bound.holds(two_cubes(red=(0.6, 0.0, 0.026))) == TRUE
    held = scene(cube(2, 0.6, 0.0, z=0.026), tray(4, 0.6, 0.0), hand(0.6, 0.0, 0.026))
    assert bound.holds(held) == FALSE
    assert [wish.words() for wish in bound.expected_delta(held)] == ["the red block is not held by the hand"]


def test_a_stack_is_middle_over_middle_and_a_plate_on_a_table_is_not() -> None:
    bound = goal_of("put the red cube on the blue cube").bind(two_cubes())
    assert [bound.holds(two_cubes(red=(0.4, -0.1 + shift, 0.06))) for shift in (0.0, 0.015, 0.025)] == [TRUE, UNDECIDED, FALSE]
    assert goal_of("put the red cube on the table").bind(two_cubes()).holds(two_cubes()) == TRUE


def test_what_was_meant_is_remembered() -> None:
    """A cube that was left of the other one is still the one that was asked for when it is not any more."""
    bound = goal_of("lift the block left of the blue block").bind(two_cubes())
    assert bound.ids(bound.goal.handled) == {2}
    carried = scene(cube(2, 0.4, -0.3, z=0.2), cube(3, 0.4, -0.1, color="blue"), hand(0.4, -0.3, 0.2))
    assert bound.holds(carried) == TRUE
    assert bound.about(2) and not bound.about(3)


def test_drawers_are_open_when_nobody_would_call_them_ajar() -> None:
    box = OrientedBox.upright([0.5, 0, 0.05], [0.1] * 3)
    truths = []
    for opening in (0.3, 0.7, 0.9):
        graph = scene(SceneNode(id=5, label="drawer", box=box, color="red", opening=opening))
        truths.append(goal_of("open the red drawer").bind(graph).holds(graph))
    assert truths == [FALSE, UNDECIDED, TRUE]


def test_an_ambiguous_goal_is_never_surely_reached() -> None:
    graph = scene(cube(2, 0.4, 0.1, z=0.12), cube(3, 0.4, -0.1), hand(0.4, 0.1, 0.12))
    bound = goal_of("lift the red block").bind(graph)
    assert bound.ids(bound.goal.handled) == {2, 3} and bound.holds(graph) == UNDECIDED
    assert not bound.about(2)


def test_out_of_sight_is_undecided() -> None:
    bound = goal_of("put the red block in the box").bind(two_cubes())
    assert (
        bound.holds(scene(cube(3, 0.4, -0.1, color="blue"), tray(4, 0.6, 0.0), hand(0.5, 0, 0.3, holding=False))) == UNDECIDED
    )


# Missing


def test_only_what_is_certainly_not_there_is_missing() -> None:
    graph = two_cubes()
    green = goal_of("put the green block in the box")
    assert green.missing(graph) == (Description(label="block", color="green"),)
    assert not goal_of("put the red block in the box").missing(graph)
    assert goal_of("lift the red block right of the blue block").missing(graph)
    assert not goal_of("lift the red block left of the blue block").missing(graph)
    unlabelled = scene(
        SceneNode(id=6, label="unknown", box=cube(6, 0.4, 0.1).box, color="green", rgb=np.array([0.1, 0.56, 0.14]))
    )
    assert goal_of("lift the green block").missing(unlabelled) == ()
    colourless = scene(replace(cube(2, 0.4, 0.1), color=None, rgb=None))
    assert goal_of("lift the green block").missing(colourless) == ()
    assert goal_of("lift the teal block").missing(graph) == (), "no palette has this name, so nothing is certainly not so"
