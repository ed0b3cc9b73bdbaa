"""Every factor by name."""

from collections.abc import Sequence

from vla3d.envs.base import FactorDoesNotApplyError
from vla3d.envs.tabletop.factors.base import Factor
from vla3d.envs.tabletop.factors.instances import UnseenDrawers, UnseenHandles, UnseenShapes
from vla3d.envs.tabletop.factors.language import TaskVariations, UnseenColors, UnseenRelations
from vla3d.envs.tabletop.factors.objects import Color, Friction, Mass, Size, Texture
from vla3d.envs.tabletop.factors.surroundings import (
    BackgroundTexture,
    CameraPose,
    Distractors,
    LightColor,
    TableColor,
    TableTexture,
)
from vla3d.envs.tabletop.tasks.base import TabletopTask
from vla3d.errors import ConfigError, unknown_name

# Changes are made in this order: shapes before sizes, sizes before textures.
FACTORS: dict[str, Factor] = {
    factor.name: factor
    for factor in (
        UnseenShapes(),
        UnseenHandles(),
        UnseenDrawers(),
        UnseenColors(),
        UnseenRelations(),
        Size("manipulated"),
        Size("receiving"),
        Color("manipulated"),
        Color("receiving"),
        Texture("manipulated"),
        Texture("receiving"),
        LightColor(),
        TableColor(),
        TableTexture(),
        BackgroundTexture(),
        CameraPose(),
        Friction(),
        Mass(),
        Distractors(),
        TaskVariations(),
    )
}


def factors_for(task: TabletopTask, names: Sequence[str]) -> tuple[Factor, ...]:
    """The factors of some names that apply to a task, in the order in which they are applied.

    Raises:
        ConfigError: unknown name, or one given twice.
        FactorDoesNotApplyError: names were given, and none applies.
    """
    for name in names:
        if name not in FACTORS:
            raise unknown_name("factor", name, FACTORS)
        if list(names).count(name) > 1:
            raise ConfigError(f"factors: got {name} more than once; name each factor once.")
    found = tuple(factor for name, factor in FACTORS.items() if name in names and factor.applies_to(task))
    if names and not found:
        raise FactorDoesNotApplyError(f"factors: {', '.join(names)} cannot change anything of {task.name}; leave the task out.")
    return found
