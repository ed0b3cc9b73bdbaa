"""Grounding part by part: what it reads, and that words which never met are understood together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoder_scenes import SMALL, drawn_tensors, reordered, sentences, small_encoder

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.encoder.batch import stack_graphs
from vla3d.scene_graphs.encoder.composed import ComposedGrounding
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import GraphTensors, graph_tensors
from vla3d.scene_graphs.encoder.model import SceneEncoder
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import OrientedBox


def grounding() -> tuple[SceneEncoder, ComposedGrounding]:
    encoder = small_encoder()
    torch.manual_seed(1)
    composed = ComposedGrounding(encoder).eval()
    torch.nn.init.normal_(composed.salience.weight)
    return encoder, composed


def test_each_scene_is_scored_by_itself_and_the_order_of_its_things_does_not_matter() -> None:
    encoder, composed = grounding()
    tensors = [drawn_tensors(index) for index in (0, 3)]
    ids, mask = sentences(2, 7)
    both = composed(encoder, stack_graphs(tensors), ids, mask)
    for row, one in enumerate(tensors):
        order = torch.randperm(len(one), generator=torch.Generator().manual_seed(row))
        length = int(mask[row].sum())
        texts = ids[row : row + 1, :length], mask[row : row + 1, :length]
        alone = composed(encoder, stack_graphs([reordered(one, order)]), *texts)
        torch.testing.assert_close(both[row, : len(one)][order], alone[0], atol=1e-4, rtol=1e-4)
        assert torch.isneginf(both[row, len(one) :]).all()


def test_a_lone_thing_and_one_without_edges_have_a_score_and_gradients() -> None:
    encoder, composed = grounding()
    lone = graph_of([SceneNode(id=3, label="cup", box=OrientedBox.upright((0.4, 0, 0.05), (0.1, 0.1, 0.1)))])
    batch = stack_graphs([graph_tensors(lone, SMALL)])
    assert not batch.edge_index.numel()
    logits = composed(encoder, batch, *sentences(1, 4))
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(value.grad).all() for value in composed.parameters() if value.grad is not None)


def test_relations_are_matched_by_their_predicates_alone() -> None:
    encoder, composed = grounding()
    composed.salience.weight.data.zero_()  # it sees the whole scene, whatever is said
    tensors = drawn_tensors(0)
    ids, mask = sentences(1, 5)

    def scores(one: GraphTensors) -> torch.Tensor:
        logits: torch.Tensor = composed(encoder, stack_graphs([one]), ids, mask)
        return logits

    moved = replace(tensors, edge_geometry=1 - tensors.edge_geometry)
    assert torch.equal(scores(tensors), scores(moved))
    assert not torch.equal(scores(tensors), scores(replace(tensors, edge_predicates=1 - tensors.edge_predicates)))


ANCHORS = {"red": (0.86, 0.12, 0.12), "green": (0.12, 0.67, 0.2), "blue": (0.16, 0.28, 0.86)}
SIDES = {"left of": (0.0, 0.1), "right of": (0.0, -0.1), "behind": (0.1, 0.0), "in front of": (-0.1, 0.0)}
HELD_OUT = {("left of", "blue"), ("behind", "red"), ("right of", "green")}
TOY = SceneEncoderConfig(width=32, embedding=8, heads=2, points=4, graph_layers=1, text_layers=1, max_text_tokens=24)


def toy(seed: int, *, held_out: bool) -> tuple[GraphTensors, str, int]:
    """Two anchors with a cube on each side of both; a sentence, and the number of the cube that it means."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(list(ANCHORS))[:2]
    pairs = [(side, str(name)) for name in names for side in SIDES]
    wanted = [pair for pair in pairs if (pair in HELD_OUT) == held_out]
    if not wanted:
        return toy(seed + 1_000_000, held_out=held_out)
    side, color = wanted[int(rng.integers(len(wanted)))]
    nodes, target = [], -1
    for at, name in enumerate(names):
        place = np.array([0.4 + 0.35 * at, rng.uniform(-0.1, 0.1)])
        nodes.append(_cube(len(nodes), place, ANCHORS[name], 0.06))
        for other, offset in SIDES.items():
            target = len(nodes) if (other, name) == (side, color) else target
            nodes.append(_cube(len(nodes), place + offset + rng.uniform(-0.01, 0.01, 2), (0.9, 0.8, 0.2), 0.04))
    return graph_tensors(graph_of(nodes), TOY), f"take the cube just {side} the {color} block", target


def _cube(number: int, place: np.ndarray, rgb: tuple[float, float, float], edge: float) -> SceneNode:
    x, y = place
    corners = np.array([[x, y, 0.0], [x, y, edge]], dtype=np.float32)
    box = OrientedBox.upright((x, y, edge / 2), (edge, edge, edge))
    return SceneNode(id=number, label="cube", rgb=np.array(rgb), points=corners, box=box)


@pytest.mark.slow
def test_words_that_never_met_are_understood_together() -> None:
    tokenizer = InstructionTokenizer.train(
        [f"take the cube just {side} the {color} block" for side in SIDES for color in ANCHORS]
    )
    torch.manual_seed(0)
    encoder = SceneEncoder(TOY, tokenizer.vocab_size)
    composed = ComposedGrounding(encoder)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *composed.parameters()], lr=2e-3)

    def logits(scenes: list[tuple[GraphTensors, str, int]], said: list[str]) -> torch.Tensor:
        text = tokenizer.encode(said, TOY.max_text_tokens)
        found: torch.Tensor = composed(encoder, stack_graphs([tensors for tensors, _, _ in scenes]), text.ids, text.mask)
        return found

    def accuracy(scenes: list[tuple[GraphTensors, str, int]], said: list[str]) -> float:
        with torch.no_grad():
            best = logits(scenes, said).argmax(dim=1)
        return float((best == torch.tensor([target for _, _, target in scenes])).float().mean())

    known = [toy(seed, held_out=False) for seed in range(200)]
    for step in range(400):
        batch = [known[(16 * step + index) % 200] for index in range(16)]
        targets = torch.tensor([target for _, _, target in batch])
        loss = torch.nn.functional.cross_entropy(logits(batch, [said for _, said, _ in batch]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = [toy(seed, held_out=True) for seed in range(5000, 5100)]
    said = [sentence for _, sentence, _ in unseen]
    assert accuracy(unseen, said) > 0.9
    assert accuracy(unseen, said[1:] + said[:1]) < 0.6, "with another scene's sentence it must fail"
