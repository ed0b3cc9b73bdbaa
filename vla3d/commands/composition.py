"""From words on a command line to plain values: Hydra composes, and none of its types get any further."""

import contextlib
import difflib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vla3d.errors import ConfigError, unknown_name

CONFIG_PATH = "pkg://vla3d.configs"
# Hydra lets some of its own ValueErrors through (a key below a list, for example): while it composes, they are the user's too.
_HYDRA_ERRORS = (HydraException, OmegaConfBaseException, ValueError)
_MULTIRUN = ("-m", "--multirun", "hydra.mode=MULTIRUN")


@dataclass(frozen=True)
class Composition:
    """What Hydra made of a command line: the values, and the groups with what was chosen in each."""

    values: dict[str, Any]
    groups: tuple[str, ...]


def compose(name: str, config: str, words: Sequence[str]) -> dict[str, Any] | None:
    """Compose a root configuration with the words of a command line.

    Args:
        name: the sub-command, for messages.
        config: the root YAML's name.
        words: overrides (``key=value``) and Hydra's flags.

    Returns:
        Plain values, or None when Hydra has already answered (help, completion, ``--cfg``).

    Raises:
        ConfigError: one sentence on what is wrong with the command line.
    """
    if any(word in _MULTIRUN for word in words):
        loop = f"for s in 0 1 2; do vla3d {name} seed=$s; done"
        raise ConfigError(f"Got several runs at once, expected one; loop in the shell: {loop}")
    try:
        composition = _compose(name, config, words)
    except ConfigError:
        raise
    except _HYDRA_ERRORS as error:
        raise _explain(error, name, config, words) from error
    return None if composition is None else composition.values


def _compose(name: str, config: str, words: Sequence[str]) -> Composition | None:
    found: list[Composition] = []

    def keep(composed: DictConfig) -> None:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        assert isinstance(values, dict)
        groups = tuple(group for group in HydraConfig.get().runtime.choices if not group.startswith("hydra/"))
        found.append(Composition(values={str(key): value for key, value in values.items()}, groups=groups))

    program = hydra.main(version_base="1.3", config_path=CONFIG_PATH, config_name=config)(keep)
    with _as_program(words), _argument_errors(name):
        program()
    return found[0] if found else None


@contextlib.contextmanager
def _as_program(words: Sequence[str]) -> Iterator[None]:
    """Let Hydra read these words as its own, and hand its errors on instead of printing them."""
    arguments, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [arguments[0], *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = arguments
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


@contextlib.contextmanager
def _argument_errors(name: str) -> Iterator[None]:
    """Turn argparse's two lines and exit into one sentence; everything else on stderr is passed on."""
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            yield
    except SystemExit as ended:
        text = captured.getvalue()
        if not ended.code:
            sys.stderr.write(text)
        elif "error: " in text:
            raise ConfigError(f"{text.rsplit('error: ', 1)[1].strip()}; see vla3d {name} --help.") from ended
        else:
            raise ConfigError(" ".join(text.split()) or f"Hydra refused the command line; see vla3d {name} --help.") from ended
    else:
        sys.stderr.write(captured.getvalue())


# What went wrong, in one sentence


def _explain(error: Exception, name: str, config: str, words: Sequence[str]) -> ConfigError:
    help_hint = f"see vla3d {name} --help"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return unknown_name(group or "configuration", option, error.options)
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"{error.full_key} has no value; give {error.full_key}=... ({help_hint}).")
    if isinstance(error, OverrideParseException):
        return ConfigError(f"Cannot read {error.override!r}; expected key=value, and key=[a,b] for a list ({help_hint}).")
    text = str(error)
    ambiguous = re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", text)
    if ambiguous is not None:
        key, value = ambiguous.groups()
        return ConfigError(
            f"Cannot read '{key}={value}'; write {key}=[{value}] for a list, or quote it for a text with commas."
        )
    wrong = re.search(r"Could not override '([^']+)'", text)
    if wrong is not None:
        return _unknown_key(wrong[1].split("@")[0], name, config, words)
    return ConfigError(f"{' '.join(text.split()).rstrip('.')} ({help_hint}).")


def _unknown_key(key: str, name: str, config: str, words: Sequence[str]) -> ConfigError:
    """The error for a key that the configuration does not have, judged by the keys it has without it."""
    others = [word for word in words if word.lstrip("+~").split("=")[0].split("@")[0] != key]
    composition = _compose_if_possible(name, config, others) or _compose_if_possible(name, config, [])
    if composition is None:  # the YAML itself is wrong, a plugin's for example
        return ConfigError(f"Cannot compose {config}.yaml: a defaults list overrides {key!r}, which does not exist.")
    keys = sorted({*_flatten(composition.values), *composition.groups})
    # A key may be right but in another section: `lr` stands for `trainer.lr`.
    elsewhere = [known for known in keys if known.rpartition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6) or elsewhere
    parent = key.rpartition(".")[0]
    siblings = [known for known in keys if known.rpartition(".")[0] == parent]
    hint = f"Did you mean {near[0]!r}?" if near else f"Keys there: {', '.join(siblings) or 'none'}."
    return ConfigError(f"Unknown key {key!r}. {hint} (See vla3d {name} --help.)")


def _compose_if_possible(name: str, config: str, words: Sequence[str]) -> Composition | None:
    try:
        return _compose(name, config, words)
    except _HYDRA_ERRORS:
        return None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
