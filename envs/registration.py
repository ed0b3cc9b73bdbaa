"""Finding tasks by name: the built-in ones and those of installed packages."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint, entry_points

from vla3d.envs.base import KeyframeEnv
from vla3d.envs.rlbench.names import COLOSSEUM, RLBENCH_18
from vla3d.errors import ConfigError, unknown_name

ENTRY_POINT_GROUP = "vla3d.tasks"
"""A package offers a task by an entry point of this group: its name is the task's, its value a ``TaskFactory``."""

TaskFactory = Callable[..., KeyframeEnv]
"""Called as ``factory(image_size=..., renderer=...)``; a ``TabletopTask`` offers its ``make_env``."""

_TASKS = "vla3d.envs.tabletop.tasks"
BUILT_IN: dict[str, EntryPoint] = {
    name: EntryPoint(name, f"{_TASKS}.{name}:{attribute}.make_env", ENTRY_POINT_GROUP)
    for name, attribute in {
        "pick_and_lift": "PickAndLift",
        "place_in_container": "PlaceInContainer",
        "open_drawer": "OpenDrawer",
        "push_buttons": "PushButtons",
        "reach_target": "ReachTarget",
        "stack_blocks": "StackBlocks",
        "put_item_in_drawer": "PutItemInDrawer",
        "slide_block_to_target": "SlideBlockToTarget",
        "lift_by_relation": "LiftByRelation",
        "put_two_in_container": "PutTwoInContainer",
        "put_two_in_drawer": "PutTwoInDrawer",
        "stack_four_blocks": "StackFourBlocks",
    }.items()
}


SIMULATORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rlbench": ("vla3d.envs.rlbench.env:make_rlbench_env", RLBENCH_18),
    "colosseum": ("vla3d.envs.rlbench.env:make_colosseum_env", COLOSSEUM),
}
"""Simulators that the user installs, by the prefix of their tasks' names (``rlbench_close_jar``): what makes an environment,
called with the rest of the name, and the names to suggest. They have no experts to collect from."""


def task_names() -> tuple[str, ...]:
    """Every task that can be made and shown, sorted. Loads none of them, and leaves out those of ``SIMULATORS``."""
    return tuple(sorted({*BUILT_IN, *entry_points(group=ENTRY_POINT_GROUP).names}))


def simulator_of(name: str) -> str | None:
    """The key of ``SIMULATORS`` that a task's name belongs to."""
    return next((prefix for prefix in SIMULATORS if name.startswith(f"{prefix}_")), None)


def find_task(name: str) -> TaskFactory:
    """The factory of a task.

    Raises:
        ConfigError: no such task; two packages offer it; or the package that offers it cannot be imported.
    """
    simulator = simulator_of(name)
    if simulator is not None:
        point = EntryPoint(name, SIMULATORS[simulator][0], ENTRY_POINT_GROUP)
        return partial(point.load(), name.removeprefix(f"{simulator}_"))
    # One package may be found twice (an editable install beside its source), so equal values count once.
    offered = {point.value: point for point in entry_points(group=ENTRY_POINT_GROUP, name=name)}
    if name in BUILT_IN:
        offered.setdefault(BUILT_IN[name].value, BUILT_IN[name])
    if not offered:
        raise unknown_name("task", name, task_names())
    if len(offered) > 1:
        raise ConfigError(f"Task {name!r} is offered by {', '.join(sorted(offered))}; rename or uninstall all but one.")
    (point,) = offered.values()
    try:
        factory: TaskFactory = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"Task {name!r}: cannot load {point.value} ({error}); mend or uninstall the package.") from error
    return factory


def gymnasium_id(task: str) -> str:
    """``"pick_and_lift"`` is ``"vla3d/PickAndLift-v0"``."""
    return f"vla3d/{''.join(word.capitalize() for word in task.split('_'))}-v0"


def register_gymnasium() -> None:
    """Register the built-in tasks with gymnasium. Nothing of them is imported before ``gymnasium.make``.

    ``import vla3d.envs`` does this; Gymnasium finds nothing by itself since 1.0.
    """
    import gymnasium

    adapter = "vla3d.envs.tabletop.gym_adapter"
    for task in BUILT_IN:
        if gymnasium_id(task) not in gymnasium.registry:
            gymnasium.register(
                id=gymnasium_id(task),
                entry_point=f"{adapter}:GymKeyframeEnv",
                vector_entry_point=f"{adapter}:TabletopVectorEnv",
                kwargs={"task": task},
            )
