"""The one CoppeliaSim that a process can hold, shared by all environments in it."""

import atexit
from collections.abc import Callable, Hashable
from typing import Any


class Simulator:
    """Launches RLBench's environment when it is first needed, and changes its task or scene when another is asked for.

    PyRep holds one simulator per process. Tasks of one scene follow each other in it; another scene (The COLOSSEUM makes one
    for each task and variation) shuts it down and launches it anew.
    """

    def __init__(self) -> None:
        self._environment: Any = None
        self._scene: Hashable = None
        self._owner: object = None
        self._task: Any = None

    def task(self, owner: object, scene: Hashable, launch: Callable[[], Any], task_class: Callable[[], Any]) -> Any:
        """The task environment of ``owner``, loaded into the simulator if it is not there already.

        Args:
            owner: whose task it is.
            scene: what must agree for a launched simulator to do.
            launch: makes RLBench's environment; it is launched here.
            task_class: finds the class of the task.
        """
        if self._owner is owner:
            return self._task
        if self._environment is None or self._scene != scene:
            self.close()
            environment = launch()
            environment.launch()
            self._environment, self._scene = environment, scene
        self._owner = None  # the task before is gone, also when the next one fails to load
        self._task = self._environment.get_task(task_class())
        self._owner = owner
        return self._task

    def release(self, owner: object) -> None:
        """Shut the simulator down if ``owner``'s task is in it."""
        if self._owner is owner:
            self.close()

    def close(self) -> None:
        """Shut the simulator down."""
        environment, self._environment = self._environment, None
        self._owner = self._task = self._scene = None
        if environment is not None:
            environment.shutdown()


SIMULATOR = Simulator()
atexit.register(SIMULATOR.close)
