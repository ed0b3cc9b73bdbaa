"""`vla3d graph` on tasks, episodes, camera folders and files: what is written, what is said, what is refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vla3d import cli
from vla3d.inspection.graph_pictures import write_picture
from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.build import graph_of
from vla3d.scene_graphs.files import read_graph
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.summary import short_names, summary_lines, telling_edges

sys.path.insert(0, str(Path(__file__).parents[1] / "scene_graphs"))
from graph_scenes import cube, known_scene, table, tray
from seen_scenes import frames

Call = Callable[..., tuple[int, str, str]]
WAYS_OF_A_GRAPH = {"graph.json", "graph.png", "graph.rrd", "view.json"}


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main(["graph", *map(str, words)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def camera_folder(folder: Path, turn: np.ndarray | None = None) -> Path:
    """Two cubes and a table as a user records them; ``turn`` is multiplied to every pose from the right."""
    folder.mkdir()
    described = {}
    for name, frame in frames([cube(2, 0.45, 0.15), cube(3, 0.6, -0.1, color="blue")]).items():
        Image.fromarray(frame.rgb).save(folder / f"{name}.png")
        np.save(folder / f"{name}.npy", frame.depth)
        pose = frame.T_world_camera if turn is None else frame.T_world_camera @ turn
        described[name] = {
            "intrinsics": frame.intrinsics.tolist(),
            "T_world_camera": pose.tolist(),
            "rgb": f"{name}.png",
            "depth": f"{name}.npy",
        }
    (folder / "cameras.json").write_text(json.dumps(described))
    return folder


def test_a_task_of_the_simulator(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("pick_and_lift", "seed=3", "image_size=64", f"out={tmp_path / 'g'}")
    assert code == 0 and "pick_and_lift, seed 3:" in out and "on the table:" in out
    assert {path.name for path in (tmp_path / "g").iterdir()} == WAYS_OF_A_GRAPH
    graph = read_graph(tmp_path / "g" / "graph.json")
    assert len(graph.find("cube")) >= 3 and len(graph.find(kind="gripper")) == 1
    with Image.open(tmp_path / "g" / "graph.png") as picture:
        assert picture.size[0] > 1400 and len(np.unique(np.asarray(picture.convert("L")))) > 50
    again, _, _ = call("pick_and_lift", "seed=3", "image_size=64", f"out={tmp_path / 'g'}", "keep_points=5")
    assert again == 0 and (tmp_path / "g" / "graph.safetensors").exists()


def test_truth_and_another_viewpoint(call: Call, tmp_path: Path) -> None:
    for viewpoint in ("robot", "front"):
        words = (
            "pick_and_lift",
            "seed=3",
            "image_size=32",
            "way=truth",
            f"viewpoint={viewpoint}",
            f"out={tmp_path / viewpoint}",
        )
        assert call(*words)[0] == 0
    robot, front = (read_graph(tmp_path / name / "graph.json") for name in ("robot", "front"))
    assert front.viewpoint.name == "camera front" and abs(front.viewpoint.heading) == pytest.approx(np.pi)
    assert {(a, b) for a, p, b in robot.triplets() if p == "left_of"} == {
        (a, b) for a, p, b in front.triplets() if p == "right_of"
    }


def test_an_episode_of_a_dataset(call: Call, demos: Path, tmp_path: Path) -> None:
    code, out, err = call(demos, "step=2", f"out={tmp_path / 'g'}")
    assert code == 0, err
    assert "step 2: " in out and read_graph(tmp_path / "g" / "graph.json").find("cube")
    code, _, err = call(demos, "step=100000", f"out={tmp_path / 'h'}")
    assert code == 2 and "step: got 100000, expected 0 to " in err


def test_a_folder_of_cameras_and_the_graph_that_it_gave(call: Call, tmp_path: Path) -> None:
    folder = camera_folder(tmp_path / "cameras")
    code, out, _ = call(folder, f"out={tmp_path / 'g'}")
    assert code == 0 and "unknown" in out
    graph = read_graph(tmp_path / "g" / "graph.json")
    assert len(graph.find(kind="object")) == 2 and len(graph.find("table")) == 1
    code, _, _ = call(tmp_path / "g" / "graph.json", f"out={tmp_path / 'again'}")
    assert code == 0 and read_graph(tmp_path / "again" / "graph.json").same_as(graph)
    assert (tmp_path / "again" / "graph.png").exists()


def test_what_is_refused(call: Call, tmp_path: Path) -> None:
    folder = camera_folder(tmp_path / "cameras")
    opengl = camera_folder(tmp_path / "opengl", np.diag([1.0, -1.0, -1.0, 1.0]))
    mirrored = camera_folder(tmp_path / "mirrored", np.diag([1.0, -1.0, 1.0, 1.0]))
    other = tmp_path / "other.json"
    other.write_text('{"schema": "vla3d.scene_graph/9"}')
    for words, part in (
        ((folder, "way=masks"), "whose images have none; expected clusters"),
        ((folder, "way=truth"), "which no simulator runs; expected masks or clusters"),
        ((folder, "viewpoint=frnt"), "Unknown viewpoint 'frnt'. Did you mean 'front'?"),
        ((opengl,), "poses of OpenGL cameras (y up, z backward) are multiplied by diag(1, -1, -1, 1)"),
        ((mirrored,), "mirrors (determinant -1)"),
        ((other,), "has the schema 'vla3d.scene_graph/9', expected 'vla3d.scene_graph/1'"),
        ((tmp_path,), "holds neither demonstrations nor a rollout"),
    ):
        code, _, err = call(*words, f"out={tmp_path / 'refused'}")
        assert code == 2 and err.count("\n") == 1 and part in err, err
    assert not (tmp_path / "refused").exists()


def test_y_up_worlds_are_refused(call: Call, tmp_path: Path) -> None:
    folder = camera_folder(tmp_path / "cameras")
    described = json.loads((folder / "cameras.json").read_text())
    y_up = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    for camera in described.values():
        camera["T_world_camera"] = (y_up @ np.array(camera["T_world_camera"])).tolist()
    (folder / "cameras.json").write_text(json.dumps(described))
    code, _, err = call(folder, f"out={tmp_path / 'g'}")
    assert code == 2 and "no level surface" in err and "z up" in err


# Words and pictures


def test_telling_edges_place_every_thing_once() -> None:
    graph = known_scene()
    told = [edge.triplet for edge in telling_edges(graph)]
    assert {(3, "in", 2), (1, "on", 0)} <= set(told)
    assert len({frozenset((a, b)) for a, _, b in told}) == len(told)
    assert set(told) <= graph.triplets()
    assert not any(9 in (a, b) for a, _, b in told)


def test_names_carry_a_number_only_where_they_must() -> None:
    names = short_names(known_scene())
    assert names == {0: "red cube 0", 1: "blue cube", 2: "tray", 3: "red cube 3", 9: "table"}


def test_a_summary_has_a_line_for_every_node() -> None:
    lines = summary_lines(known_scene())
    assert lines[0].startswith("5 nodes, ") and "  blue cube: at 0.400, 0.200, 0.060 m, 40 x 40 x 40 mm" in lines
    assert "  on the table: red cube 0, tray" in lines and "  red cube 3 is in tray" in lines
    assert summary_lines(SceneGraph()) == ["0 nodes, 0 edges; left and right as seen from the robot base"]


@pytest.mark.parametrize(
    "nodes",
    [[], [table()], [cube(0, 0, 0)], [cube(i, 0.01 * i, 0) for i in range(40)], [tray(0, 1e3, 1e3), cube(1, 0, 0)]],
    ids=["empty", "table", "one", "many", "far"],
)
def test_any_graph_can_be_drawn(nodes: list[SceneNode], tmp_path: Path) -> None:
    write_picture(tmp_path / "g.png", graph_of(nodes), {}, "a title " * 30)
    with Image.open(tmp_path / "g.png") as picture:
        assert picture.size[0] >= 700


def test_boxes_behind_the_camera_are_not_drawn(tmp_path: Path) -> None:
    behind = SceneNode(id=5, label="wall", box=OrientedBox.upright([3.0, 0, 0.5], [0.1, 1, 1]))
    seen = {"front": frames([cube(2, 0.5, 0)])["front"]}
    write_picture(tmp_path / "g.png", graph_of([cube(2, 0.5, 0), behind]), seen, "title")
    assert (tmp_path / "g.png").stat().st_size > 10_000
