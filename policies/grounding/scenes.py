"""From what a policy sees to the scene graph that travels in a sample, and to batches of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool
from torch import Tensor

from vla3d.errors import ObservationError
from vla3d.policies.grounding.boxes import BoxTensors
from vla3d.policies.grounding.triplets import Triplet, triplets_of
from vla3d.scene_graphs.building.builder import BuilderConfig, SceneGraphBuilder
from vla3d.scene_graphs.building.gripper import GripperReading
from vla3d.scene_graphs.encoder.batch import GraphBatch, stack_graphs
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import GraphTensors, graph_tensors
from vla3d.types import Observation


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenScene:
    """One scene graph, reduced to what a policy reads.

    Attributes:
        graph: what the encoder reads.
        boxes: of its nodes, in the world.
        things: nodes that a sentence may mean: objects and parts; neither surfaces nor the gripper.
        triplets: its relations in words; empty unless they are wanted.
    """

    graph: GraphTensors
    boxes: BoxTensors
    things: Bool[Tensor, " N"]
    triplets: tuple[Triplet, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenScenes:
    """Scenes stacked; see `SeenScene`. Slots that a scene does not fill are no things."""

    graphs: GraphBatch
    boxes: BoxTensors
    things: Bool[Tensor, "B N"]
    triplets: tuple[tuple[Triplet, ...], ...]

    @classmethod
    def stack(cls, scenes: Sequence[SeenScene]) -> Self:
        """One batch of several scenes."""
        things = torch.nn.utils.rnn.pad_sequence([scene.things for scene in scenes], batch_first=True)
        return cls(
            graphs=stack_graphs([scene.graph for scene in scenes]),
            boxes=BoxTensors.stack([scene.boxes for scene in scenes]),
            things=things,
            triplets=tuple(scene.triplets for scene in scenes),
        )

    def to(self, device: torch.device | str) -> Self:
        """The scenes on another device."""
        return type(self)(
            graphs=self.graphs.to(device),
            boxes=self.boxes.to(device),
            things=self.things.to(device, non_blocking=True),
            triplets=self.triplets,
        )


class SceneReader:
    """Builds the scene graph of an observation by geometry, from the cameras' instance masks.

    The gripper, as the robot reports it, is a node of every graph, so that none is empty: where nothing else is seen, nothing
    is a thing. Each observation is taken by itself, as training samples are.

    Args:
        cameras: whose images are read.
        encoder: what it reads of a graph.
        triplets: whether relations are wanted in words.
    """

    def __init__(self, cameras: Sequence[str], encoder: SceneEncoderConfig, *, triplets: bool) -> None:
        self._cameras = tuple(cameras)
        self._encoder = encoder
        self._triplets = triplets
        self._last: tuple[Observation, SeenScene] | None = None

    def read(self, observation: Observation) -> SeenScene:
        """The scene of an observation that has all the cameras.

        Raises:
            ObservationError: a camera has no instance masks, or its pose cannot be right.
        """
        # Samples that differ only in what is asked share their observation, and follow one another.
        if self._last is None or self._last[0] is not observation:
            self._last = (observation, self._build(observation))
        return self._last[1]

    def _build(self, observation: Observation) -> SeenScene:
        frames = {name: observation.frames[name] for name in self._cameras}
        blind = [name for name, frame in frames.items() if frame.segmentation is None]
        if blind:
            raise ObservationError(
                f"Camera {blind[0]!r} has no instance masks, from which the policy's scene graph is built; expected a "
                "segmentation in every frame. Add one, or train with policy.graph.enabled=false."
            )
        builder = SceneGraphBuilder(observation.instance_names, BuilderConfig(keep_points=self._encoder.points))
        builder.add(frames, GripperReading.of(observation))
        graph = builder.graph
        return SeenScene(
            graph=graph_tensors(graph, self._encoder),
            boxes=BoxTensors.of([node.box for node in graph.nodes]),
            things=torch.tensor([node.kind in ("object", "part") for node in graph.nodes]),
            triplets=triplets_of(graph) if self._triplets else (),
        )
