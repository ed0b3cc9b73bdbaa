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
    if not words[0].startswith("query="):
        first, command = next((first, command) for first, command in commands.items() if command.config)
        compose(first, command.config, ["-sc", *words])  # the script is the same for every command
        return 0
    line = os.environ.get("COMP_LINE", "")
    line = line[: int(os.environ.get("COMP_POINT") or len(line))]
    name = sub_command(line)
    if name is None:
        print("\n".join(command for command in commands if command.startswith(_last_word(line))))
    elif name in commands:
        _complete_keys(name, commands[name], without_sub_command(line), words)
    return 0


def _complete_keys(name: str, command: "Command", line: str, words: Sequence[str]) -> None:
    """Answer for a command; ``line`` is what was typed, without the command's name."""
    from vla3d.commands.composition import compose

    typed = line.split()
    finished = typed[1:] if line[-1:].isspace() else typed[1:-1]
    if finished and finished[0] in command.parts:
        _complete_keys(f"{name} {finished[0]}", command.parts[finished[0]], without_sub_command(line), words)
        return
    if not finished:
        for part in command.parts:
            if part.startswith(_last_word(line)):
                print(part)
    for word, _ in zip(finished, command.bare, strict=False):
        if "=" in word:
            break
        line = without_sub_command(line)
    # Hydra takes a shorthand for the group of that name and would offer what the command refuses.
    if command.config and typed[-1].partition("=")[0] not in command.shorthands:
        os.environ["COMP_LINE"], os.environ["COMP_POINT"] = line, str(len(line))
        compose(name, command.config, ["-sc", *words])


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
