"""The processes of a run and their device, through accelerate."""

import atexit
import os
from typing import TypeVar

import accelerate  # type: ignore[import-untyped]
import torch
from accelerate.utils import (  # type: ignore[import-untyped]
    DistributedDataParallelKwargs,
    DistributedType,
    gather_object,
)
from torch import Tensor, nn

from vla3d.errors import ConfigError

Value = TypeVar("Value")
_PLAIN = {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}


def is_main_process() -> bool:
    """Whether this process is the one that talks to the user; known before any process group exists."""
    return int(os.environ.get("RANK", "0")) == 0


class Processes:
    """One process, or replicas that average their gradients (DistributedDataParallel).

    ``torchrun`` or ``accelerate launch`` decide how many; the GPU is used when there is one. The test suite covers one and two
    CPU processes; the GPU path has not been run yet.

    Args:
        find_unused_parameters: let replicas train a model of which some weights get no gradient.

    Attributes:
        device: of this process.
        rank: of this process.
        count: number of processes.

    Raises:
        ConfigError: when launched for sharded training.
    """

    def __init__(self, *, find_unused_parameters: bool = False) -> None:
        unused = DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters)
        # accelerate's mixed precision is process-wide state; the engine's autocast is not.
        self._accelerator = accelerate.Accelerator(
            cpu=not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[unused]
        )
        kind = self._accelerator.distributed_type
        if kind not in _PLAIN:
            raise ConfigError(
                f"Launched with {kind.value}, expected one process or plain data parallelism. "
                f"Launch with torchrun, or answer 'no' to FSDP and DeepSpeed in accelerate config."
            )
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        if self.count > 1:
            atexit.register(_leave)

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def replicate(self, module: nn.Module) -> nn.Module:
        """A module whose ``forward`` averages gradients over the processes."""
        replicated: nn.Module = self._accelerator.prepare_model(module)
        return replicated

    def release(self) -> None:
        """Let go of replicated modules, so that they can be replicated anew; the caller drops its own references first."""
        self._accelerator.free_memory()  # also collects garbage, and with it the hooks that replicas left on the weights

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        self._accelerator.backward(loss)

    def gather(self, value: Value) -> list[Value]:
        """Every process's value, by rank, on every process."""
        return [value] if self.count == 1 else gather_object([value])

    def wait(self) -> None:
        """Go on when every process is here."""
        self._accelerator.wait_for_everyone()


def _leave() -> None:
    """Stop the threads that talk to other processes; one that still runs when the interpreter goes aborts the process."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
