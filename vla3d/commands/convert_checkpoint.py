"""`vla3d convert bridgevla-checkpoint`: weights of BridgeVLA's 2025 release become a policy of vla3d."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla3d.commands.building import build
from vla3d.errors import ConfigError

if TYPE_CHECKING:
    from vla3d.policies.bridgevla_v1.convert import Conversion, ConvertCheckpointConfig


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    from vla3d.policies.bridgevla_v1.convert import ConvertCheckpointConfig

    if values["source"] is None:
        raise ConfigError("Got no checkpoint, expected a file or folder: vla3d convert bridgevla-checkpoint SRC DST.")
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    folders = {key: str(values[key]) for key in ("source", "out", "tokenizer") if values[key] is not None}
    convert(build(ConvertCheckpointConfig, {**values, **lists, **folders}))


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
