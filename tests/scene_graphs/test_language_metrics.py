"""Metrics against cases computed by hand, and against oracles of another kind."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla3d.errors import DataError
from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.generator.scene import generate
from vla3d.scene_graphs.metrics.answers import em_normalized, em_refined, em_strict, em_top, normalize
from vla3d.scene_graphs.metrics.captions import cider_d, dense_cider
from vla3d.scene_graphs.metrics.grounding import grounding_scores
from vla3d.scene_graphs.metrics.overlap import aligned, aligned_iou, oriented_iou
from vla3d.scene_graphs.metrics.triplets import (
    Triplet,
    TripletScore,
    mean_recall,
    per_edge_accuracy,
    per_edge_ranks,
    scene_recall,
    triplet_score,
)
from vla3d.scene_graphs.relations import relate
from vla3d.scene_graphs.truth import UNDECIDED

# Overlap


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ([0, 0, 0, 1, 1, 1], 1.0),
        ([0.5, 0, 0, 1, 1, 1], 0.5 / 1.5),
        ([0.5, 0.5, 0.5, 1, 1, 1], 0.125 / 1.875),
        ([0, 0, 0, 0.5, 0.5, 0.5], 0.125),
        ([1, 0, 0, 1, 1, 1], 0.0),
        ([3, 0, 0, 1, 1, 1], 0.0),
        ([0, 0, 0, 0, 0, 0], 0.0),
    ],
)
def test_aligned_iou_by_hand(second: list[float], expected: float) -> None:
    one = np.array([0.0, 0, 0, 1, 1, 1])
    assert aligned_iou(one, np.array(second, dtype=float)) == pytest.approx(expected)
    assert aligned_iou(np.array(second, dtype=float), one) == pytest.approx(expected)


def test_aligned_iou_works_row_by_row_and_refuses_what_is_no_box() -> None:
    rows = np.array([[0, 0, 0, 1, 1, 1], [0.5, 0, 0, 1, 1, 1]], dtype=float)
    np.testing.assert_allclose(aligned_iou(rows, rows[::-1]), [1 / 3, 1 / 3])
    with pytest.raises(DataError, match="negative edge"):
        aligned_iou(rows, -rows)


def upright(x: float, yaw: float = 0.0, size: tuple[float, float, float] = (1, 1, 1), z: float = 0.0) -> OrientedBox:
    return OrientedBox.upright([x, 0, z], list(size), yaw)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (upright(0, np.pi / 2), 1.0),
        (upright(0.5), 1 / 3),
        # Two unit squares, one turned by 45 degrees, share a regular octagon of width 1: area 2 (sqrt 2 - 1).
        (upright(0, np.pi / 4), 2 * (math.sqrt(2) - 1) / (2 - 2 * (math.sqrt(2) - 1))),
        (upright(0, np.pi / 4, z=0.5), (math.sqrt(2) - 1) / (2 - (math.sqrt(2) - 1))),
        (upright(0, z=2), 0.0),
        (upright(2), 0.0),
    ],
)
def test_oriented_iou_by_hand(second: OrientedBox, expected: float) -> None:
    assert oriented_iou(upright(0), second) == pytest.approx(expected, abs=1e-9)
    turned = [  # the same pair tipped over goes through the other branch
        OrientedBox(
            center=tip.apply(box.center.copy()), size=box.size, quaternion=(tip * rotation(box)).as_quat()[[3, 0, 1, 2]]
        )
        for tip in [Rotation.from_euler("xyz", [0.7, 0.4, 0.2])]
        for box in (upright(0), second)
    ]
    assert oriented_iou(*turned) == pytest.approx(expected, abs=1e-6)


def rotation(box: OrientedBox) -> Rotation:
    return Rotation.from_quat(box.quaternion[[1, 2, 3, 0]].copy())


def test_oriented_iou_of_tilted_boxes_is_the_share_of_samples() -> None:
    rng = np.random.default_rng(0)
    boxes = [
        OrientedBox(center=rng.uniform(-0.2, 0.2, 3), size=rng.uniform(0.3, 1, 3), quaternion=rotation.as_quat()[[3, 0, 1, 2]])
        for rotation in Rotation.random(6, random_state=1)
    ]
    points = rng.uniform(-1, 1, (200_000, 3))
    for first, second in zip(boxes[::2], boxes[1::2], strict=True):
        one, two = first.contains(points), second.contains(points)
        assert oriented_iou(first, second) == pytest.approx((one & two).sum() / (one | two).sum(), abs=0.02)


def test_the_box_around_a_turned_box() -> None:
    np.testing.assert_allclose(aligned(upright(1, np.pi / 4)), [1, 0, 0, math.sqrt(2), math.sqrt(2), 1])


# Grounding


def test_accuracies_by_hand() -> None:
    ious = np.array([0.6, 0.3, 0.25, 0.0, 0.5])
    scores = grounding_scores(ious, np.array([True, True, False, False, False]))
    assert scores["unique"].accuracy == {0.25: 1.0, 0.5: 0.5} and scores["unique"].count == 2
    assert scores["multiple"].accuracy == {0.25: pytest.approx(2 / 3), 0.5: pytest.approx(1 / 3)}
    assert scores["overall"].accuracy == {0.25: 0.8, 0.5: 0.4} and scores["overall"].count == 5
    assert math.isnan(grounding_scores(ious, np.ones(5, dtype=bool))["multiple"].accuracy[0.5])
    with pytest.raises(DataError, match="outside"):
        grounding_scores(np.array([1.5]), np.array([True]))


# Triplets

A: Triplet = (0, "on", 1)
B: Triplet = (1, "near", 0)
C: Triplet = (0, "near", 1)
D: Triplet = (2, "on", 1)


def test_triplet_score_by_hand() -> None:
    score = triplet_score([A, B, C, A], true=[A, D], undecided=[C])
    assert score == TripletScore(right=1, wrong=1, open=1, missed=1)
    assert (score.precision, score.recall, score.f1) == (0.5, 0.5, 0.5)
    assert score.hallucination_rate == pytest.approx(1 / 3)
    assert score + score == TripletScore(right=2, wrong=2, open=2, missed=2)
    empty = triplet_score([], true=[])
    assert (empty.precision, empty.recall, empty.f1, empty.hallucination_rate) == (1.0, 1.0, 1.0, 0.0)


def test_a_graph_is_its_own_best_prediction() -> None:
    graph = generate("train", 0).graph
    undecided = set(relate(graph.nodes, viewpoint=graph.viewpoint).triplets(UNDECIDED))
    assert triplet_score(graph.triplets(), graph.triplets(), undecided).f1 == 1.0
    wrong = triplet_score({(o, p, s) for s, p, o in graph.triplets() if p == "on"}, graph.triplets(), undecided)
    assert wrong.hallucination_rate == 1.0


def test_scene_recall_by_hand() -> None:
    scores = {A: 0.9, C: 0.8, B: 0.7, D: 0.1}  # A and C are of one ordered pair
    assert scene_recall(scores, [C, B], 2, graph_constraint=False) == 0.5
    assert scene_recall(scores, [C, B], 3, graph_constraint=False) == 1.0
    assert scene_recall(scores, [C, B], 2) == 0.5 and scene_recall(scores, [C, B], 3) == 0.5
    assert scene_recall(scores, [C, D], 3) == 0.5 and scene_recall(scores, [C], 9) == 0.0
    with pytest.raises(DataError, match="got k=0"):
        scene_recall(scores, [A], 0)
    with pytest.raises(DataError, match="not finite"):
        scene_recall({A: float("nan")}, [A], 1)


def test_ties_do_not_hang_on_the_order_of_a_mapping() -> None:
    scores = {A: 0.5, B: 0.5, D: 0.5}
    values = [scene_recall(dict(sorted(scores.items(), reverse=flip)), [B], 1) for flip in (False, True)]
    assert values[0] == values[1]


def test_mean_recall_counts_every_predicate_the_last_included() -> None:
    scenes = [({A: 0.9, B: 0.8}, [A, B]), ({D: 0.9, C: 0.2}, [C])]
    assert mean_recall(scenes, 1, graph_constraint=False) == {"near": 0.0, "on": 1.0}
    assert mean_recall(scenes, 2, graph_constraint=False) == {"near": 1.0, "on": 1.0}


def test_per_edge_ranks_by_hand() -> None:
    subject, predicate, target = np.array([0.7, 0.3]), np.array([0.5, 0.4, 0.1]), np.array([0.6, 0.4])
    # Products of classes (0, 0): 0.21, 0.168, 0.042. Above 0.168 is 0.21 alone; above 0.042 are 0.14, 0.112 (class 0, 1),
    # 0.09, 0.072 (1, 0), 0.06, 0.048 (1, 1) as well.
    assert per_edge_ranks(subject, predicate, target, (0, 0), [0]) == [0]
    assert per_edge_ranks(subject, predicate, target, (0, 0), [1]) == [1]
    assert per_edge_ranks(subject, predicate, target, (0, 0), [1, 0]) == [0, 0], "a true one is in nobody's way"
    assert per_edge_ranks(subject, predicate, target, (0, 0), [2]) == [8]
    even = np.full(2, 0.5)
    assert per_edge_ranks(even, even, even, (0, 0), [0]) == [7], "ties count against"
    assert per_edge_accuracy([0, 1, 8], 2) == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="got no ranks"):
        per_edge_accuracy([], 1)


# Answers


@pytest.mark.parametrize(
    ("prediction", "answers", "strict", "normalized", "refined"),
    [
        ("brown", ["brown", "dark brown"], True, True, True),
        ("Brown", ["brown"], False, True, True),
        ("the brown one.", ["brown one"], False, True, True),
        ("two", ["2"], False, True, False),
        ("dark brown", ["brown"], False, False, True),
        ("brown", ["dark brown"], False, False, True),
        ("no", ["brown nose"], False, False, True),
        ("", ["brown"], False, False, False),
        ("blue", ["brown"], False, False, False),
    ],
)
def test_exact_match_variants_by_hand(
    prediction: str, answers: list[str], strict: bool, normalized: bool, refined: bool
) -> None:
    assert em_strict(prediction, answers) == strict
    assert em_normalized(prediction, answers) == normalized
    assert em_refined(prediction, answers) == refined


def test_exact_match_among_several() -> None:
    assert em_top(["a", "b", "c"], ["b"], 2) and not em_top(["a", "b", "c"], ["c"], 2)
    assert normalize("  The TWO, chairs! ") == "2 chairs"
    with pytest.raises(DataError, match="expected at least one text"):
        em_strict("a", [])
    with pytest.raises(DataError, match="in a list"):
        em_strict("a", "abc")


# Captions


def test_cider_by_hand() -> None:
    references = {"one": ["a b"], "two": ["c d"]}
    # Words and the pair of words match, three and four words are none: (1 + 1 + 0 + 0) / 4, times 10.
    assert cider_d({"one": "a b", "two": "c d"}, references) == pytest.approx({"one": 5.0, "two": 5.0})
    # Twice "a" is clipped to once: ln2^2 / (2 ln2 * sqrt2 ln2); the pair "a a" is in no reference.
    assert cider_d({"one": "a a", "two": "x y"}, references) == pytest.approx({"one": 10 / (4 * 2 * math.sqrt(2)), "two": 0.0})


def test_cider_punishes_length_and_averages_references() -> None:
    references = {"one": ["a b", "a b"], "two": ["c d"]}
    longer = cider_d({"one": "a b x x x", "two": "c d"}, references)["one"]
    # One word to two, a pair among four: the Gaussian of three pairs too many, sigma 6.
    words, pairs = 2 / (math.sqrt(2) * math.sqrt(2 + 9)), 1 / math.sqrt(1 + 1 + 4)
    assert longer == pytest.approx(10 * math.exp(-9 / 72) * (words + pairs) / 4)
    other = cider_d({"one": "a b", "two": "c d"}, {"one": ["a b", "e f"], "two": ["c d"]})["one"]
    assert other == pytest.approx(2.5)
    with pytest.raises(DataError, match="expected the same keys"):
        cider_d({"one": "a"}, references)
    with pytest.raises(DataError, match="a reference for each"):
        cider_d({"one": "a"}, {"one": []})


def test_two_definitions_of_dense_captioning_differ_where_they_say() -> None:
    references = [["a red cup"], ["a blue box"]]
    captions = ["a red cup", "a blue box", "some thing"]
    # The third box overlaps the first thing as well, but less than the first box: it comes last and overwrites in one variant.
    ious = np.array([[0.9, 0.0], [0.0, 0.5], [0.6, 0.0]])
    best = dense_cider(captions[:1] + captions[1:2], np.array([[0.9, 0.0], [0.0, 0.9]]), references, 0.5, "vote2cap")
    assert dense_cider(captions, ious, references, 0.5, "vote2cap") == pytest.approx(best)
    worse = dense_cider(captions, ious, references, 0.5, "scan2cap")
    only_threshold = dense_cider(captions[:2], ious[:2], references, 0.5, "scan2cap")
    assert 0 <= worse < only_threshold < best, "overwritten; an overlap of exactly the threshold is not above it"
    assert dense_cider([], np.zeros((0, 2)), references, 0.5, "scan2cap") < only_threshold
    with pytest.raises(DataError, match="expected scan2cap or vote2cap"):
        dense_cider(captions, ious, references, 0.5, "mine")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"got overlaps \(3, 2\)"):
        dense_cider(captions[:1], ious, references, 0.5, "vote2cap")
