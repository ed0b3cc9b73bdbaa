"""Policies with weights: what the trainer, the checkpoint and a rollout need from them."""

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vla3d.data.samples import KeyframeSample
from vla3d.errors import CheckpointError
from vla3d.policies.base import Decision, Policy
from vla3d.policies.registry import policy_class
from vla3d.policies.released import released_policies
from vla3d.types import Observation

CONFIG_FILE = "policy.json"
WEIGHTS_FILE = "model.safetensors"
_CONTRACT = ("name", "selection_metric")


class LearnedPolicy(nn.Module, Policy):
    """A policy that is trained; subclasses name themselves and the validation metric (lower is better) that picks checkpoints.

    Everything that shapes the input (cameras, workspace, resolutions, normalisation, tokenizer) is part of the configuration
    saved next to the weights, so training and rollout cannot differ.
    """

    name: ClassVar[str]
    selection_metric: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        missing = [field for field in _CONTRACT if not isinstance(getattr(cls, field, None), str)]
        if missing:
            raise TypeError(f"{cls.__name__} must set the class attributes {', '.join(missing)}")

    @classmethod
    @abstractmethod
    def from_config(cls, values: Mapping[str, Any], *, sentences: Sequence[str], seed: int) -> Self:
        """A new policy with fresh weights.

        Args:
            values: its configuration as plain values.
            sentences: the instructions it will be trained on.
            seed: of the initial weights.

        Raises:
            ConfigError: for unknown keys or values that do not fit.
            InstructionError: the policy cannot read one of the sentences.
        """

    @classmethod
    def check_config(cls, values: Mapping[str, Any]) -> None:
        """Refuse a configuration that ``from_config`` would refuse, before anything is built or collected.

        Raises:
            ConfigError: for unknown keys or values that do not fit.
        """

    @property
    @abstractmethod
    def required_cameras(self) -> tuple[str, ...]:
        """Cameras that every observation must have."""

    @abstractmethod
    def prepare(self, sample: KeyframeSample) -> Any:
        """Shrink a sample to what training needs of it; deterministic, done once per sample."""

    @abstractmethod
    def collate(self, samples: Sequence[Any]) -> Any:
        """Stack prepared samples into a batch."""

    @abstractmethod
    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalar losses; ``"loss"`` is the one to minimise. All randomness comes from ``generator``."""

    def frozen_first(self) -> Iterable[str]:
        """Names of the parameters that wait for the trainer's first ``freeze_steps`` updates; by default there are none."""
        return ()

    @abstractmethod
    def metrics(self, batch: Any) -> dict[str, float]:
        """Means over the batch of what validation reports; those over some of its samples as `batch_mean.MeanOf`."""

    @torch.no_grad()
    def decide(self, observations: Sequence[Observation]) -> list[Decision]:
        """What ``act`` would answer to each of several observations that have nothing to do with each other.

        One after another; a policy that can read them in one batch overrides this.

        Raises:
            ObservationError: when an observation lacks what the policy needs.
        """
        return [Decision(action=self.act(observation), explanation=self.explain()) for observation in observations]

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """What must agree for weights to fit, JSON-able."""

    @abstractmethod
    def _save_parts(self, directory: Path) -> dict[str, Any]:
        """Write what is not weights (a tokenizer) and return the configuration to store, JSON-able."""

    @classmethod
    @abstractmethod
    def _load_parts(cls, directory: Path, config: Mapping[str, Any]) -> Self:
        """Build the policy, with fresh weights, from what ``_save_parts`` wrote."""

    def save_pretrained(self, save_directory: Path | str, *, dtype: torch.dtype | None = None) -> None:
        """Write the configuration, the weights and what else is needed to use the policy into a folder; no pickle.

        Args:
            save_directory: the folder.
            dtype: of the stored weights, for smaller files; None keeps them as they are. They are loaded as before.
        """
        directory = Path(save_directory)
        directory.mkdir(parents=True, exist_ok=True)
        weights = {key: _stored(value, dtype) for key, value in self.state_dict().items()}
        write_policy(directory, self.name, self._save_parts(directory), weights)

    @classmethod
    def from_pretrained(cls, source: Path | str, *, map_location: str = "cpu") -> Self:
        """Open a policy for acting.

        Args:
            source: a folder that ``save_pretrained`` wrote, the name of a policy that comes with vla3d, or ``owner/name`` on
                the Hugging Face Hub.
            map_location: torch device.

        Raises:
            CheckpointError: it is missing, damaged, another policy's, or of another architecture.
        """
        directory = _local_directory(str(source))
        stored = read_policy_config(directory)
        if stored["policy"] != cls.name:
            raise CheckpointError(
                f"{directory} holds a {stored['policy']!r} policy, expected {cls.name!r}; load_policy() opens any checkpoint."
            )
        policy = cls._load_parts(directory, stored["config"])
        load_weights(policy, directory / WEIGHTS_FILE)
        return policy.to(map_location).eval()

    def push_to_hub(self, repo_id: str, *, private: bool = True) -> None:
        """Upload the policy to the Hugging Face Hub (needs a login there)."""
        from huggingface_hub import HfApi

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api = HfApi()
            api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder)


def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    return value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()


def _local_directory(model_id: str) -> Path:
    directory = Path(model_id)
    if directory.is_dir():
        return directory
    released = released_policies()
    if model_id in released:
        return released[model_id]
    if "/" not in model_id or directory.is_absolute() or model_id.startswith("."):
        names = ", ".join(released) or "none"
        raise CheckpointError(
            f"No checkpoint at {model_id!r}: expected a directory with {CONFIG_FILE} and {WEIGHTS_FILE}, or one that comes "
            f"with vla3d ({names})."
        )
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model_id))


def write_policy(directory: Path, name: str, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a policy's name, configuration and weights, as ``from_pretrained`` reads them beside what ``_save_parts`` wrote.

    Args:
        directory: an existing folder.
        name: registered name of the policy.
        config: JSON-able.
        weights: contiguous tensors on the CPU.
    """
    stored = {"policy": name, "config": config}
    (directory / CONFIG_FILE).write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    save_file(dict(weights), directory / WEIGHTS_FILE)


def read_policy_config(directory: Path) -> dict[str, Any]:
    """The stored name and configuration of a policy.

    Raises:
        CheckpointError: when the directory holds no readable policy configuration.
    """
    path = directory / CONFIG_FILE
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"No policy in {directory}: {CONFIG_FILE} cannot be read ({error}).") from error
    if not isinstance(stored, dict) or not {"policy", "config"} <= stored.keys():
        raise CheckpointError(f"{path} is not a vla3d policy configuration: expected the keys 'policy' and 'config'.")
    return stored


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights {path} cannot be read ({error}). Train again or take another checkpoint."
        ) from error


def load_weights(policy: nn.Module, path: Path) -> None:
    """Load weights that must fit exactly.

    Raises:
        CheckpointError: when the file is missing, damaged, or of another architecture.
    """
    weights = read_weights(path)
    expected = {key: tuple(value.shape) for key, value in policy.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in weights.items()}
    different = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
    if different:
        key = different[0]
        raise CheckpointError(
            f"The weights {path} are of another architecture: {len(different)} tensors differ, the first is {key!r}, "
            f"got {got.get(key)}, expected {expected.get(key)}. Use the configuration the checkpoint was trained with."
        )
    policy.load_state_dict(weights)


def load_policy(source: Path | str, map_location: str = "cpu") -> LearnedPolicy:
    """Open a policy, whichever class it is.

    Args:
        source: see ``LearnedPolicy.from_pretrained``.
        map_location: torch device.

    Raises:
        CheckpointError: when it cannot be opened.
        ConfigError: when its policy is not installed.
    """
    directory = _local_directory(str(source))
    cls = policy_class(read_policy_config(directory)["policy"])
    if not issubclass(cls, LearnedPolicy):
        raise CheckpointError(f"{directory} names the policy {cls.__name__}, which has no weights to load.")
    return cls.from_pretrained(str(directory), map_location=map_location)
