"""Pictures of generated scenes: from above, and as cameras see their points, with boxes, labels and sentences.

python benchmarks/scene_sheet.py [--split train] [--count 3] [--out docs/scene_language.png]
"""

import argparse
import io
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vla3d.scene_graphs.generator.catalog import SceneKind
from vla3d.scene_graphs.generator.scene import SPLITS, GeneratedScene, GeneratorConfig, generate
from vla3d.scene_graphs.generator.surface import Sampling, ScenePoints, sample_points
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.shapes.boxes import Boxes
from vla3d.scene_graphs.text.sentences import Speaker

KINDS: tuple[SceneKind, ...] = ("tabletop", "room")
EDGES = [(i, j) for i in range(8) for j in range(i + 1, 8) if bin(i ^ j).count("1") == 1]
INK, PAPER = "#20242c", "#f7f7f5"


def shown(graph: SceneGraph) -> list[SceneNode]:
    """Nodes to outline and name, lowest first."""
    return sorted((node for node in graph.nodes if node.kind != "surface"), key=lambda node: float(node.box.center[2]))


def draw_from_above(axes: Axes, graph: SceneGraph) -> None:
    """Outlines in their colours; the viewer looks up the page."""
    for node in sorted(graph.nodes, key=lambda node: float(node.box.center[2])):
        outline = turned(Boxes.stack([node.box]).footprints[0])
        face = (0.9, 0.88, 0.84) if node.kind == "surface" or node.rgb is None else tuple(node.rgb)
        axes.fill(*outline.T, facecolor=face, edgecolor=INK, linewidth=0.6)
    objects = [node for node in shown(graph) if node.kind == "object"]
    write_labels(axes, objects, [turned(node.box.center[None, :2])[0] for node in objects])
    axes.set_aspect("equal")
    axes.axis("off")


def turned(points: np.ndarray) -> np.ndarray:
    """World x up the page, world y to the left."""
    return np.stack([-points[:, 1], points[:, 0]], axis=1)


def write_labels(axes: Axes, nodes: list[SceneNode], places: list[np.ndarray]) -> None:
    """Labels and ids, moved up until they are clear of each other."""
    low, high = np.array(axes.dataLim.min), np.array(axes.dataLim.max)
    step = 0.058 * (high[1] - low[1])
    taken: list[tuple[np.ndarray, int]] = []
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    for node, place in zip(nodes, places, strict=True):
        at, text = np.array(place, dtype=float), f"{node.label} {node.id}"
        while any(np.all(abs(at - other) < (0.22 * (len(text) + length) * step, step)) for other, length in taken):
            at[1] += step / 3
        taken.append((at, len(text)))
        axes.update_datalim([at, (at[0], at[1] + step)])
        axes.text(*at, text, fontsize=5.5, ha="center", va="center", color=INK, bbox=box)
    axes.autoscale_view()


class Camera:
    """A pinhole that looks at a scene from the viewer's side, from above.

    Args:
        graph: the scene.
    """

    def __init__(self, graph: SceneGraph) -> None:
        boxes = Boxes.stack([node.box for node in graph.nodes])
        low, high = boxes.low.min(axis=0), boxes.high.max(axis=0)
        self.middle = (low + high) / 2
        reach = float(np.linalg.norm(high - low))
        self.position = self.middle + reach * np.array([-0.95, 0.35, 0.85])
        forward = (self.middle - self.position) / np.linalg.norm(self.middle - self.position)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(right, forward), forward])

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the picture, and depths."""
        local = (points - self.position) @ self.axes.T
        return local[:, :2] / local[:, 2:], local[:, 2]


def draw_in_perspective(axes: Axes, graph: SceneGraph, points: ScenePoints) -> None:
    """Points far to near, boxes over them."""
    camera = Camera(graph)
    ground = next(node for node in graph.nodes if node.kind == "surface")
    corners = camera(np.concatenate([Boxes.stack([ground.box]).footprints[0], np.full((4, 1), ground.box.center[2])], axis=1))[
        0
    ]
    axes.fill(*corners.T, facecolor=(0.9, 0.88, 0.84), edgecolor=INK, linewidth=0.5)
    chosen = points.ids != ground.id
    flat, depth = camera(points.points[chosen].astype(np.float64))
    order = np.argsort(-depth)
    axes.scatter(*flat[order].T, s=areas_of(graph, points)[chosen][order], c=points.colors[chosen][order] / 255, linewidths=0)
    for node in shown(graph):
        ends = camera(node.box.corners)[0]
        for i, j in EDGES:
            axes.plot(*ends[[i, j]].T, color=INK, linewidth=0.3, alpha=0.6)
    objects = [node for node in shown(graph) if node.kind == "object"]
    tops = [camera(node.box.corners)[0] for node in objects]
    write_labels(axes, objects, [np.array([ends[:, 0].mean(), ends[:, 1].max()]) for ends in tops])
    axes.set_aspect("equal")
    axes.axis("off")
    axes.annotate(
        f"seen from the {graph.viewpoint.name}", (0.5, -0.01), xycoords="axes fraction", ha="center", va="top", fontsize=8
    )


def areas_of(graph: SceneGraph, points: ScenePoints) -> np.ndarray:
    """How large a point of each node is drawn, so that large things look as solid as small ones."""
    boxes = Boxes.stack([node.box for node in graph.nodes])
    x, y, z = (boxes.high - boxes.low).max(axis=0)
    surfaces = {node.id: float(2 * (node.box.size * np.roll(node.box.size, 1)).sum()) for node in graph.nodes}
    numbers, counts = np.unique(points.ids, return_counts=True)
    share = {int(number): surfaces[int(number)] / count for number, count in zip(numbers, counts, strict=True)}
    return np.array([min(max(8e4 * share[int(number)] / (x * y + z), 0.4), 9.0) for number in points.ids])


def sentences(scene: GeneratedScene) -> str:
    """Some of what can be said."""
    speaker = Speaker(scene.graph, seed=scene.index)
    picked = [next(iter(speaker.attributes(1))), *speaker.relations(4)]
    named = [sentence.text for sentence in speaker.references(2) if any(span.role == "predicate" for span in sentence.spans)]
    lines = [sentence.text for sentence in picked] + [f"({text})" for text in named[:2]]
    return "\n".join("\n".join(textwrap.wrap(line, 62, subsequent_indent="   ")) for line in lines)


def sheet(split: str, count: int) -> Figure:
    """A column for each scene, tabletops in the upper half."""
    figure = Figure(figsize=(4.6 * count, 16.6), facecolor=PAPER)
    grid = figure.add_gridspec(6, count, height_ratios=[1.0, 1.05, 0.62] * 2, hspace=0.16, wspace=0.05)
    for half, kind in enumerate(KINDS):
        config = GeneratorConfig.usual(kind)
        for column in range(count):
            scene = generate(split, column, config=config)  # type: ignore[arg-type]
            points = sample_points(scene.graph, scene.seed, Sampling(per_object=9000, cameras=6, dropout=0.0))
            draw_from_above(figure.add_subplot(grid[3 * half, column]), scene.graph)
            draw_in_perspective(figure.add_subplot(grid[3 * half + 1, column]), scene.graph, points)
            axes = figure.add_subplot(grid[3 * half + 2, column])
            axes.axis("off")
            axes.text(0.02, 0.95, sentences(scene), fontsize=7.5, va="top", color=INK)
    return figure


def main() -> None:
    """Write the picture."""
    matplotlib.use("agg")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "scene_language.png")
    options = parser.parse_args()
    content = io.BytesIO()
    sheet(options.split, options.count).savefig(content, dpi=100, bbox_inches="tight", pad_inches=0.1)
    Image.open(content).convert("RGB").quantize(200).save(options.out, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
