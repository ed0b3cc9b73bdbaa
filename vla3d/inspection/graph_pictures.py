"""A scene graph as a picture: boxes and arrows over a camera's image, the same from above, and what the graph says."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from vla3d.evaluation.drawing import ACCENT, BACKGROUND, MUTED, PANEL, font, scaled, write_fitting
from vla3d.evaluation.results import write_atomic
from vla3d.inspection.graph_drawing import Labels, arrow, edge_color, node_color
from vla3d.scene_graphs.boxes import Boxes
from vla3d.scene_graphs.edges import Edge
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates import PREDICATES
from vla3d.scene_graphs.summary import node_line, sentence, short_names, surface_lines, telling_edges
from vla3d.types import RgbdFrame

Place = Callable[[np.ndarray], list[tuple[float, float]]]

_SIDE = 720
_GAP = 16
_MARGIN = 24
_HEAD = 64
_LINE = 24
_MOST_LINES = 18
_NEAREST = 0.02
_AROUND = 0.06
_LEAST_WIDTH = 0.3
_LATTICE = 0.1
_BOX_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1]


def write_picture(path: Path, graph: SceneGraph, frames: Mapping[str, RgbdFrame], title: str) -> None:
    """Write the picture of a graph.

    Args:
        path: a PNG file.
        graph: what to show.
        frames: images of the same instant; without any, only the view from above is drawn.
        title: what the scene is.
    """
    names, told = short_names(graph), telling_edges(graph)
    panels = [_from_above(graph, names, told)]
    camera = _best_camera(graph, frames)
    if camera is not None:
        panels.insert(0, _in_image(graph, names, told, frames[camera]))
    width = 2 * _MARGIN + len(panels) * _SIDE + (len(panels) - 1) * _GAP
    columns = (_node_lines(graph, names), _edge_lines(graph, names, told))
    lines = max(len(column) for column in columns) if len(panels) == 2 else sum(map(len, columns)) + 1
    sheet = Image.new("RGB", (width, _HEAD + _SIDE + _GAP + _LINE * (lines + 1) + _MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    write_fitting(draw, title, (_MARGIN, 18), width - 2 * _MARGIN, size=22, bold=True)
    for number, panel in enumerate(panels):
        sheet.paste(panel, (_MARGIN + number * (_SIDE + _GAP), _HEAD))
    left, top = _MARGIN, _HEAD + _SIDE + _GAP
    for heading, *rest in columns:
        draw.text((left, top), heading, font=font(16, bold=True), fill=ACCENT)
        for row, line in enumerate(rest):
            write_fitting(draw, line, (left, top + _LINE * (row + 1)), _SIDE, size=15)
        if len(panels) == 2:
            left += _SIDE + _GAP
        else:
            top += _LINE * (len(rest) + 2)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def _node_lines(graph: SceneGraph, names: dict[int, str]) -> list[str]:
    shown = [node for node in graph.nodes if node.kind != "surface"][: _MOST_LINES - 1]
    lines = [node_line(node, names[node.id]) for node in shown]
    hidden = sum(node.kind != "surface" for node in graph.nodes) - len(shown)
    return [f"{len(graph.nodes)} nodes", *lines, *([f"… and {hidden} more"] if hidden else [])]


def _edge_lines(graph: SceneGraph, names: dict[int, str], told: list[Edge]) -> list[str]:
    lines = []
    for edge in told[: _MOST_LINES - 1]:
        views = f"  ({edge.evidence} of {edge_views(graph, edge)} views)" if edge.evidence else ""
        lines.append(sentence(edge, names) + views)
    more = len(graph.edges) - len(lines)
    heading = f"{len(graph.edges)} edges, seen from the {graph.viewpoint.name}"
    return [heading, *lines, *surface_lines(graph, names), *([f"… {more} more than those with an arrow"] if more else [])]


def edge_views(graph: SceneGraph, edge: Edge) -> int:
    """How many views could have shown an edge: those that saw both things, a gripper counting as seen by all."""
    counts = [node.views for node in (graph.node(edge.subject), graph.node(edge.object)) if node.kind != "gripper"]
    return max(edge.evidence, min(counts, default=0))


def _best_camera(graph: SceneGraph, frames: Mapping[str, RgbdFrame]) -> str | None:
    """The camera that sees most of the things, wholly and large."""
    best, most = None, 0.0
    things = [node for node in graph.nodes if node.kind in ("object", "part")]
    for name, frame in frames.items():
        height, width = frame.depth.shape
        score = 0.0
        for node in things:
            pixels, depth = _project(node.box.corners, frame)
            seen = (depth > _NEAREST) & (pixels >= 0).all(1) & (pixels < (width, height)).all(1)
            score += float(seen.all()) + 0.1 * float(seen.mean())
        if score > most:
            best, most = name, score
    return best if best is not None else next(iter(frames), None)


def _project(points: Float[np.ndarray, "N 3"], frame: RgbdFrame) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "N"]]:
    pose = np.asarray(frame.T_world_camera, dtype=np.float64)
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    depth = local[:, 2]
    return (local @ np.asarray(frame.intrinsics).T)[:, :2] / np.maximum(depth, _NEAREST)[:, None], depth


def _in_image(graph: SceneGraph, names: dict[int, str], told: list[Edge], frame: RgbdFrame) -> Image.Image:
    height, width = frame.depth.shape
    ratio = _SIDE / max(height, width)
    panel = Image.new("RGB", (_SIDE, _SIDE), PANEL)
    picture = scaled(frame.rgb, _SIDE) if height == width else Image.fromarray(frame.rgb)
    if height != width:
        picture = picture.resize((round(width * ratio), round(height * ratio)), Image.Resampling.BICUBIC)
    panel.paste(picture)
    draw = ImageDraw.Draw(panel)
    middles: dict[int, tuple[float, float]] = {}
    tops: dict[int, tuple[float, float]] = {}
    for node in graph.nodes:
        pixels, depth = _project(np.concatenate([node.box.corners, node.box.center[None]]), frame)
        pixels = pixels * ratio
        if (depth <= _NEAREST).any() or node.kind == "surface":
            continue
        for a, b in _BOX_EDGES:
            line = (*pixels[a], *pixels[b])
            draw.line(line, fill=BACKGROUND, width=4)
            draw.line(line, fill=node_color(node), width=2)
        middles[node.id] = (float(pixels[8, 0]), float(pixels[8, 1]))
        tops[node.id] = (float(pixels[:8, 0].mean()), float(pixels[:8, 1].min()) - 14)
    # In perspective, arrows between far things cross the picture; directions are told by the view from above.
    contacts = [edge for edge in told if edge.predicate not in ("left_of", "right_of", "in_front_of", "behind")]
    labels = Labels(draw, (_SIDE, _SIDE))
    for edge in contacts:
        if edge.subject in middles and edge.object in middles:
            arrow(draw, middles[edge.subject], middles[edge.object], edge_color(edge))
    for node_id, place in tops.items():
        labels.put(names[node_id], place, node_color(graph.node(node_id)), bold=True)
    for edge in contacts:
        if edge.subject in middles and edge.object in middles:
            between = tuple((a + b) / 2 for a, b in zip(middles[edge.subject], middles[edge.object], strict=True))
            labels.put(_words(edge), (between[0], between[1]), edge_color(edge), size=13, border=False)
    return panel


def _from_above(graph: SceneGraph, names: dict[int, str], told: list[Edge]) -> Image.Image:
    """The scene from above, the viewer at the lower edge looking up the picture."""
    panel = Image.new("RGB", (_SIDE, _SIDE), PANEL)
    draw = ImageDraw.Draw(panel)
    shown = [node for node in graph.nodes if node.kind != "surface"]
    if not shown:
        draw.text((24, 24), "no things", font=font(18), fill=MUTED)
        return panel
    boxes = Boxes.stack([node.box for node in shown])
    axes = np.stack([-graph.viewpoint.left, graph.viewpoint.forward], axis=1)  # right and up of the picture
    flat = boxes.footprints @ axes
    low, high = flat.reshape(-1, 2).min(0) - _AROUND, flat.reshape(-1, 2).max(0) + _AROUND
    middle, extent = (low + high) / 2, max(float((high - low).max()), _LEAST_WIDTH)
    scale = (_SIDE - 60) / extent

    def place(points: Float[np.ndarray, "N 2"]) -> list[tuple[float, float]]:
        at = (points - middle) * scale * (1, -1) + _SIDE / 2
        return [(float(x), float(y)) for x, y in at]

    _lattice(draw, middle, extent, place)
    for row in np.argsort(boxes.high[:, 2], kind="stable"):
        color, outline = node_color(shown[row]), place(flat[row])
        if shown[row].kind != "gripper":
            draw.polygon(outline, fill=tuple(round(0.45 * c + 0.55 * p) for c, p in zip(color, PANEL, strict=True)))
        draw.line([*outline, outline[0]], fill=color, width=3, joint="curve")
    centers = {node.id: place(node.box.center[None, :2] @ axes)[0] for node in shown}
    labels = Labels(draw, (_SIDE, _SIDE))
    for edge in told:
        arrow(draw, centers[edge.subject], centers[edge.object], edge_color(edge), short=12)
    for node, outline in zip(shown, flat, strict=True):
        x, y = centers[node.id]
        low_edge = max(point[1] for point in place(outline))
        labels.put(names[node.id], (x, max(low_edge + 14, y)), node_color(node), bold=True)
    for edge in told:
        between = tuple((a + b) / 2 for a, b in zip(centers[edge.subject], centers[edge.object], strict=True))
        labels.put(_words(edge), (between[0], between[1]), edge_color(edge), size=13, border=False)
    draw.text((14, _SIDE - 28), f"from above; the {graph.viewpoint.name} looks up the picture", font=font(14), fill=MUTED)
    return panel


def _lattice(draw: ImageDraw.ImageDraw, middle: np.ndarray, extent: float, place: Place) -> None:
    """Lines every 10 cm."""
    line = tuple(round(0.8 * panel + 0.2 * muted) for panel, muted in zip(PANEL, MUTED, strict=True))
    for axis in (0, 1):
        first = np.ceil((middle[axis] - extent) / _LATTICE)
        for step in range(int(2 * extent / _LATTICE) + 1):
            ends = np.array([middle - extent, middle + extent])
            ends[:, axis] = (first + step) * _LATTICE
            draw.line(place(ends), fill=line, width=1)
    draw.text((14, 10), f"lines every {100 * _LATTICE:.0f} cm", font=font(14), fill=MUTED)


def _words(edge: Edge) -> str:
    words = PREDICATES[edge.predicate].words if edge.predicate in PREDICATES else edge.predicate
    return words.removeprefix("is ")
