"""Sentences: claims against scenes told by looking, brute force and finer tolerances; words against nodes."""

import random
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
from graph_scenes import cube, known_scene, table, tray

from vla3d.errors import ConfigError, DataError
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.generator.scene import GeneratedScene, GeneratorConfig, generate, scenes
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.table import PREDICATES, RELATIONS
from vla3d.scene_graphs.predicates.tolerances import Band, Tolerances
from vla3d.scene_graphs.predicates.truth import FALSE, TRUE, UNDECIDED
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.scene_graphs.text import words
from vla3d.scene_graphs.text.checker import Facts, check
from vla3d.scene_graphs.text.claims import All, Claim, Count, Description, Exists, Has, Related, predicates_in
from vla3d.scene_graphs.text.edits import edits
from vla3d.scene_graphs.text.questions import Interviewer
from vla3d.scene_graphs.text.render import ask, name, say
from vla3d.scene_graphs.text.sentence import Sentence
from vla3d.scene_graphs.text.sentences import Speaker

RED_CUBE, BLUE_CUBE = Description(label="cube", color="red"), Description(label="cube", color="blue")
TRAY, TABLE, CUBE = Description(label="tray"), Description(label="table"), Description(label="cube")
IN_TRAY = Description(label="cube", predicate="in", anchor=TRAY)
UNDER = Description(label="cube", predicate="under", anchor=BLUE_CUBE)


@pytest.fixture(scope="module")
def drawn() -> list[GeneratedScene]:
    """Tabletops and rooms."""
    return [scene for kind in ("tabletop", "room") for scene in scenes("train", 8, config=GeneratorConfig.usual(kind))]


# By looking


@pytest.mark.parametrize(
    ("claim", "truth"),
    [
        (Exists(description=BLUE_CUBE), TRUE),
        (Exists(description=Description(label="ball")), FALSE),
        (Exists(description=Description(label="cube", color="green")), FALSE),
        (Exists(description=replace(CUBE, predicate="on", anchor=RED_CUBE)), TRUE),
        (Exists(description=replace(CUBE, predicate="in", anchor=BLUE_CUBE)), FALSE),
        (Count(description=CUBE, number=3), TRUE),
        (Count(description=CUBE, number=2), FALSE),
        (Count(description=RED_CUBE, number=2), TRUE),
        (Count(description=Description(label="tray", color="red"), number=1), UNDECIDED),
        (Count(description=Description(label=None), number=4), TRUE),
        (Has(subject=IN_TRAY, attribute="color", value="red"), TRUE),
        (Has(subject=IN_TRAY, attribute="color", value="blue"), FALSE),
        (Has(subject=TRAY, attribute="color", value="blue"), UNDECIDED),
        (Has(subject=TRAY, attribute="size", value="small"), UNDECIDED),
        (Has(subject=TRAY, attribute="state", value="open"), UNDECIDED),
        (Related(subject=BLUE_CUBE, predicate="on", object=UNDER), TRUE),
        (Related(subject=UNDER, predicate="on", object=BLUE_CUBE), FALSE),
        (Related(subject=BLUE_CUBE, predicate="on", object=RED_CUBE), UNDECIDED),  # which of the two?
        (Related(subject=BLUE_CUBE, predicate="right_of", object=RED_CUBE), FALSE),  # of neither of them
        (Related(subject=IN_TRAY, predicate="behind", object=BLUE_CUBE), TRUE),
        (Related(subject=TRAY, predicate="on", object=TABLE), TRUE),
        (Related(subject=TABLE, predicate="on", object=TRAY), UNDECIDED),  # not asked of surfaces
        (Related(subject=TABLE, predicate="left_of", object=TRAY), UNDECIDED),
        (Related(subject=Description(label="ball"), predicate="on", object=TABLE), FALSE),  # there is no ball
        (All(claims=(Exists(description=BLUE_CUBE), Count(description=CUBE, number=3))), TRUE),
        (All(claims=(Exists(description=BLUE_CUBE), Count(description=CUBE, number=4))), FALSE),
        (All(claims=()), TRUE),
    ],
)
def test_claims_about_a_scene_that_can_be_told_by_looking(claim: Claim, truth: int) -> None:
    assert check(claim, Facts(known_scene())) == truth


def test_a_band_is_undecided_and_its_sentence_as_well() -> None:
    subject, target = Description(label="cube", color="red"), Description(label="cube", color="blue")
    claim = Related(subject=subject, predicate="left_of", object=target)
    for shift, truth in ((0.03, TRUE), (0.015, UNDECIDED), (0.005, FALSE), (-0.03, FALSE)):
        graph = graph_of([cube(0, 0.4, shift), cube(1, 0.6, 0.0, color="blue")])
        assert check(claim, Facts(graph)) == truth


def test_colours_that_could_be_confused_are_undecided() -> None:
    gray = SceneNode(id=0, label="can", box=cube(0, 0, 0).box, color="gray", rgb=np.array([0.5, 0.5, 0.5]))
    facts = Facts(graph_of([gray]))
    values = {color: int(facts.attribute("color", color)[0]) for color in ("gray", "black", "white", "red")}
    assert values == {"gray": TRUE, "black": UNDECIDED, "white": UNDECIDED, "red": FALSE}


def test_who_the_one_is() -> None:
    facts = Facts(known_scene())
    assert facts.referent(BLUE_CUBE) == 1 and facts.referent(IN_TRAY) == 3 and facts.referent(UNDER) == 0
    assert facts.referent(CUBE) is None and facts.referent(Description(label="ball")) is None
    assert facts.referent(Description(label="tray", color="red")) is None, "its colour is not known"
    assert facts.referent(Description(label="tray", predicate="near", anchor=CUBE)) is None, "there are several cubes"
    assert facts.ids_of(RED_CUBE) == (0, 3)


def test_an_unnamed_thing_could_be_the_one() -> None:
    unknown = SceneNode(id=5, label="unknown", box=OrientedBox.upright([0.3, 0, 0.02], [0.04] * 3))
    facts = Facts(graph_of([cube(0, 0.5, 0), unknown]))
    assert facts.referent(CUBE) is None
    assert (
        check(Count(description=CUBE, number=2), facts) == UNDECIDED
        and check(Count(description=CUBE, number=3), facts) == FALSE
    )


def test_things_that_are_no_claims_are_refused() -> None:
    with pytest.raises(DataError, match="expected a claim"):
        check("the cup is red", Facts(known_scene()))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="expected a claim"):
        say("the cup is red", Viewpoint())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="expected a single claim"):
        ask(All(claims=()), Viewpoint())
    with pytest.raises(ConfigError, match="Unknown predicate 'onn'"):
        Related(subject=CUBE, predicate="onn", object=TRAY)
    with pytest.raises(ConfigError, match="nearness without an anchor"):
        Description(label="cup", near=True)
    with pytest.raises(ConfigError, match="predicate or an anchor alone"):
        Description(label="cube", predicate="on")


# Laws of the checker


def all_claims(graph: SceneGraph, seed: int = 0) -> Iterator[Claim]:
    """True ones and false ones."""
    speaker = Speaker(graph, seed=seed)
    for edit in edits(speaker, random.Random(seed), most=4):
        yield edit.true
        yield edit.false


def narrowed(share: float) -> Tolerances:
    """Bands of which only a part is left, around another place in each."""
    bands = {}
    for field in fields(Tolerances):
        band = getattr(Tolerances(), field.name)
        middle = band.no + share * (band.yes - band.no)
        bands[field.name] = Band(middle + 0.05 * (band.yes - middle), middle + 0.05 * (band.no - middle), band.unit)
    return Tolerances(**bands)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_what_is_decided_stays_so_wherever_in_the_bands_one_draws_the_line(drawn: list[GeneratedScene], share: float) -> None:
    checked = 0
    for scene in drawn[::4]:
        coarse, fine = Facts(scene.graph), Facts(scene.graph, narrowed(share))
        for claim in all_claims(scene.graph):
            truth = check(claim, coarse)
            if truth != UNDECIDED:
                assert check(claim, fine) == truth
                checked += 1
    assert checked > 200


def fits(graph: SceneGraph, node: SceneNode, description: Description) -> bool:
    """Whether a node surely is such a thing: from the graph's edges and words, the plain way."""
    if description.label not in (None, node.label) or (description.label is None and node.kind not in ("object", "part")):
        return False
    if description.color not in (None, node.color) or description.size not in (None, node.attributes.get("size")):
        return False
    if description.state is not None and description.state not in node.states:
        return False
    if description.predicate is None or description.anchor is None:
        return True
    targets = [edge.object for edge in graph.edges_of(subject=node.id, predicate=description.predicate)]
    return any(fits(graph, graph.node(target), description.anchor) for target in targets)


def test_true_is_what_the_edges_say(drawn: list[GeneratedScene]) -> None:
    for scene in drawn[::4]:
        facts, graph = Facts(scene.graph), scene.graph
        for claim in all_claims(graph):
            for description in described(claim):
                assert set(facts.ids_of(description)) <= {node.id for node in graph.nodes if fits(graph, node, description)}
                if "under" not in predicates_in(description):  # a surface may be under things; of it that is not said
                    assert set(facts.ids_of(description)) == {node.id for node in graph.nodes if fits(graph, node, description)}


def described(claim: Claim | Description | None) -> Iterator[Description]:
    """Every description in a claim."""
    if isinstance(claim, Description):
        yield claim
        yield from described(claim.anchor)
    elif isinstance(claim, All):
        for part in claim.claims:
            yield from described(part)
    elif claim is not None and not isinstance(claim, str | int):
        for field in fields(claim):
            yield from described(getattr(claim, field.name))


def test_converses_and_symmetry_hold_in_sentences(drawn: list[GeneratedScene]) -> None:
    for scene in drawn[:4]:
        facts = Facts(scene.graph)
        for predicate in RELATIONS:
            table_of, rule = facts.relation(predicate), PREDICATES[predicate]
            if rule.converse is not None:
                np.testing.assert_array_equal(facts.relation(rule.converse).T, table_of)
            if rule.symmetric:
                assert (table_of == table_of.T).all()
            else:
                assert not ((table_of == TRUE) & (table_of.T == TRUE)).any()
            assert (np.diag(table_of) == FALSE).all()


# What is said


def everything_said(graph: SceneGraph, seed: int = 0) -> list[Sentence]:
    speaker = Speaker(graph, seed=seed)
    parts = (speaker.objects(), speaker.references(), speaker.relations(), speaker.attributes(), speaker.counts())
    return [*(sentence for part in parts for sentence in part), speaker.summary()]


def test_every_sentence_is_true_and_of_every_kind_there_are_some(drawn: list[GeneratedScene]) -> None:
    kinds = set()
    for scene in drawn:
        facts = Facts(scene.graph)
        for sentence in everything_said(scene.graph):
            assert check(sentence.claim, facts) == TRUE, sentence.text
            kinds.add(sentence.kind)
    assert kinds == {"object", "reference", "relation", "attribute", "count", "summary"}


def test_what_refers_fits_one_thing_alone(drawn: list[GeneratedScene]) -> None:
    by_relation = 0
    for scene in drawn:
        for sentence in Speaker(scene.graph).references():
            assert isinstance(sentence.claim, Exists)
            description = sentence.claim.description
            fitting = [node.id for node in scene.graph.nodes if fits(scene.graph, node, description)]
            assert fitting == [sentence.target], sentence.text
            by_relation += description.anchor is not None
    assert by_relation > 30


def test_words_stand_for_the_nodes_that_they_name(drawn: list[GeneratedScene]) -> None:
    for scene in drawn[::2]:
        for sentence in everything_said(scene.graph):
            assert sentence.spans
            for span in sentence.spans:
                said = sentence.words(span)
                nodes = [scene.graph.node(number) for number in span.ids]
                assert nodes, sentence.text
                if span.role == "object":
                    assert all(said.lower().endswith((node.label, words.plural(node.label))) for node in nodes)
                elif span.role == "attribute":
                    values = [{node.color, node.attributes.get("size"), *node.states} for node in nodes]
                    assert all(said in value for value in values), sentence.text
                else:
                    assert span.predicate is not None and said in words.PHRASES[span.predicate]
                    triplets = {(s, span.predicate, o) for s in span.ids for o in span.object_ids}
                    assert triplets & scene.graph.triplets()


def test_spans_nest_or_keep_apart(drawn: list[GeneratedScene]) -> None:
    for sentence in everything_said(drawn[0].graph):
        for first in sentence.spans:
            for second in sentence.spans:
                crossing = first.start < second.start < first.end < second.end
                assert not crossing, sentence.text


def test_left_and_right_say_from_where(drawn: list[GeneratedScene]) -> None:
    framed = 0
    for scene in drawn[::2]:
        for sentence in everything_said(scene.graph):
            asked = bool(predicates_in(sentence.claim) & words.FRAMED)
            assert (f"seen from the {scene.graph.viewpoint.name}" in sentence.text.lower()) == asked, sentence.text
            framed += asked
    assert framed > 20 and {"left_of", "right_of", "in_front_of", "behind"} == words.FRAMED


def test_whose_left_decides_what_is_said() -> None:
    nodes = [table(), cube(0, 0.5, 0.2), cube(1, 0.5, -0.2, color="blue")]
    claim = Related(subject=RED_CUBE, predicate="left_of", object=BLUE_CUBE)
    assert check(claim, Facts(graph_of(nodes))) == TRUE
    facing = graph_of(nodes, viewpoint=Viewpoint(heading=np.pi, name="visitor"))
    assert check(claim, Facts(facing)) == FALSE
    assert "seen from the visitor" in say(claim, facing.viewpoint).text.lower()


def test_the_same_seed_says_the_same_and_others_say_it_otherwise(drawn: list[GeneratedScene]) -> None:
    graph = drawn[0].graph
    texts = [[sentence.text for sentence in everything_said(graph, seed)] for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_paraphrases_keep_the_words_of_the_claim() -> None:
    claim = Related(subject=BLUE_CUBE, predicate="on", object=TRAY)
    texts = {say(claim, Viewpoint(), style).text for style in range(60)}
    assert len(texts) >= 4 and "The blue cube is on top of the tray." in texts
    for style in range(60):
        rendered = say(claim, Viewpoint(), style)
        said = {mark.role: rendered.text[mark.start : mark.end] for mark in rendered.marks}
        assert said["predicate"] in ("on", "on top of") and said["attribute"] == "blue"


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("Is there an orange box?", Exists(description=Description(label="box", color="orange"))),
        ("Are there two boxes?", Count(description=Description(label="box"), number=2)),
        ("Is the drawer open?", Has(subject=Description(label="drawer"), attribute="state", value="open")),
        ("Is the blue cube on the tray?", Related(subject=BLUE_CUBE, predicate="on", object=TRAY)),
        ("There are two shelves.", Count(description=Description(label="shelf"), number=2)),
        ("There is one shelf.", Count(description=Description(label="shelf"), number=1)),
        ("There are no cups.", Count(description=Description(label="cup"), number=0)),
        ("There are 13 cups.", Count(description=Description(label="cup"), number=13)),
        ("The cube is red.", Has(subject=CUBE, attribute="color", value="red")),
        ("The cube is a small one.", Has(subject=CUBE, attribute="size", value="small")),
        (
            "Seen from the robot base, the blue cube is left of the tray.",
            Related(subject=BLUE_CUBE, predicate="left_of", object=TRAY),
        ),
        (
            "There is a red cube and a blue cube.",
            All(claims=(Exists(description=RED_CUBE), Exists(description=BLUE_CUBE))),
        ),
        (
            "The scene contains one cube and two trays.",
            All(claims=(Count(description=CUBE, number=1), Count(description=TRAY, number=2))),
        ),
    ],
)
def test_grammar(text: str, claim: Claim) -> None:
    render = ask if text.endswith("?") else say
    assert text in {render(claim, Viewpoint(), style).text for style in range(60)}


def test_names() -> None:
    drawer = Description(label="drawer", color="red", size="small", state="open")
    assert name(drawer, Viewpoint()).text == "a small open red drawer"
    assert name(Description(label=None), Viewpoint(), definite=True).text == "the thing"
    anchored = Description(label="box", predicate="behind", anchor=Description(label="cup", predicate="in", anchor=TRAY))
    texts = {name(anchored, Viewpoint(name="door"), style, definite=True).text for style in range(60)}
    assert "the box behind the cup in the tray, seen from the door" in texts


def test_every_predicate_can_be_said() -> None:
    assert set(words.PHRASES) == set(RELATIONS)
    for predicate in RELATIONS:
        assert say(Related(subject=CUBE, predicate=predicate, object=TRAY), Viewpoint()).text.endswith(".")


# Questions


def test_answers_are_what_counting_and_looking_give(drawn: list[GeneratedScene]) -> None:
    kinds = set()
    for scene in drawn[::2]:
        graph, asked = scene.graph, Interviewer(scene.graph)
        for question in (*asked.counts(), *asked.attributes(), *asked.relations()):
            kinds.add(question.kind)
            assert question.text.endswith("?") and question.ids
            if question.kind == "count":
                assert question.answer == words.number_word(len(question.ids))
            elif question.kind == "attribute":
                node = graph.node(question.ids[0])
                assert question.answer in {node.color, node.attributes.get("size"), *node.states}
            else:
                (span,) = [span for span in question.spans if span.role == "predicate"]
                (anchor,) = span.object_ids
                holding = {edge.subject for edge in graph.edges_of(predicate=span.predicate, object=anchor)}
                movable = {number for number in holding if graph.node(number).kind != "surface"}
                assert movable == set(question.ids) and question.answer == graph.node(question.ids[0]).label
    assert kinds == {"count", "attribute", "relation"}


def test_a_scene_without_doubles_needs_no_anchor_and_an_empty_one_says_nothing() -> None:
    graph = graph_of([table(), tray(2, 0.6, -0.2), cube(0, 0.4, 0.2)])
    assert {sentence.text for sentence in Speaker(graph).references(1)} == {"the tray", "the cube"}
    assert not list(Speaker(SceneGraph()).references()) and Speaker(SceneGraph()).summary().text == ""


def test_what_nothing_names_is_not_spoken_of() -> None:
    scene = generate("train", 0)
    nodes = [replace(node, label="unknown") if node.id == 2 else node for node in scene.graph.nodes]
    graph = graph_of(nodes, viewpoint=scene.graph.viewpoint)
    assert not [s for s in everything_said(graph) if "unknown" in s.text or s.target == 2]
