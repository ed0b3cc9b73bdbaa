"""Draw scenes: the same request gives the same scene, and training never sees what a test asks for."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import numpy as np

from vla3d.errors import ConfigError, unknown_name
from vla3d.scene_graphs.boxes import OrientedBox
from vla3d.scene_graphs.build import graph_of
from vla3d.scene_graphs.colors import PALETTE, color_name, lab
from vla3d.scene_graphs.generator.catalog import FURNITURE, TABLE, Item, SceneKind, items_of, labels_of
from vla3d.scene_graphs.generator.holdout import Holdout, Pair, Triple, default_holdout
from vla3d.scene_graphs.generator.layout import Body, Layout
from vla3d.scene_graphs.generator.rectangles import Rectangle
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.viewpoint import Viewpoint
from vla3d.seeding import Split as SeedSplit
from vla3d.seeding import scene_seed

SceneSplit = Literal["train", "validation", "test", "test_attributes", "test_relations"]
SPLITS: tuple[str, ...] = get_args(SceneSplit)

_ATTEMPTS = 400
_REPEATS = 0.3
_SURFACE_COLORS = {"floor": "gray", "table": "brown", "desk": "brown"}
_VIEWPOINTS: dict[SceneKind, Viewpoint] = {"tabletop": Viewpoint(), "room": Viewpoint(name="entrance")}


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """What scenes are drawn.

    Attributes:
        kind: ``"tabletop"`` or ``"room"``.
        least: fewest things that are tried, without the table or floor and without parts.
        most: most of them.
        holdout: compositions that only the splits ``test_attributes`` and ``test_relations`` show; the usual ones of the kind
            by default.

    Raises:
        ConfigError: no such kind, or not 1 <= least <= most <= 40.
    """

    kind: SceneKind = "tabletop"
    least: int = 8
    most: int = 12
    holdout: Holdout = field(default_factory=lambda: Holdout())

    def __post_init__(self) -> None:
        items_of(self.kind)
        if not 1 <= self.least <= self.most <= 40:
            raise ConfigError(f"generator: got least {self.least} and most {self.most}, expected 1 <= least <= most <= 40.")
        labels = {label for _, label in self.holdout.attributes}
        labels |= {label for subject, _, target in self.holdout.relations for label in (subject, target)}
        known = {*labels_of(self.kind), *_SURFACE_COLORS}
        for label in sorted(labels - known):
            raise unknown_name("label", label, known)

    @classmethod
    def usual(cls, kind: SceneKind) -> "GeneratorConfig":
        """With the compositions held out that every user of the generator holds out."""
        least, most = (8, 12) if kind == "tabletop" else (10, 16)
        return cls(kind=kind, least=least, most=most, holdout=default_holdout(kind))


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedScene:
    """A scene and where it comes from.

    Attributes:
        graph: with all that is true of it; no points, see `vla3d.scene_graphs.generator.surface`.
        kind: of scene.
        split: it belongs to.
        index: its number in the split.
        seed: from `vla3d.seeding.scene_seed`; those of different splits never meet.
    """

    graph: SceneGraph
    kind: SceneKind
    split: SceneSplit
    index: int
    seed: int


def generate(split: SceneSplit, index: int, *, seed: int = 0, config: GeneratorConfig | None = None) -> GeneratedScene:
    """Scene ``index`` of a split.

    ``train``, ``validation`` and ``test`` show no held-out composition. Scenes of ``test_attributes`` show at least one
    held-out pair of colour and label, those of ``test_relations`` at least one held-out triple and no held-out pair.

    Args:
        split: see above.
        index: number of the scene.
        seed: another seed gives other scenes.
        config: what scenes are drawn; tabletops with the usual held-out compositions by default.

    Raises:
        ConfigError: no such split, nothing is held out that the split could show, or so much is held out that no scene was
            found.
    """
    if split not in SPLITS:
        raise unknown_name("split", str(split), SPLITS)
    config = config or GeneratorConfig.usual("tabletop")
    base: SeedSplit = "test" if split.startswith("test") else split  # type: ignore[assignment]
    number = scene_seed(base, seed, f"scene_graphs/{config.kind}/{split}", index)
    rng = random.Random(number)
    pair, triple = _asked(split, config, rng)
    for _ in range(_ATTEMPTS):
        bodies = _draw(config, rng, pair, triple)
        if _surely_breaks(split, bodies, config):
            continue
        nodes = [_node(number, body, rng) for number, body in enumerate(bodies)]
        graph = graph_of(nodes, viewpoint=_VIEWPOINTS[config.kind])
        if _keeps_to(split, graph, config.holdout):
            return GeneratedScene(graph=graph, kind=config.kind, split=split, index=index, seed=number)
    raise ConfigError(
        f"generator: none of {_ATTEMPTS} drawn {config.kind} scenes fits the split {split!r}; hold out fewer compositions, or "
        "such as occur."
    )


def scenes(split: SceneSplit, count: int, *, seed: int = 0, config: GeneratorConfig | None = None) -> Iterator[GeneratedScene]:
    """The first ``count`` scenes of a split, see `generate`."""
    for index in range(count):
        yield generate(split, index, seed=seed, config=config)


def _asked(split: SceneSplit, config: GeneratorConfig, rng: random.Random) -> tuple[Pair | None, Triple | None]:
    """The composition that a scene is drawn around."""
    if split == "test_attributes":
        if not config.holdout.attributes:
            raise ConfigError("generator: the split test_attributes needs a held-out pair of colour and label; none is given.")
        return config.holdout.attributes[int(rng.random() * len(config.holdout.attributes))], None
    if split == "test_relations":
        if not config.holdout.relations:
            raise ConfigError("generator: the split test_relations needs a held-out triple; none is given.")
        return None, config.holdout.relations[int(rng.random() * len(config.holdout.relations))]
    return None, None


def _keeps_to(split: SceneSplit, graph: SceneGraph, holdout: Holdout) -> bool:
    """Whether a scene shows what its split must show, and nothing that it must not."""
    found = holdout.found_in(graph)
    pairs = [composition for composition in found if len(composition) == 2]
    if split == "test_attributes":
        return bool(pairs)
    if split == "test_relations":
        return not pairs and len(found) > 0
    return not found


def _surely_breaks(split: SceneSplit, bodies: list[Body], config: GeneratorConfig) -> bool:
    """Whether a layout shows a held-out triple beyond doubt, which saves building its graph."""
    if split.startswith("test_"):
        return False
    heading = _VIEWPOINTS[config.kind].heading
    assert heading == 0.0
    triples, sides = config.holdout.triples, 0.021
    for subject, predicate, target in triples:
        if predicate not in ("left_of", "in_front_of", "on", "in"):
            continue
        for one in (body for body in bodies if body.label == subject):
            for two in (body for body in bodies if body.label == target):
                if predicate == "left_of" and one.center[1] - two.center[1] > sides:
                    return True
                if predicate == "in_front_of" and two.center[0] - one.center[0] > sides:
                    return True
                stands = one.owner is not None and bodies[one.owner] is two
                if stands and one.place == {"on": "top", "in": "inside"}.get(predicate):
                    return True
    return False


def _draw(config: GeneratorConfig, rng: random.Random, pair: Pair | None, triple: Triple | None) -> list[Body]:
    """A layout; what is asked for is put down first."""
    layout = Layout(rng)
    items = {item.label: item for item in items_of(config.kind)}
    parts = {item.part: item for item in items.values() if item.part}
    wanted: list[tuple[Item, tuple[str, ...]]] = []
    if pair is not None:
        color, label = pair
        wanted.append((parts.get(label) or items.get(label) or TABLE, (color,)))  # type: ignore[call-overload]
    if triple is not None:
        for label in (triple[2], triple[0]):
            item = parts.get(label) or items.get(label) or TABLE  # type: ignore[call-overload]
            wanted.append((item, _colors(config.holdout, item)))
    if config.kind == "tabletop":
        length, width = 0.75 + 0.25 * rng.random(), 0.9 + 0.4 * rng.random()
        body = Body("table", (0.55, 0.0, -0.02), (length, width, 0.04), 0.0, kind="surface", color="brown")
        layout.add_floor(body, "top", Rectangle(0.55, 0.0, length / 2 - 0.02, width / 2 - 0.02, 0.0))
    else:
        length, width = 3.0 + 1.2 * rng.random(), 3.0 + 1.2 * rng.random()
        body = Body("floor", (0.0, 0.0, -0.01), (length, width, 0.02), 0.0, kind="surface", color="gray")
        layout.add_floor(body, "floor", Rectangle(0.0, 0.0, length / 2, width / 2, 0.0))
    _furnish(layout, config, wanted, triple)
    return layout.bodies


def _furnish(
    layout: Layout, config: GeneratorConfig, wanted: list[tuple[Item, tuple[str, ...]]], triple: Triple | None
) -> None:
    """Put down what is wanted, then things at random; large ones come first in rooms."""
    rng, placed = layout.rng, list[int]()
    for number, (item, colors) in enumerate(wanted):
        levels = None
        if triple is not None and number == 1 and placed and triple[1] in ("on", "in", "under"):
            place = {"on": "top", "in": "inside", "under": "under"}[triple[1]]
            levels = [level for level in layout.levels if level.owner == placed[0] and level.place == place]
        found = layout.put(item, colors, levels, tries=60)
        if found is None and levels is None:  # nothing to stand on yet
            layout.put(TABLE, _colors(config.holdout, TABLE))
            found = layout.put(item, colors, tries=60)
        if found is not None:
            placed.append(found)
    count = config.least + int((config.most - config.least + 1) * rng.random()) - len(placed)
    for item in _shopping_list(config, rng, count):
        layout.put(item, _colors(config.holdout, item))


def _shopping_list(config: GeneratorConfig, rng: random.Random, count: int) -> list[Item]:
    """Things to put down, some of them of one sort, wide ones mostly before those that could stand on or in them."""
    large = (count + 1) // 2 if config.kind == "room" else 0
    drawn: list[Item] = []
    for number in range(max(count, 0)):
        choices = _choices(config.kind, number < large)
        repeatable = [item for item in drawn if item in choices]
        usual = repeatable if repeatable and rng.random() < _REPEATS else choices
        drawn.append(usual[int(rng.random() * len(usual))])
    haste = [item.size[0] * item.size[1] * (0.1 + 0.9 * rng.random()) for item in drawn]
    return [drawn[number] for number in sorted(range(len(drawn)), key=lambda number: -haste[number])]


@cache
def _choices(kind: SceneKind, furniture: bool) -> tuple[Item, ...]:
    """Things to choose from, each as often as its share says."""
    items = FURNITURE if furniture else [item for item in items_of(kind) if item not in FURNITURE]
    return tuple(item for item in items for _ in range(item.share))


def _colors(holdout: Holdout, item: Item) -> tuple[str, ...]:
    """Colours that a thing may have, whose part has the same one."""
    if item.leg_room is not None:
        return (_SURFACE_COLORS[item.label],)
    return holdout.colors_for(item.label, item.part) if item.part else holdout.colors_for(item.label)


@cache
def _shades(name: str) -> tuple[tuple[float, float, float], ...]:
    """Shades of a colour that are still called by its name and look like each other."""
    rng, found = random.Random(f"shades of {name}"), [PALETTE[name]]
    weights = np.array([1 / 3, 1.0, 1.0])
    pure = lab(np.array([PALETTE[name]]))[0]
    while len(found) < 12:
        red, green, blue = (min(max(value + 0.10 * (rng.random() - 0.5), 0.0), 1.0) for value in PALETTE[name])
        shade = np.array([red, green, blue])
        if np.linalg.norm((lab(shade[None])[0] - pure) * weights) < 7.0 and color_name(shade) == name:
            found.append((red, green, blue))
    return tuple(found)


def _node(number: int, body: Body, rng: random.Random) -> SceneNode:
    color = body.color
    assert color is not None
    shades = _shades(color)
    return SceneNode(
        id=number,
        label=body.label,
        box=OrientedBox.upright(body.center, body.size, body.yaw),
        kind=body.kind,  # type: ignore[arg-type]
        color=color,
        rgb=np.array(shades[int(rng.random() * len(shades))]),
        opening=body.opening if body.kind == "part" else None,
        part_of=body.whole,
        attributes={} if body.size_word is None else {"size": body.size_word},
    )
