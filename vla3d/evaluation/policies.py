"""Which policy an evaluation runs, and how each process gets its own."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vla3d.envs.base import KeyframeEnv
from vla3d.errors import ConfigError
from vla3d.evaluation.config import RolloutConfig
from vla3d.policies.base import Policy
from vla3d.policies.registry import policy_class

if TYPE_CHECKING:
    from vla3d.policies.learned import LearnedPolicy
    from vla3d.scene_graphs.building.builder import BuilderConfig


def checkpoint_digest(directory: Path) -> str:
    """SHA-256 over the names and contents of a saved policy's files: two checkpoints agree only if they act alike."""
    digest = hashlib.sha256()
    for root, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            path = Path(root, name)
            digest.update(f"{path.relative_to(directory)}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def resolve_device(device: str) -> str:
    """The torch device that ``"auto"`` means here; any other name is handed on."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def policy_name(config: RolloutConfig) -> str:
    """Registered name of the policy.

    Raises:
        ConfigError: for an unknown name, or one that needs a checkpoint.
        CheckpointError: when the checkpoint holds no policy.
    """
    if config.policy is not None:
        cls = policy_class(config.policy)
        if hasattr(cls, "from_pretrained"):
            raise ConfigError(f"policy={config.policy} has weights; give checkpoint=RUN instead.")
        return config.policy
    assert config.checkpoint is not None
    from vla3d.policies.learned import read_policy_config

    return str(read_policy_config(config.checkpoint)["policy"])


class PolicySource:
    """Makes the policy for an environment; one with weights is loaded once per process."""

    def __init__(self, config: RolloutConfig) -> None:
        self._config = config
        self._loaded: LearnedPolicy | None = None

    def for_env(self, env: KeyframeEnv) -> Policy:
        """The policy to run in ``env``, verified where that is asked for. A class without weights is built from the workspace.

        Raises:
            ConfigError: the policy was trained with a camera that the environment lacks, or reads no scene graph where one is
                to be controlled.
        """
        policy, verify = self._plain(env), self._config.verify
        if not verify.enabled:
            return policy
        from vla3d.policies.verified.policy import VerifiedPolicy

        return VerifiedPolicy(policy, verify, workspace=env.workspace, builder=_builder_for(env))

    def _plain(self, env: KeyframeEnv) -> Policy:
        if self._config.policy is not None:
            bare: Policy = policy_class(self._config.policy)(workspace=env.workspace)  # type: ignore[call-arg]
            return self._controllable(bare)
        if self._loaded is None:
            from vla3d.policies.learned import load_policy

            assert self._config.checkpoint is not None
            self._loaded = load_policy(self._config.checkpoint, map_location=resolve_device(self._config.device))
        missing = [camera for camera in self._loaded.required_cameras if camera not in env.camera_names]
        if missing:
            raise ConfigError(
                f"checkpoint: its policy was trained with the camera {missing[0]!r}, {env.task} has "
                f"{', '.join(env.camera_names) or 'none'}; take a policy that was trained with these."
            )
        return self._controllable(self._loaded)

    def _controllable(self, policy: Policy) -> Policy:
        if self._config.graph != "none" and not policy.reads_graph:
            raise ConfigError(
                f"graph: got {self._config.graph}, but {policy_name(self._config)} as it was made reads no scene graph; leave "
                "graph=none, or take a policy that was trained with policy.graph.enabled=true."
            )
        return policy


def _builder_for(env: KeyframeEnv) -> "BuilderConfig":
    """How an environment's views become a graph: the tabletop's furniture is known, that of others is not."""
    from vla3d.envs.tabletop.env import TabletopEnv
    from vla3d.envs.tabletop.scene_nodes import SLIDES
    from vla3d.scene_graphs.building.builder import BuilderConfig

    return BuilderConfig(slides=SLIDES if isinstance(env, TabletopEnv) else {})
