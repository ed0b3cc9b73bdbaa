"""`vla3d graph`: from a scene to its graph, in words, as a file, as a picture and as a recording."""

import os
from collections.abc import Iterator
from dataclasses import asdict

from vla3d.inspection.config import GraphConfig
from vla3d.inspection.graph_pictures import write_picture
from vla3d.inspection.graph_recording import record_graph
from vla3d.inspection.graph_sources import build_graph, read_scene
from vla3d.inspection.outputs import ViewFolder
from vla3d.optional import available
from vla3d.scene_graphs.files import write_graph
from vla3d.scene_graphs.summary import summary_lines


def inspect_graph(config: GraphConfig) -> Iterator[str]:
    """Build the graph and write everything; yields lines to print.

    Raises:
        Vla3dError: anything the user can mend.
    """
    scene = read_scene(config)
    graph = build_graph(scene, config)
    folder = ViewFolder(config.out, {**asdict(config), "out": os.fspath(config.out)})
    yield scene.title
    yield from summary_lines(graph)
    yield ""
    written = folder.claim("graph.json")
    if any(node.points is not None or node.feature is not None for node in graph.nodes):
        folder.claim("graph.safetensors")
    write_graph(written, graph)
    yield f"  {written}"
    picture = folder.claim("graph.png")
    write_picture(picture, graph, scene.frames, scene.title)
    yield f"  {picture}"
    if available("rerun"):
        recording = folder.claim("graph.rrd")
        record_graph(recording, graph, scene.frames, scene.title)
        yield f"  {recording}"
