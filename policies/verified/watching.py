"""The scene graph of a running episode, kept up to date from what the policy sees."""

from dataclasses import dataclass

from vla3d.errors import ObservationError
from vla3d.scene_graphs.building.builder import BuilderConfig, SceneGraphBuilder
from vla3d.scene_graphs.building.gripper import GripperReading
from vla3d.scene_graphs.goals.goal import facts_of
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.predicates.truth import TRUE, UNDECIDED
from vla3d.scene_graphs.summary import short_names
from vla3d.scene_graphs.text.checker import Facts
from vla3d.types import Observation


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """What is known after one observation.

    Attributes:
        graph: the scene.
        facts: what is true of it, as goals mean it.
        names: what to call its nodes.
    """

    graph: SceneGraph
    facts: Facts
    names: dict[int, str]

    @property
    def held(self) -> frozenset[int]:
        """What the hand surely holds."""
        return self._in_hand(TRUE)

    @property
    def perhaps_held(self) -> frozenset[int]:
        """What it may hold."""
        return self._in_hand(TRUE, UNDECIDED)

    @property
    def empty_handed(self) -> bool:
        """Whether the hand surely holds nothing."""
        return all(node.holding is False for node in self.graph.find(kind="gripper"))

    def _in_hand(self, *truths: int) -> frozenset[int]:
        table, ids = self.facts.relation("held_by"), self.graph.ids
        hands = [row for row, node in enumerate(self.graph.nodes) if node.kind == "gripper"]
        things = [row for row, node in enumerate(self.graph.nodes) if node.kind in ("object", "part")]
        return frozenset(ids[row] for row in things for hand in hands if table[row, hand] in truths)

    def called(self, ids: frozenset[int]) -> str:
        """Nodes in words."""
        return " and ".join(f"the {self.names[node_id]}" for node_id in sorted(ids) if node_id in self.names)


class Watcher:
    """Looks at each observation of an episode.

    Args:
        config: how views become a graph; it names the parts that slide open.
    """

    def __init__(self, config: BuilderConfig | None = None) -> None:
        self._config = config
        self._builder: SceneGraphBuilder | None = None
        self._names: dict[int, str] = {}

    def look(self, observation: Observation) -> Sight:
        """The scene as of now.

        Raises:
            ObservationError: the images have no instance masks.
        """
        _check_masks(observation)
        if self._builder is None:
            self._builder = SceneGraphBuilder(observation.instance_names, self._config)
        self._builder.add(observation.frames, GripperReading.of(observation))
        graph = self._builder.graph
        # What a thing was called at first it is called later: in the shade of the hand its colour may look like another.
        self._names = {**short_names(graph), **self._names}
        return Sight(graph=graph, facts=facts_of(graph), names=self._names)


def _check_masks(observation: Observation) -> None:
    unmasked = [name for name, frame in observation.frames.items() if frame.segmentation is None]
    if unmasked or not observation.frames or not observation.instance_names:
        got = (
            f"no masks from camera {unmasked[0]!r}" if unmasked else "no images" if not observation.frames else "unnamed masks"
        )
        raise ObservationError(
            f"verify: got {got}, expected images with instance masks and their names, from which the scene graph is built; "
            "run it with verify=false."
        )
