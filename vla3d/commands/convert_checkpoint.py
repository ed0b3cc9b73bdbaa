"""`vla3d convert bridgevla-checkpoint`: weights of BridgeVLA's 2025 release become a policy of vla3d."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla3d.commands.building import build
from vla3d.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from vla3d.policies.bridgevla_v1.convert import Conversion, ConvertCheckpointConfig


def choose(words: Sequence[str]) -> None:
    """Say what can be converted: `vla3d convert` without one of its parts.

    Raises:
        ConfigError: nothing or something unknown was asked for.
    """
    from vla3d.cli import COMMANDS

    parts = COMMANDS["convert"].parts
    if words and words[0] in ("-h", "--help"):
        width = max(map(len, parts))
        lines = [f"  {name:<{width}}  {part.purpose}" for name, part in parts.items()]
        print("\n".join(["usage: vla3d convert WHAT SRC DST [key=value ...]", "", "What:", *lines]))
    elif words:
        raise unknown_name("conversion", words[0], parts)
    else:
        raise ConfigError(f"Got nothing to convert, expected vla3d convert WHAT SRC DST with {', '.join(parts)} for WHAT.")


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    from vla3d.policies.bridgevla_v1.convert import ConvertCheckpointConfig

    if values["source"] is None:
        raise ConfigError("Got no checkpoint, expected a file or folder: vla3d convert bridgevla-checkpoint SRC DST.")
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    convert(build(ConvertCheckpointConfig, {**values, **lists}))


def convert(config: "ConvertCheckpointConfig") -> "Conversion":
    """Convert, print what became of the keys, and where the policy lies.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.policies.bridgevla_v1.convert import REPORT_FILE, convert_checkpoint

    conversion = convert_checkpoint(config)
    print("\n".join(conversion.summary))
    if conversion.policy is None:
        print("A dry run: nothing was written.")
        return conversion
    print(f"\n{conversion.policy}\n{Path(conversion.policy, REPORT_FILE)}")
    if conversion.kind == "fine-tuned":
        print(f"Use it on scenes inside its workspace: vla3d rollout checkpoint={conversion.policy}")
    else:
        print("Its action heads are untrained. Train from it with:")
        print(f"vla3d train policy=bridgevla_v1 policy.pretrained={conversion.policy}")
    return conversion
