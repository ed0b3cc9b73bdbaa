"""The `vla3d` command: finds the sub-command, composes its configuration, and turns errors into exit codes.

Exit codes: 0 done; 2 something the user can mend (one sentence on stderr); 130 interrupted. A bug in vla3d keeps its traceback.
Nothing heavy is imported before a command really runs, so that help and completion answer at once.
"""

import difflib
import errno
import importlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla3d import __version__
from vla3d.errors import Vla3dError, WorkerError, unknown_name

EXIT_BUG = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141

_MENDABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space, or choose a folder elsewhere"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "allow it to be read, or choose a folder you may read and write"),
    errno.EROFS: "choose a folder you may write to",
}
"""What the user can do about an operating system's refusal, by its number."""


@dataclass(frozen=True)
class Command:
    """One sub-command.

    Attributes:
        purpose: its line in the usage.
        function: ``"module:function"``, called with the words after the sub-command, or with the composed values.
        config: the root YAML that Hydra composes; empty for a command that reads its own words.
        shorthands: keys that stand for others. Hydra takes ``policy=...`` for a choice in the group of that name.
        bare: the keys whose values may come first, in this order and without their names.
        parts: commands of their own that a second word names.
    """

    purpose: str
    function: str
    config: str = ""
    shorthands: Mapping[str, str] = field(default_factory=dict)
    bare: tuple[str, ...] = ()
    parts: Mapping[str, "Command"] = field(default_factory=dict)


COMMANDS: dict[str, Command] = {
    "collect": Command("record demonstrations of the scripted experts", "vla3d.commands.collect:main", "collect"),
    "train": Command("train a policy on demonstrations", "vla3d.commands.train:main", "train"),
    "pretrain": Command(
        "train an encoder of scenes and words on generated scene graphs", "vla3d.commands.pretrain:main", "pretrain"
    ),
    "rollout": Command(
        "run a policy in the simulator and measure its success",
        "vla3d.commands.rollout:main",
        "rollout",
        {"policy": "policy.name", "verify": "verify.enabled"},
    ),
    "evaluate": Command(
        "compare a policy's keyframes with those of demonstrations, without a simulator",
        "vla3d.commands.evaluate:main",
        "evaluate",
        {"demos": "demos.split"},
    ),
    "view": Command(
        "show episodes of a dataset or a rollout, or check cameras",
        "vla3d.commands.view:main",
        "view",
        bare=("path",),
        parts={
            "cameras": Command(
                "check whether calibrated cameras agree", "vla3d.commands.view_cameras:main", "view_cameras", bare=("path",)
            )
        },
    ),
    "graph": Command(
        "make the scene graph of a simulated, recorded or photographed scene",
        "vla3d.commands.graph:main",
        "graph",
        bare=("input",),
    ),
    "serve": Command(
        "let a benchmark's own program ask a policy over HTTP",
        "vla3d.commands.serve:main",
        "serve",
        {"policy": "policy.name"},
        bare=("protocol",),
    ),
    "bench": Command(
        "time the point and view operations beside their peers", "vla3d.commands.bench:main", "bench", bare=("operations",)
    ),
    "convert": Command(
        "turn demonstrations of other programs into a dataset, or published weights into a policy",
        "vla3d.commands.convert:main",
        "convert",
        bare=("path", "out"),
        parts={
            "rlbench": Command(
                "RLBench, PerAct, COLOSSEUM", "vla3d.commands.convert:rlbench", "convert_rlbench", bare=("path", "out")
            ),
            "gembench": Command("GemBench", "vla3d.commands.convert:gembench", "convert_gembench", bare=("path", "out")),
            "bridgevla-real": Command(
                "BridgeVLA's real robot",
                "vla3d.commands.convert:bridgevla_real",
                "convert_bridgevla_real",
                bare=("path", "out"),
            ),
            "bridgevla-checkpoint": Command(
                "weights of BridgeVLA's 2025 release",
                "vla3d.commands.convert_checkpoint:main",
                "convert_checkpoint",
                bare=("source", "out"),
            ),
        },
    ),
    "info": Command("describe this installation, or a dataset", "vla3d.commands.info:main"),
}

_COMPLETION_FLAGS = ("-sc", "--shell-completion", "--shell_completion")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: the words after ``vla3d``; None takes those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except SystemExit as ended:  # argparse's help, or the trainer's answer to SIGTERM
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except WorkerError as error:
        if "Traceback" not in str(error):
            return _refuse(str(error))
        print(f"vla3d: {error}", file=sys.stderr)  # a bug like any other, only in another process
        return EXIT_BUG
    except Vla3dError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # The reader (head, less) went away; what is still buffered must not raise again when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        return _refuse(f"{error.strerror}: {error.filename or 'a file'}; {_MENDABLE[error.errno]}.")


def usage() -> str:
    """What bare ``vla3d`` and ``vla3d --help`` print."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: vla3d COMMAND [key=value ...]",
            "",
            "Train 3D vision-language-action policies and run them in simulation.",
            "",
            "Commands:",
            *lines,
            "",
            "vla3d COMMAND --help    what a command takes",
            "vla3d --version         the installed version",
            'eval "$(vla3d -sc install=bash)"    complete commands and keys with Tab (also fish and zsh)',
        ]
    )


def _dispatch(words: list[str]) -> int:
    if not words:
        print(usage(), file=sys.stderr)
        return EXIT_USER_ERROR
    first, rest = words[0], words[1:]
    if first in ("-h", "--help"):
        print(usage())
        return 0
    if first in ("-V", "--version"):
        print(f"vla3d {__version__}")
        return 0
    if first in _COMPLETION_FLAGS:
        from vla3d.commands.completion import complete

        return complete(rest, COMMANDS)
    if first not in COMMANDS:
        raise unknown_name("command", first, COMMANDS)
    return _run(first, COMMANDS[first], rest)


def _run(name: str, command: Command, words: list[str]) -> int:
    if words and words[0] in command.parts:
        return _run(f"{name} {words[0]}", command.parts[words[0]], words[1:])
    if command.config:
        from vla3d.commands.composition import compose

        _refuse_misspelt_part(name, command, words)
        words = _named(words, command.bare)
        values = compose(name, command.config, [_written_out(word, command.shorthands) for word in words])
        if values is None:  # Hydra answered by itself: help, completion, or a look at the configuration
            return 0
        load(command.function)(values)
    else:
        load(command.function)(words)
    return 0


def _refuse_misspelt_part(name: str, command: Command, words: list[str]) -> None:
    """More words without a key than the command takes, and the first is nearly one of its parts."""
    if len(_leading(words)) > len(command.bare) and difflib.get_close_matches(words[0], command.parts):
        raise unknown_name(f"part of vla3d {name}", words[0], command.parts)


def _leading(words: list[str]) -> list[str]:
    """The first words that are neither ``key=value`` nor an option. A path may hold a ``=`` once it begins like one."""
    return list(itertools.takewhile(lambda word: word.startswith(("/", "./", "../")) or not re.search("=|^-", word), words))


def _named(words: list[str], keys: Sequence[str]) -> list[str]:
    """The words with the names of these keys before the leading ones that have none."""
    bare = _leading(words[: len(keys)])
    return [*(f"{key}={quoted(word)}" for key, word in zip(keys, bare, strict=False)), *words[len(bare) :]]


def _written_out(word: str, shorthands: Mapping[str, str]) -> str:
    key, equals, value = word.partition("=")
    return f"{shorthands[key]}={value}" if equals and key in shorthands else word


def quoted(value: str) -> str:
    """A word as Hydra reads it back unchanged, whatever a path is made of."""
    if re.fullmatch(r"[\w./:+-]+", value) and not value.endswith(":"):
        return value
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", value)
    return f"'{escaped}'"


def load(function: str) -> Callable[[Any], object]:
    """Import the function behind ``"module:function"``."""
    module, attribute = function.split(":")
    found: Callable[[Any], object] = getattr(importlib.import_module(module), attribute)
    return found


def _refuse(message: str) -> int:
    """One sentence on one line, whatever line breaks a message carries."""
    print(f"vla3d: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
