"""`vla3d info`: what a bug report needs to know of this installation, or what a dataset holds."""

import argparse
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NoReturn

from vla3d import __version__
from vla3d.errors import ConfigError
from vla3d.optional import EXTRAS, available


def main(words: Sequence[str]) -> None:
    """Run the command."""
    arguments = _parser().parse_args(list(words))
    if arguments.dataset is None:
        print(describe_installation())
        return
    from vla3d.data import describe_dataset

    print(describe_dataset(arguments.dataset, verify=not arguments.no_verify))


def describe_installation() -> str:
    """Versions, platform, processors and extras, as text. It tells nothing of users, hosts, paths or the environment."""
    lines = [f"vla3d {__version__}{_commit()}", ""]
    lines += _table(
        {
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "platform": platform.platform(),
            "processor": f"{processor()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores usable",
            "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
            "GPU": _gpu(),
        }
    )
    lines += ["", "Packages:", *_table(_packages(), indent=2)]
    extras = {name: "installed" if available(name) else f"not installed: {extra.install}" for name, extra in EXTRAS.items()}
    lines += ["", "Extras:", *_table(extras, indent=2)]
    return "\n".join(lines)


class _Parser(argparse.ArgumentParser):
    """Errors in one sentence, as for every command."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see vla3d info --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vla3d info", description="Describe this installation (for a bug report), or a dataset.")
    parser.add_argument(
        "dataset", nargs="?", type=Path, help="a folder of demonstrations: of vla3d collect, or in another format it reads"
    )
    parser.add_argument("--no-verify", action="store_true", help="do not read every file to look for damage")
    return parser


def _table(rows: dict[str, str], indent: int = 0) -> list[str]:
    width = max(map(len, rows))
    return [f"{'':{indent}}{name:<{width}}  {value}" for name, value in rows.items()]


def _packages() -> dict[str, str]:
    """Installed versions of what vla3d depends on."""
    names = []
    for requirement in _requirements():
        name, _, marker = requirement.partition(";")
        if "extra" not in marker:
            names.append(name.strip().split("[")[0].split(">")[0].split("<")[0].split("=")[0].split("!")[0].strip())
    return {name: _version(name) for name in sorted(names)}


def _requirements() -> list[str]:
    try:
        return requires("vla3d") or []
    except PackageNotFoundError:  # a source tree that was never installed
        return ["torch", "mujoco", "mujoco-warp", "warp-lang", "numpy", "transformers"]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The revision of a source tree, empty for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f" (git {found.stdout.strip()})"


def processor() -> str:
    """The processor's name, or its architecture where nothing tells the name."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in _lines(cpuinfo) if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _gpu() -> str:
    try:
        import torch
    except ImportError as error:
        return f"unknown: torch cannot be imported ({error})"
    if not torch.cuda.is_available():
        return "none that torch can use"
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return (
        ", ".join(f"{device.name} ({device.total_memory / 2**30:.0f} GiB)" for device in devices)
        + f", CUDA {torch.version.cuda}"
    )
