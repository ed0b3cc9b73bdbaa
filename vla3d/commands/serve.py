"""`vla3d serve`: let a benchmark's own program ask a policy over HTTP."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vla3d.commands.building import build
from vla3d.errors import ConfigError
from vla3d.serving.config import ServeConfig

if TYPE_CHECKING:
    from vla3d.policies.base import Policy
    from vla3d.serving.http import PolicyServer


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values, until it is interrupted."""
    config = build(ServeConfig, {**values, "policy": values["policy"]["name"]})
    server = make_server(config)
    with server:
        print(
            f"Serving {server.facts['policy']} for {config.protocol} on http://{config.host}:{server.server_port}/predict",
            flush=True,
        )
        server.serve_forever(poll_interval=0.2)


def make_server(config: ServeConfig) -> "PolicyServer":
    """The server, listening; ``serve_forever`` runs it.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.optional import require
    from vla3d.serving.actor import GemBenchActor
    from vla3d.serving.http import PolicyServer

    require("msgpack")
    policy, name = _policy(config)
    actor = GemBenchActor(policy, step_limit=config.step_limit, seed=config.seed)
    return PolicyServer(
        config.host,
        config.port,
        actor,
        facts={"protocol": config.protocol, "policy": name},
        max_bytes=int(config.max_megabytes * 1e6),
        timeout=config.timeout,
    )


def _policy(config: ServeConfig) -> "tuple[Policy, str]":
    from vla3d.data.formats.rlbench_outline import WORKSPACE
    from vla3d.policies.registry import policy_class
    from vla3d.types import Workspace

    if config.policy is not None:
        cls = policy_class(config.policy)
        if hasattr(cls, "from_pretrained"):
            raise ConfigError(f"policy={config.policy} has weights; give checkpoint=RUN instead.")
        if config.policy == "scripted":
            raise ConfigError("policy=scripted reads the simulator's state, which a server does not have; take random.")
        workspace = Workspace.from_bounds(WORKSPACE["low"], WORKSPACE["high"])
        return cls(workspace=workspace), config.policy  # type: ignore[call-arg]

    from vla3d.evaluation.policies import resolve_device
    from vla3d.policies.learned import load_policy
    from vla3d.training.checkpoint import policy_directory

    assert config.checkpoint is not None
    policy = load_policy(policy_directory(config.checkpoint), map_location=resolve_device(config.device))
    return policy, policy.name
