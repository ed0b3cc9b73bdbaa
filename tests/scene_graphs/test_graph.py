"""The graph as a value: refusals, queries, deltas; files and the formats of others give back what they were given."""

import io
import itertools
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from graph_scenes import cube, full_graph, known_scene, upright_nodes
from hypothesis import given

from vla3d.errors import ConfigError, DataError, SchemaVersionError
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.delta import graph_delta
from vla3d.scene_graphs.edges import Edge, Edges
from vla3d.scene_graphs.exchange.files import read_graph, write_graph
from vla3d.scene_graphs.exchange.nx import from_networkx, to_networkx
from vla3d.scene_graphs.exchange.pyg import UNLISTED, from_data, from_hetero, to_data, to_hetero
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import OrientedBox

BOX = OrientedBox.upright([0, 0, 0], [1, 1, 1])

# Refusals


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"id": -1}, "Node: got id -1, expected a whole number"),
        ({"id": True}, "Node: got id True"),
        ({"label": " "}, "expected a word, or 'unknown'"),
        ({"kind": "objct"}, "Unknown kind of node 'objct'. Did you mean 'object'?"),
        ({"label_scores": {"cup": 0.5, "mug": 0.2}}, "add up to 0.700, expected 1"),
        ({"label_scores": {"cup": 0.2, "mug": 0.8}}, "expected the likeliest label"),
        ({"label_scores": {"cup": float("nan")}}, "expected probabilities"),
        ({"opening": 1.5}, "expected a number from 0 (shut) to 1"),
        ({"opening": float("nan")}, "expected a number from 0 (shut) to 1"),
        ({"part_of": 4}, "got part_of 4, itself,"),
        ({"states": "open"}, "expected a tuple of words"),
        ({"attributes": {"mass": float("inf")}}, "attribute 'mass' of inf"),
        ({"attributes": {"mass": [1]}}, "attribute 'mass' of [1]"),
        ({"rgb": np.array([0.0, 0.0, 255.0])}, "expected numbers in [0, 1]"),
        ({"points": np.full((1, 3), np.nan, np.float32)}, "expected finite numbers of shape N x 3"),
        ({"feature": np.zeros((2, 2), np.float32)}, "expected finite numbers of shape N"),
        ({"views": -1}, "got views -1, expected 0 or more"),
    ],
)
@pytest.mark.wrong_shapes
def test_a_node_that_cannot_be_is_refused(values: dict[str, object], part: str) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        SceneNode(**{"id": 4, "label": "cup", "box": BOX} | values)  # type: ignore[arg-type]
    assert part in str(caught.value) and str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("edges", "part"),
    [
        ([Edge(subject=0, predicate="onn", object=1)], "Unknown predicate 'onn'. Did you mean 'on'?"),
        ([Edge(subject=0, predicate="open", object=1)], "Unknown predicate 'open'."),
        ([Edge(subject=0, predicate="on", object=7)], "edge (0, 'on', 7) leads to node 7, which is not in the graph"),
        ([Edge(subject=0, predicate="on", object=0)], "got a node related to itself"),
        ([Edge(subject=0, predicate="on", object=1, confidence=float("nan"))], "got confidence nan"),
        ([Edge(subject=0, predicate="on", object=1, confidence=1.1)], "got confidence 1.1"),
        ([Edge(subject=0, predicate="on", object=1, evidence=-1)], "got evidence of -1 views"),
        ([Edge(subject=0, predicate="on", object=1)] * 2, "is there twice"),
    ],
)
def test_edges_that_cannot_be_are_refused(edges: list[Edge], part: str) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        SceneGraph.of([cube(0, 0, 0), cube(1, 0, 0)], edges)
    assert part in str(caught.value)


def test_ids_and_wholes_must_be_there() -> None:
    with pytest.raises(DataError, match="nodes 'cube' and 'cube' both have the id 0"):
        SceneGraph.of([cube(0, 0, 0), cube(0, 1, 0)])
    with pytest.raises(DataError, match="node 0 is a part of node 5, which is not in the graph"):
        SceneGraph.of([replace(cube(0, 0, 0), part_of=5)])


def test_what_a_graph_holds_cannot_be_changed() -> None:
    graph = full_graph()
    for values in (graph.nodes[0].box.center, graph.nodes[2].points, graph.edges.subjects, graph.edges.confidence):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0
    with pytest.raises(TypeError):
        graph.node(7).attributes["grams"] = 1  # type: ignore[index]


# Queries


def test_order_makes_no_difference() -> None:
    graph = full_graph()
    for seed in range(5):
        shuffled = random.Random(seed)
        nodes, edges = list(graph.nodes), list(graph.edges)
        shuffled.shuffle(nodes)
        shuffled.shuffle(edges)
        assert SceneGraph.of(nodes, edges, viewpoint=graph.viewpoint).same_as(graph)


def test_finding_things() -> None:
    graph = known_scene()
    assert [node.id for node in graph.find("cube", color="red")] == [0, 3]
    assert [node.id for node in graph.find(kind="surface")] == [9]
    assert graph.node(1).name == "blue cube 1"
    assert 9 in graph and 5 not in graph
    with pytest.raises(DataError, match="got node 5, expected one of 0, 1, 2, 3, 9"):
        graph.node(5)
    with pytest.raises(ConfigError, match="Unknown predicate 'over'"):
        graph.edges_of(predicate="over")


def test_a_subgraph_keeps_the_edges_between_its_nodes() -> None:
    graph = known_scene()
    part = graph.subgraph([3, 2])
    assert part.ids == (2, 3)
    assert part.triplets() == {edge for edge in graph.triplets() if edge[0] in (2, 3) and edge[2] in (2, 3)}
    assert full_graph().subgraph([2]).node(2).part_of is None


def test_components_of_a_graph_that_does_not_hang_together() -> None:
    nodes = [cube(number, number, 0) for number in range(5)]
    graph = SceneGraph.of(nodes, [Edge(subject=3, predicate="on", object=1), Edge(subject=4, predicate="near", object=3)])
    assert graph.components() == ({0}, {1, 3, 4}, {2})
    assert SceneGraph().components() == () and SceneGraph().triplets() == frozenset()


def test_a_vocabulary_of_ones_own() -> None:
    graph = SceneGraph.of(
        [cube(0, 0, 0), cube(1, 0, 0)], [Edge(subject=0, predicate="hanging on", object=1)], vocabulary=["hanging on"]
    )
    assert graph.triplets() == {(0, "hanging on", 1)}
    assert from_hetero(to_hetero(graph, dtype=torch.float64)).same_as(graph)


# Deltas


def test_what_changed_when_a_cube_went_into_the_tray() -> None:
    before = known_scene()
    nodes = [node for node in before.nodes if node.id not in (1, 3)]
    after = graph_of([*nodes, replace(cube(1, 0.6, -0.2, z=0.026, color="blue"), states=("held",)), cube(5, 0.3, 0.1)])
    delta = graph_delta(before, after)
    assert [node.id for node in delta.added] == [5] and [node.id for node in delta.removed] == [3]
    assert [(change.after.id, change.what) for change in delta.changed] == [(1, ("box",))]
    assert [change.after.id for change in delta.moved()] == [1]
    assert (1, "in", 2) in {edge.triplet for edge in delta.added_edges}
    assert (1, "on", 0) in {edge.triplet for edge in delta.removed_edges}
    assert {"- red cube 3", "~ blue cube 1 moved by 449 mm", "+ blue cube 1 in tray 2"} <= set(delta.lines())


def test_states_and_noise() -> None:
    drawer = SceneNode(id=1, label="drawer", box=BOX, opening=0.0)
    nudged = replace(drawer, box=OrientedBox.upright([0.002, 0, 0], [1, 1, 1]), opening=0.01)
    shut, noisy, opened = (graph_of([node]) for node in (drawer, nudged, replace(drawer, opening=1.0)))
    assert graph_delta(shut, noisy).changed and not graph_delta(shut, noisy).moved() and not graph_delta(shut, noisy).lines()
    assert graph_delta(shut, opened).state_changes() == ((1, "closed", False), (1, "open", True))
    assert [change.what for change in graph_delta(shut, opened).changed] == [("opening", "states")]


@given(upright_nodes(), upright_nodes())
def test_a_delta_applied_gives_the_other_graph(first: list[SceneNode], second: list[SceneNode]) -> None:
    before, after = graph_of(first), graph_of(second)
    delta = graph_delta(before, after)
    assert delta.apply(before).same_as(after)
    assert delta.empty == before.same_as(after)
    assert graph_delta(before, before).empty
    back = graph_delta(after, before)
    assert (back.added_edges, back.removed_edges) == (delta.removed_edges, delta.added_edges)


def test_a_delta_fits_only_the_graph_it_was_made_from() -> None:
    delta = graph_delta(known_scene(), SceneGraph())
    with pytest.raises(DataError, match="is not as it was"):
        delta.apply(SceneGraph())


# Files


@pytest.mark.parametrize("graph", [full_graph(), known_scene(), SceneGraph()], ids=["full", "known", "empty"])
def test_a_file_gives_back_every_bit(graph: SceneGraph, tmp_path: Path) -> None:
    write_graph(tmp_path / "new" / "scene.json", graph)
    assert read_graph(tmp_path / "new" / "scene.json").same_as(graph)
    arrays = (tmp_path / "new" / "scene.safetensors").exists()
    assert arrays == any(node.points is not None for node in graph.nodes)
    assert not [path for path in (tmp_path / "new").iterdir() if path.name.startswith(".")]
    assert json.loads((tmp_path / "new" / "scene.json").read_text())["schema"] == "vla3d.scene_graph/1"


@given(upright_nodes())
def test_a_file_gives_back_any_graph(nodes: list[SceneNode]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        graph = graph_of(nodes)
        write_graph(Path(folder) / "g.json", graph)
        assert read_graph(Path(folder) / "g.json").same_as(graph)


def damaged(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "error", "part"),
    [
        ({"schema": "vla3d.scene_graph/2"}, SchemaVersionError, "has the schema 'vla3d.scene_graph/2', expected"),
        ({"schema": None}, SchemaVersionError, "has the schema None"),
        ({"frame": "y up, metres"}, DataError, "got axes 'y up, metres', expected 'x forward, y left, z up; metres'"),
        ({"edges": [[0, "on", 77, 0, 1.0]]}, DataError, "leads to node 77"),
        ({"edges": [[0, "onn", 1, 0, 1.0]]}, DataError, "expected one of the file's predicates"),
        ({"edges": [[0, "on"]]}, DataError, "expected [subject, predicate, object, evidence, confidence]"),
        ({"edges": [[0.5, "on", 1, 0, 1.0]]}, DataError, "expected [subject, predicate, object, evidence, confidence]"),
        ({"edges": 3}, DataError, "is damaged"),
        ({"nodes": [{"id": 0, "label": "cup"}]}, DataError, "Node 0: center is missing"),
        ({"nodes": [{"id": 0, "label": "x", "center": [0, 0, 0], "size": [1, 1, 1], "quaternion": [1, 0, 0, 0], "colr": 1}]},
         DataError, "got 'colr', expected only"),
        ({"nodes": [{"id": 0, "label": "x", "center": ["a", 0, 0], "size": [1, 1, 1], "quaternion": [1, 0, 0, 0]}]},
         DataError, "of another type than expected"),
        ({"nodes": [None]}, DataError, "Node: got None"),
        ({"viewpoint": 3}, DataError, "expected an object with heading"),
        ({"arrays": {"file": "none.safetensors", "sha256": ""}}, DataError, "none.safetensors cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(changes: dict, error: type[Exception], part: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.json"
    write_graph(path, known_scene())
    damaged(path, **changes)
    with pytest.raises(error) as caught:
        read_graph(path)
    assert part in str(caught.value) and str(path) in str(caught.value)


def test_arrays_of_another_graph_are_refused(tmp_path: Path) -> None:
    write_graph(tmp_path / "one.json", full_graph())
    other = SceneGraph.of([replace(cube(0, 0, 0), feature=np.ones(3, np.float32))])
    write_graph(tmp_path / "two.json", other)
    (tmp_path / "one.safetensors").write_bytes((tmp_path / "two.safetensors").read_bytes())
    with pytest.raises(DataError, match="SHA-256 differs"):
        read_graph(tmp_path / "one.json")
    (tmp_path / "cut.json").write_text((tmp_path / "one.json").read_text()[:100])
    with pytest.raises(DataError, match="cannot be read as a scene graph"):
        read_graph(tmp_path / "cut.json")
    with pytest.raises(DataError, match=r"expected one that ends in \.json"):
        write_graph(tmp_path / "graph.pkl", full_graph())


# PyTorch Geometric and networkx


def without_points(graph: SceneGraph) -> SceneGraph:
    nodes = tuple(replace(node, points=None) for node in graph.nodes)
    return SceneGraph(nodes=nodes, edges=graph.edges, viewpoint=graph.viewpoint)


@pytest.mark.parametrize("graph", [full_graph(), known_scene(), SceneGraph()], ids=["full", "known", "empty"])
@pytest.mark.parametrize(("there", "back"), [(to_data, from_data), (to_hetero, from_hetero)], ids=["data", "hetero"])
def test_pyg_gives_back_what_it_was_given(there, back, graph: SceneGraph) -> None:
    assert back(there(graph, dtype=torch.float64)).same_as(without_points(graph))
    rounded = back(there(graph))
    assert rounded.triplets() == graph.triplets()
    for node, original in zip(rounded.nodes, graph.nodes, strict=True):
        np.testing.assert_allclose(node.box.center, original.box.center, atol=1e-6)


@pytest.mark.parametrize(("there", "back"), [(to_data, from_data), (to_hetero, from_hetero)], ids=["data", "hetero"])
def test_pyg_batches_and_takes_apart_again(there, back) -> None:
    from torch_geometric.data import Batch

    graphs = [full_graph(), full_graph().subgraph([7, 11]), full_graph()]
    batch = Batch.from_data_list([there(graph, dtype=torch.float64) for graph in graphs])
    parts = batch.to_data_list()
    assert all(back(part).same_as(without_points(graph)) for part, graph in zip(parts, graphs, strict=True))


def test_only_edge_ends_are_shifted_in_a_batch() -> None:
    from torch_geometric.data import Batch

    data = to_data(known_scene(), labels=["tray", "cube"])
    batch = Batch.from_data_list([data, data])
    count = len(known_scene().edges)
    assert torch.equal(batch.edge_index[:, count:], batch.edge_index[:, :count] + 5)
    assert torch.equal(batch.edge_type[count:], data.edge_type) and torch.equal(batch.y[5:], data.y)
    assert data.y.tolist() == [1, 1, 0, 1, UNLISTED] and data.node_id.tolist() == [0, 1, 2, 3, 9]
    shifted = [name for name in data.keys() if "index" in name or "batch" in name]  # noqa: SIM118
    assert shifted == ["edge_index"]


def test_subjects_are_in_row_0() -> None:
    data = to_hetero(SceneGraph.of([cube(4, 0, 0), cube(7, 0, 0)], [Edge(subject=7, predicate="on", object=4, evidence=3)]))
    assert data["object", "on", "object"].edge_index.tolist() == [[1], [0]]
    assert data["object", "on", "object"].edge_attr.tolist() == [[3.0, 1.0]]
    assert data["object", "in", "object"].edge_index.shape == (2, 0)


def test_pyg_files_load_with_weights_only() -> None:
    file = io.BytesIO()
    torch.save(to_hetero(full_graph(), dtype=torch.float64).to_dict(), file)
    file.seek(0)
    from torch_geometric.data import HeteroData

    data = HeteroData.from_dict(torch.load(file, weights_only=True))
    assert from_hetero(data).same_as(without_points(full_graph()))


def test_foreign_pyg_data_are_refused() -> None:
    from torch_geometric.data import Data

    with pytest.raises(DataError, match="details is missing or no text"):
        from_data(Data(pos=torch.zeros(1, 3)))


@pytest.mark.parametrize("graph", [full_graph(), known_scene(), SceneGraph()], ids=["full", "known", "empty"])
def test_networkx_gives_back_every_bit(graph: SceneGraph) -> None:
    assert from_networkx(to_networkx(graph)).same_as(graph)


def test_networkx_links_are_json() -> None:
    graph = to_networkx(known_scene())
    text = json.dumps(networkx.node_link_data(graph, edges="edges"))
    again = networkx.node_link_graph(json.loads(text), edges="edges")
    assert from_networkx(again).same_as(known_scene())
    assert networkx.has_path(graph, 1, 9)
    with pytest.raises(DataError, match="expected a MultiDiGraph"):
        from_networkx(networkx.DiGraph())


# Size


def test_five_thousand_nodes_in_bounded_memory() -> None:
    """All pairs of them would be 25 million; the process may not grow by more than what the neighbours need."""
    program = (
        "import resource, sys; sys.path.insert(0, {here!r})\n"
        "from dataclasses import replace; from graph_scenes import cube, table\n"
        "from vla3d.scene_graphs.shapes.boxes import OrientedBox\n"
        "from vla3d.scene_graphs.building.known_boxes import graph_of\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "plate = replace(table(), box=OrientedBox.upright([2, 2, -0.02], [5, 5, 0.04]))\n"
        "nodes = [plate, *(cube(100 + i, 0.05 * (i % 70), 0.05 * (i // 70)) for i in range(4999))]\n"
        "graph_of(nodes[:50]); before = peak(); graph = graph_of(nodes, most_neighbours=32)\n"
        "assert len(graph.edges_of(predicate='on', object=9)) == 4999, len(graph.edges)\n"
        "assert peak() - before < 500, peak() - before\n"
    )
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", program.format(here=here)], check=True, timeout=120)


@pytest.mark.wrong_shapes
def test_columns_of_different_lengths_are_refused() -> None:
    columns = dict(itertools.product(("subjects", "objects", "predicates", "evidence"), [np.zeros(2, np.int64)]))
    with pytest.raises(DataError, match="columns of different lengths"):
        Edges(**columns, confidence=np.ones(1))
