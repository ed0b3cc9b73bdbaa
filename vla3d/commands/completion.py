"""Shell completion: Hydra's scripts and answers, taught that the first word after `vla3d` is a sub-command."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vla3d.errors import ConfigError

if TYPE_CHECKING:
    from vla3d.cli import Command


def complete(words: Sequence[str], commands: "Mapping[str, Command]") -> int:
    """Answer ``vla3d -sc install=bash`` or ``query=bash``; the shell's line is in ``COMP_LINE`` and ``COMP_POINT``.

    Args:
        words: what follows ``-sc``.
        commands: the sub-commands.

    Raises:
        ConfigError: nothing to do, or an unknown shell.
    """
    from vla3d.commands.composition import compose

    if not words:
        raise ConfigError("Got -sc alone, expected a shell: install=bash, install=fish or install=zsh (or uninstall=...).")
    composed = [name for name, command in commands.items() if command.config]
    if not words[0].startswith("query="):
        compose(composed[0], commands[composed[0]].config, ["-sc", *words])  # the script is the same for every command
        return 0
    line = os.environ.get("COMP_LINE", "")
    line = line[: int(os.environ.get("COMP_POINT") or len(line))]
    name = sub_command(line)
    if name is None:
        print("\n".join(command for command in commands if command.startswith(_last_word(line))))
    elif name in composed and line.split()[-1].partition("=")[0] not in commands[name].shorthands:
        # (Hydra takes a shorthand for the group of that name and would offer what the command refuses.)
        os.environ["COMP_LINE"] = without_sub_command(line)
        os.environ["COMP_POINT"] = str(len(os.environ["COMP_LINE"]))
        compose(name, commands[name].config, ["-sc", *words])
    return 0


def sub_command(line: str) -> str | None:
    """The sub-command that a line names; None while it is still being typed."""
    typed = line.split()
    finished = len(typed) > 2 or (len(typed) == 2 and line[-1:].isspace())
    return typed[1] if finished else None


def without_sub_command(line: str) -> str:
    """``vla3d train policy=`` as Hydra knows it: ``vla3d policy=``."""
    program, _, rest = line.split(maxsplit=2) if len(line.split()) > 2 else (*line.split(), "")
    return f"{program} {rest}"


def _last_word(line: str) -> str:
    typed = line.split()
    return typed[1] if len(typed) == 2 else ""
