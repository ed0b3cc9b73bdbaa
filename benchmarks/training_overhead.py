"""What the trainer costs per update beyond the plainest torch loop, in CPU time (so other load on the machine does not count).

Run: ``OMP_NUM_THREADS=1 python benchmarks/training_overhead.py [updates]``
"""

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import Trainer

BATCH = 8


class Layers(nn.Module):
    """As many small layers as asked for; the arithmetic is negligible, the number of tensors is what costs."""

    selection_metric = "loss"

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64)) for _ in range(depth)])

    def loss(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self.layers(batch).square().mean()}

    def metrics(self, batch: Tensor) -> dict[str, float]:
        return {"loss": self.layers(batch).square().mean().item()}

    def collate(self, samples: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(samples))

    def architecture(self) -> dict[str, object]:
        return {"depth": len(self.layers)}

    def save_pretrained(self, save_directory: Path) -> None:
        save_directory.mkdir()
        save_file(self.state_dict(), save_directory / "model.safetensors")


def plain_loop(model: Layers, data: Tensor, updates: int) -> None:
    """Collate, loss, gradient, clip, fused AdamW: no schedule, average, log, checks or checkpoints."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator()
    for step in range(updates):
        batch = model.collate([data[(step * BATCH + index) % len(data)] for index in range(BATCH)])
        model.loss(batch, generator)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def milliseconds(work: Callable[[], object], updates: int) -> float:
    """CPU time per update, all threads together."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / updates * 1e3


def main() -> None:
    """Print one JSON line per model size."""
    updates = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    torch.set_num_threads(1)
    data = torch.rand(500, 64)
    config = TrainerConfig(steps=updates, batch_size=BATCH, lr=1e-4, validate_every=0, save_every=0, progress=False)
    for depth in (4, 50):
        model = Layers(depth)
        plain_loop(model, data, 100)
        plain = milliseconds(lambda model=model: plain_loop(model, data, updates), updates)
        with tempfile.TemporaryDirectory() as out:
            trainer = Trainer(config, model, list(data), out=out)
            ours = milliseconds(trainer.train, updates)
        row = {"tensors": len(list(model.parameters())), "plain_ms": plain, "trainer_ms": ours, "overhead_ms": ours - plain}
        about = {
            "ratio": ours / plain,
            "torch": torch.__version__,
            "machine": platform.machine(),
            "date": date.today().isoformat(),
        }
        print(
            json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in {**row, **about}.items()})
        )


if __name__ == "__main__":
    main()
