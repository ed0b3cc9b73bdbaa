"""What `vla3d graph` may be given: a task of the simulator, an episode, a camera folder, or a graph's file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vla3d.calibration.files import CAMERAS_FILE, read_camera_folder
from vla3d.data import DemoDataset, EpisodeRef
from vla3d.envs.base import make_env
from vla3d.envs.registration import task_names
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.scene_nodes import SLIDES, scene_nodes
from vla3d.errors import ConfigError, ObservationError, unknown_name
from vla3d.inspection.config import GraphConfig
from vla3d.inspection.sources import chosen, find_source
from vla3d.scene_graphs.building.builder import BuilderConfig, SceneGraphBuilder
from vla3d.scene_graphs.building.clustering import ClusterConfig, with_clusters
from vla3d.scene_graphs.building.gripper import GripperReading
from vla3d.scene_graphs.building.known_boxes import graph_of
from vla3d.scene_graphs.building.segments import world_points
from vla3d.scene_graphs.building.surfaces import table_box
from vla3d.scene_graphs.exchange.files import read_graph
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.predicates.viewpoint import Viewpoint
from vla3d.types import Observation, RgbdFrame, Workspace

_LEVEL_SHARE = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Images of one instant and what is known about them.

    Attributes:
        title: what it is.
        frames: by camera.
        names: of instances in the segmentation; None where the frames have none.
        gripper: what the robot reports.
        truth: gives the true nodes, where a simulator knows them.
        workspace: where things may be.
        graph: was read from a file, and needs no images.
    """

    title: str
    frames: Mapping[str, RgbdFrame] = field(default_factory=dict)
    names: Mapping[int, str] | None = None
    gripper: GripperReading | None = None
    truth: Callable[[], tuple[SceneNode, ...]] | None = None
    workspace: Workspace | None = None
    graph: SceneGraph | None = None


def read_scene(config: GraphConfig) -> Scene:
    """The scene that a word on the command line stands for.

    Raises:
        Vla3dError: there is none, or it cannot be read.
    """
    path = Path(config.input)
    if not path.exists():
        if config.input in task_names():
            return _of_task(config)
        raise unknown_name("task or path", config.input, task_names())
    if path.suffix == ".json" and path.is_file() and path.name != CAMERAS_FILE:
        return Scene(title=path.name, graph=read_graph(path))
    folder = path.parent if path.name == CAMERAS_FILE else path
    if (folder / CAMERAS_FILE).is_file():
        frames = dict(read_camera_folder(folder).instants[0])
        _check_axes(folder, frames)
        return Scene(title=folder.name, frames=frames)
    return _of_episode(path, config)


def build_graph(scene: Scene, config: GraphConfig) -> SceneGraph:
    """The graph of a scene, by the way that was asked for.

    Raises:
        ConfigError: the scene does not allow this way, or has no such camera.
    """
    if scene.graph is not None:
        return scene.graph
    viewpoint = _viewpoint(scene, config.viewpoint)
    way = config.way
    if way == "auto":
        way = "masks" if scene.names is not None else "clusters"
    if way == "truth":
        if scene.truth is None:
            raise ConfigError(f"way: got truth for {config.input}, which no simulator runs; expected masks or clusters.")
        return graph_of(scene.truth(), viewpoint=viewpoint)
    if way == "masks" and scene.names is None:
        raise ConfigError(f"way: got masks for {config.input}, whose images have none; expected clusters.")
    settings = BuilderConfig(viewpoint=viewpoint, slides=SLIDES if way == "masks" else {}, keep_points=config.keep_points)
    builder = SceneGraphBuilder(scene.names if way == "masks" else None, settings)
    frames = scene.frames
    if way == "clusters":
        frames = with_clusters(frames, ClusterConfig(workspace=scene.workspace))
    builder.add(frames, scene.gripper)
    return builder.graph


def _viewpoint(scene: Scene, name: str) -> Viewpoint:
    if name == "robot":
        return Viewpoint()
    if name not in scene.frames:
        raise unknown_name("viewpoint", name, ["robot", *scene.frames])
    return Viewpoint.of_viewer(scene.frames[name].T_world_camera, name=f"camera {name.replace('_', ' ')}")


def _of_task(config: GraphConfig) -> Scene:
    env = make_env(config.input, image_size=config.image_size)
    try:
        seen = env.reset(seed=config.seed)
        expert = env.expert()
        for _ in range(config.step):
            result = env.step(expert.next_action())
            seen = result.observation
            if result.terminated or result.truncated:
                break
        title = f"{config.input}, seed {config.seed}: {seen.instruction}"
        # Read now: the environment is closed when the truth is asked for.
        nodes = scene_nodes(env) if isinstance(env, TabletopEnv) else None
        return _of_observation(title, seen, env.instance_names, env.workspace, None if nodes is None else lambda: nodes)
    finally:
        env.close()


def _of_episode(path: Path, config: GraphConfig) -> Scene:
    source = find_source(path)
    if source.kind == "rollout":
        raise ConfigError(f"{path} is a rollout, which keeps no depth; expected a dataset, a camera folder, or a task.")
    dataset = DemoDataset(source.folder)
    refs = dataset.episodes()
    episodes = {task: [ref.attempt for ref in refs if ref.task == task] for task in dataset.tasks()}
    task, number = chosen(source, episodes, {}, ())[0]
    ref = EpisodeRef(task, number)
    info = dataset.info(ref)
    if not 0 <= config.step < info.num_steps:
        raise ConfigError(f"step: got {config.step}, expected 0 to {info.num_steps - 1}, the steps of {ref}.")
    (step,) = dataset.read_steps(ref, [config.step])
    title = f"{ref}, step {config.step}: {step.observation.instruction}"
    return _of_observation(title, step.observation, step.observation.instance_names, None, None)


def _of_observation(
    title: str,
    seen: Observation,
    names: Mapping[int, str],
    workspace: Workspace | None,
    truth: Callable[[], tuple[SceneNode, ...]] | None,
) -> Scene:
    masked = bool(seen.frames) and all(frame.segmentation is not None for frame in seen.frames.values())
    return Scene(
        title=title,
        frames=seen.frames,
        names=names if masked else None,
        gripper=GripperReading.of(seen),
        truth=truth,
        workspace=workspace,
    )


def _check_axes(folder: Path, frames: Mapping[str, RgbdFrame]) -> None:
    """Refuse poses with which cameras would look up at everything: then they are of another axis convention.

    Raises:
        ObservationError: what to do.
    """
    above, clouds = [], []
    for frame in frames.values():
        points, valid = world_points(frame)
        clouds.append(points[valid])
        above.append(float((points[valid][:, 2] > frame.T_world_camera[2, 3]).mean()) if valid.any() else 0.0)
    if above and min(above) > _LEVEL_SHARE:
        raise ObservationError(
            f"{folder}: all cameras see everything above themselves, expected z up and camera frames with x right, y down, z "
            "forward; poses of OpenGL cameras (y up, z backward) are multiplied by diag(1, -1, -1, 1) from the right."
        )
    if table_box(np.concatenate(clouds), np.zeros(0)) is None:
        raise ObservationError(
            f"{folder}: the cameras see no level surface, expected a table or a floor and a world with z up; turn the poses so "
            "that gravity points along -z."
        )
