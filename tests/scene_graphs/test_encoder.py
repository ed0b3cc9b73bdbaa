"""Laws of the encoder: order, padding and company change nothing, and what is hidden is not seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoder_scenes import LABELS, SMALL, VOCABULARY, drawn_graph, drawn_tensors, reordered, sentences, small_encoder

from vla3d.errors import ConfigError, DataError
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.encoder.batch import stack_graphs
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import UNLISTED, graph_tensors
from vla3d.scene_graphs.encoder.layers import GraphLayer, PlainGraphLayer
from vla3d.scene_graphs.encoder.lengths import rows_by_length
from vla3d.scene_graphs.encoder.similarity import late_interaction
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.scene_graphs.shapes.boxes import OrientedBox


def close(first: torch.Tensor, second: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)


# Inputs


def moved(graph: SceneGraph, shift: np.ndarray, scale: float) -> SceneGraph:
    """The scene elsewhere and larger."""

    def node(old: SceneNode) -> SceneNode:
        box = OrientedBox(center=old.box.center * scale + shift, size=old.box.size * scale, quaternion=old.box.quaternion)
        assert old.points is not None
        return replace(old, box=box, points=(old.points * scale + shift).astype(np.float32))

    return SceneGraph(nodes=tuple(map(node, graph.nodes)), edges=graph.edges, viewpoint=graph.viewpoint)


def test_inputs_do_not_depend_on_where_the_scene_is_and_know_its_size_by_one_number() -> None:
    graph = drawn_graph(0)
    here, there = (graph_tensors(one, SMALL) for one in (graph, moved(graph, np.array([5.0, -3.0, 1.0]), 2.0)))
    for name in ("points", "edge_geometry", "edge_predicates"):
        close(getattr(here, name), getattr(there, name), 1e-4)
    close(here.boxes[:, :-1], there.boxes[:, :-1], 1e-4)
    close(there.boxes[:, -1] - here.boxes[:, -1], torch.full((len(here),), float(np.log(2.0))))


def test_inputs_turn_with_the_viewpoint() -> None:
    nodes = [
        SceneNode(id=number, label="block", box=OrientedBox.upright([0.3 * number, 0.1, 0.0], [0.1, 0.1, 0.1], 0.3))
        for number in range(3)
    ]
    turned = [
        replace(node, box=OrientedBox.upright([-node.box.center[1], node.box.center[0], 0.0], [0.1, 0.1, 0.1], 0.3 + np.pi / 2))
        for node in nodes
    ]
    here = graph_tensors(graph_of(nodes), SMALL)
    there = graph_tensors(graph_of(turned, viewpoint=Viewpoint(heading=np.pi / 2)), SMALL)
    close(here.boxes, there.boxes)
    close(here.edge_predicates, there.edge_predicates)


def test_edges_hold_what_the_graph_says() -> None:
    graph, tensors = drawn_graph(1), drawn_tensors(1)
    said = {
        (graph.ids[subject], SMALL.predicates[column], graph.ids[target])
        for row, (subject, target) in enumerate(tensors.edge_index.T.tolist())
        for column in tensors.edge_predicates[row].nonzero()[:, 0].tolist()
    }
    assert said == graph.triplets()
    subject, target = tensors.edge_index
    close(tensors.edge_geometry[:, :3], tensors.boxes[subject, :3] - tensors.boxes[target, :3])


def test_words_of_nodes_are_not_read() -> None:
    graph = drawn_graph(2)
    renamed = SceneGraph(
        nodes=tuple(replace(node, label="thing", color=None, attributes={}, states=()) for node in graph.nodes),
        edges=graph.edges,
    )
    here, there = (graph_tensors(one, SMALL, labels=LABELS) for one in (graph, renamed))
    for name in ("points", "point_mask", "boxes", "edge_index", "edge_predicates", "edge_geometry"):
        assert torch.equal(getattr(here, name), getattr(there, name))
    assert (there.labels == UNLISTED).all() and (here.labels != UNLISTED).any()


def test_a_lone_node_and_a_node_without_points_are_encoded() -> None:
    node = SceneNode(id=3, label="cup", box=OrientedBox.upright([0, 0, 0], [0.1, 0.1, 0.1]))
    lone = graph_tensors(SceneGraph(nodes=(node,)), SMALL)
    assert lone.edge_index.shape == (2, 0) and not lone.point_mask.any()
    encoding = small_encoder().encode_graph(stack_graphs([lone]))
    assert encoding.nodes.isfinite().all() and encoding.pairs.shape == (0, SMALL.width)
    with pytest.raises(DataError, match="expected at least one"):
        graph_tensors(SceneGraph(), SMALL)
    with pytest.raises(DataError, match="no graph to stack"):
        stack_graphs([])


# The network


def test_messages_equal_their_plain_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    layer, twin = GraphLayer(8), PlainGraphLayer(8)
    twin.load_state_dict(layer.state_dict())
    nodes, edges = torch.randn(9, 8, generator=generator), torch.randn(30, 8, generator=generator)
    index = torch.randint(0, 7, (2, 30), generator=generator)  # edges there twice, and two nodes hear nothing
    for chosen in (slice(None), slice(0, 1), slice(0, 0)):
        for mine, its in zip(
            layer(nodes, edges[chosen], index[:, chosen]), twin(nodes, edges[chosen], index[:, chosen]), strict=True
        ):
            close(mine, its)
    grads = []
    for module in (layer, twin):
        module.zero_grad()
        module(nodes, edges, index)[0].square().sum().backward()
        grads.append([parameter.grad for name, parameter in sorted(module.named_parameters()) if "edge" not in name])
    for mine, its in zip(*grads, strict=True):
        assert mine is not None and its is not None and mine.abs().sum() > 0
        close(mine, its)


def test_order_of_nodes_and_edges_changes_nothing() -> None:
    encoder, tensors = small_encoder(), drawn_tensors(0)
    order = torch.randperm(len(tensors), generator=torch.Generator().manual_seed(1))
    here, there = (encoder.encode_graph(stack_graphs([one])) for one in (tensors, reordered(tensors, order)))
    close(here.nodes[order], there.nodes)
    close(here.pairs.flip(0), there.pairs)


def test_a_batch_is_its_graphs() -> None:
    encoder, graphs = small_encoder(), [drawn_tensors(index) for index in range(3)]
    batch = stack_graphs(graphs)
    together = encoder.encode_graph(batch)
    nodes, pairs = batch.dense_nodes(together.nodes), batch.dense_edges(encoder.embed_pairs(together, batch.edge_index))
    whole = encoder.embed_groups(nodes, batch.node_mask)
    for number, graph in enumerate(graphs):
        single = stack_graphs([graph])
        alone = encoder.encode_graph(single)
        count, edges = len(graph), graph.edge_index.shape[1]
        close(nodes[number, :count], alone.nodes)
        close(pairs[number, :edges], encoder.embed_pairs(alone, single.edge_index))
        assert not nodes[number, count:].any() and not batch.node_mask[number, count:].any()
        close(whole[number], encoder.embed_groups(alone.nodes[None], single.node_mask)[0])
        assert torch.equal(batch.dense_nodes(batch.labels.float())[number, :count], graph.labels.float())


def test_points_that_are_not_there_are_not_read() -> None:
    encoder, tensors = small_encoder(), drawn_tensors(0)
    mask = tensors.point_mask.clone()
    mask[:, 5:] = False
    mask[0] = False
    noisy = torch.where(mask[..., None], tensors.points, 1e3)
    first, second = (
        encoder.encode_graph(stack_graphs([replace(tensors, points=points, point_mask=mask)])).nodes
        for points in (tensors.points, noisy)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, encoder.encode_graph(stack_graphs([tensors])).nodes)


def test_padding_of_texts_changes_nothing() -> None:
    encoder = small_encoder()
    ids, mask = sentences(4, 9)
    words = encoder.encode_text(ids, mask)
    other = encoder.encode_text(torch.where(mask, ids, 7), mask)
    for row in range(4):
        length = int(mask[row].sum())
        close(words[row, :length], other[row, :length])
        close(words[row : row + 1, :length], encoder.encode_text(ids[row : row + 1, :length], mask[row : row + 1, :length]))


def test_fusion_reads_neither_padding_nor_other_rows_and_does_not_care_for_order() -> None:
    encoder = small_encoder()
    batch = stack_graphs([drawn_tensors(index) for index in (0, 3)])
    nodes = batch.dense_nodes(encoder.encode_graph(batch).nodes)
    ids, mask = sentences(2, 6)
    words = encoder.encode_text(ids, mask)
    fused_words, fused_nodes = encoder.fuse(words, mask, nodes, batch.node_mask)
    for row in range(2):
        length, count = int(mask[row].sum()), int(batch.node_mask[row].sum())
        order = torch.randperm(count, generator=torch.Generator().manual_seed(2))
        alone_words, alone_nodes = encoder.fuse(
            words[row : row + 1, :length],
            mask[row : row + 1, :length],
            nodes[row : row + 1, :count][:, order],
            batch.node_mask[row : row + 1, :count],
        )
        close(fused_words[row, :length], alone_words[0])
        close(fused_nodes[row, :count][order], alone_nodes[0])


def test_hidden_points_and_boxes_are_not_read() -> None:
    encoder, tensors = small_encoder(), drawn_tensors(0)
    hidden = torch.zeros(len(tensors), dtype=torch.bool)
    hidden[2] = True
    looks = [SMALL.predicates.index("same_colour")]
    touched = hidden[tensors.edge_index].any(dim=0)
    edge_predicates = tensors.edge_predicates.clone()
    edge_predicates[touched.nonzero(), looks] = 1.0
    other_points = replace(
        tensors,
        points=torch.where(hidden[:, None, None], 0.3, tensors.points),
        edge_predicates=edge_predicates,
    )
    batch = stack_graphs([tensors])
    seen = encoder.encode_graph(batch, hidden).nodes
    assert torch.equal(seen, encoder.encode_graph(stack_graphs([other_points]), hidden).nodes)
    elsewhere = replace(
        other_points,
        boxes=torch.where(hidden[:, None], 0.1, tensors.boxes),
        edge_geometry=torch.where(touched[:, None], 0.7, tensors.edge_geometry),
    )
    assert not torch.equal(seen, encoder.encode_graph(stack_graphs([elsewhere]), hidden).nodes)
    blind = encoder.encode_graph(batch, hidden, hidden).nodes
    assert torch.equal(blind, encoder.encode_graph(stack_graphs([elsewhere]), hidden, hidden).nodes)


def test_hidden_words_are_not_read() -> None:
    encoder = small_encoder()
    ids, mask = sentences(2, 6)
    hidden = torch.zeros_like(mask)
    hidden[:, 1] = True
    changed = torch.where(hidden, 5, ids)
    assert torch.equal(encoder.encode_text(ids, mask, hidden), encoder.encode_text(changed, mask, hidden))
    assert not torch.equal(encoder.encode_text(ids, mask), encoder.encode_text(changed, mask))


@pytest.mark.parametrize(("inputs", "unread"), [("geometry", "edge_predicates"), ("predicates", "edge_geometry")])
def test_edges_say_what_they_are_told_to(inputs: str, unread: str) -> None:
    encoder = small_encoder(replace(SMALL, edge_inputs=inputs))  # type: ignore[arg-type]
    tensors = drawn_tensors(0)
    other = replace(tensors, **{unread: torch.ones_like(getattr(tensors, unread))})
    first, second = (encoder.encode_graph(stack_graphs([one])).nodes for one in (tensors, other))
    assert torch.equal(first, second)
    both = small_encoder()
    assert not torch.equal(*(both.encode_graph(stack_graphs([one])).nodes for one in (tensors, other)))


def test_stand_ins_are_parameters_that_are_saved() -> None:
    encoder = small_encoder()
    names = {"objects.no_points", "objects.hidden_points", "objects.hidden_box", "text.mask_token"}
    assert names <= dict(encoder.named_parameters()).keys() and names <= encoder.state_dict().keys()


# Late interaction


def words_and_items(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Words of sentences, of which the first has none, and items of scenes, of which the last has none, with their masks."""
    generator = torch.Generator().manual_seed(seed)
    words, items = torch.randn(5, 4, 3, generator=generator), torch.randn(3, 6, 3, generator=generator)
    word_mask = torch.rand(5, 4, generator=generator) < 0.6
    item_mask = torch.rand(3, 6, generator=generator) < 0.6
    word_mask[0], item_mask[2] = False, False
    return words, word_mask, items, item_mask


def test_late_interaction_is_what_a_loop_says() -> None:
    words, word_mask, items, item_mask = words_and_items(4)
    found = late_interaction(words, word_mask, items, item_mask)
    for row in range(5):
        for scene in range(3):
            best = [
                max((float(words[row, t] @ items[scene, k]) for k in range(6) if item_mask[scene, k]), default=0.0)
                for t in range(4)
                if word_mask[row, t]
            ]
            assert float(found[row, scene]) == pytest.approx(sum(best) / len(best) if best else 0.0, abs=1e-6)


def test_late_interaction_has_the_gradients_of_its_definition() -> None:
    words, word_mask, items, item_mask = words_and_items(5)
    weights = torch.randn(5, 3, generator=torch.Generator().manual_seed(6))

    def defined(words: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("mtc,bkc->mtbk", words, items).masked_fill(~item_mask, -1e9).amax(dim=3)
        counted = scores * word_mask[..., None] * item_mask.any(dim=1)
        return counted.sum(dim=1) / word_mask.sum(dim=1, keepdim=True).clamp(min=1)

    gradients = []
    for score in (defined, lambda words, items: late_interaction(words, word_mask, items, item_mask)):
        leaves = [value.clone().requires_grad_() for value in (words, items)]
        (score(*leaves) * weights).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for expected, found in zip(*gradients, strict=True):
        assert expected is not None and expected.any()
        close(found, expected)


# Groups of sentences


def test_many_sentences_are_read_and_fused_as_each_by_itself() -> None:
    encoder, generator = small_encoder(), torch.Generator().manual_seed(6)
    lengths = torch.randint(1, 12, (80,), generator=generator)
    assert len(rows_by_length(torch.arange(12) < lengths[:, None])) > 1
    ids = torch.randint(VOCABULARY, (80, 12), generator=generator)
    mask, node_mask = torch.arange(12) < lengths[:, None], torch.rand(80, 3, generator=generator) < 0.7
    node_mask[:, 0] = True
    nodes = torch.randn(80, 3, SMALL.width, generator=generator)
    words = encoder.encode_text(ids, mask)
    fused = encoder.fuse(words, mask, nodes, node_mask)
    for row in range(80):
        one = slice(row, row + 1)
        alone = encoder.encode_text(ids[one], mask[one])
        close(words[one][mask[one]], alone[mask[one]])
        fused_alone = encoder.fuse(alone, mask[one], nodes[one], node_mask[one])
        close(fused[0][one][mask[one]], fused_alone[0][mask[one]])
        close(fused[1][one], fused_alone[1])


# Configuration


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 30}, "multiple of heads"),
        ({"graph_layers": -1}, "graph_layers: got -1"),
        ({"edge_inputs": "none"}, "Unknown edge input 'none'"),
        ({"predicates": ("onn",)}, "Unknown predicate 'onn'"),
        ({"widht": 3}, "Did you mean 'width'"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SceneEncoderConfig.from_dict(changes)


def test_settings_survive_a_round_trip() -> None:
    assert SceneEncoderConfig.from_dict(SMALL.to_dict()) == SMALL
    assert small_encoder().vocab_size == VOCABULARY
