"""What an RLBench environment is launched with, and which class its task has."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from vla3d.envs.rlbench.control import keyframe_action_mode
from vla3d.envs.rlbench.library import Library, load_library, task_class
from vla3d.envs.rlbench.observing import observation_config


@dataclass(frozen=True, kw_only=True)
class Scene(ABC):
    """One task in one scene.

    Attributes:
        task: RLBench's name of the task.
        image_size: height and width of the images, pixels.
        cameras: which are rendered.
    """

    task: str
    image_size: int
    cameras: tuple[str, ...]

    @property
    @abstractmethod
    def name(self) -> str:
        """The task as vla3d names it."""

    @property
    @abstractmethod
    def demo_folder(self) -> str:
        """Name of the folder of its test demonstrations."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What must agree for a launched simulator to do."""

    @property
    def reset_attempts(self) -> int:
        """How often a scene that cannot be laid out is tried."""
        return 1

    @abstractmethod
    def launch(self) -> Any:
        """RLBench's environment, not yet launched."""

    @abstractmethod
    def task_class(self) -> Any:
        """The class of the task."""

    def observation_config(self, library: Library, renderer: str) -> Any:
        """RLBench's configuration of what is observed."""
        return observation_config(library, self.image_size, self.cameras, renderer)


@dataclass(frozen=True, kw_only=True)
class RLBenchScene(Scene):
    """A task of RLBench in its own scene, rendered without shadows as the published demonstrations were."""

    @property
    def name(self) -> str:
        """See ``Scene``."""
        return f"rlbench_{self.task}"

    @property
    def demo_folder(self) -> str:
        """See ``Scene``."""
        return self.task

    @property
    def key(self) -> Hashable:
        """All tasks share a simulator."""
        return ("rlbench", self.image_size, self.cameras)

    def launch(self) -> Any:
        """See ``Scene``."""
        library = load_library()
        return library.environment(
            keyframe_action_mode(library), obs_config=self.observation_config(library, "OPENGL"), headless=True
        )

    def task_class(self) -> Any:
        """See ``Scene``."""
        return task_class(self.task)


def cameras_for(renderer: str | None, cameras: Sequence[str]) -> tuple[str, ...]:
    """The cameras to render: none for a policy that does not look. RLBench renders by itself, whatever the renderer's name."""
    return () if renderer is None else tuple(cameras)
