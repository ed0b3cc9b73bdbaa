"""Traces each operation with sizes left open, then runs what came out on other sizes and compares."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.export import Dim

from vla3d.pointcloud import farthest_point_sampling


class Whole(torch.nn.Module):
    """An operation between two others, as in a model."""

    def __init__(self, operation: Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        result = self.operation(points * 2, lengths)
        return tuple(part + 0 for part in (result if isinstance(result, tuple) else (result,)))


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]] = {
    "farthest_point_sampling": lambda points, lengths: farthest_point_sampling(points, 16, lengths),
}


def check(module: torch.nn.Module) -> None:
    """Compile and export; both must agree with the eager module."""
    generator = torch.Generator().manual_seed(0)
    examples = [
        (torch.rand(batch, size, 3, generator=generator), torch.randint(size + 1, (batch,), generator=generator))
        for batch, size in ((2, 50), (3, 20))
    ]
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    batch, size = Dim("batch"), Dim("size")
    exported = torch.export.export(module, examples[0], dynamic_shapes=({0: batch, 1: size}, {0: batch})).module()
    for example in examples:
        expected = module(*example)
        for traced in (compiled, exported):
            for part, wanted in zip(traced(*example), expected, strict=True):
                torch.testing.assert_close(part, wanted, rtol=0, atol=0)


if __name__ == "__main__":
    for name, operation in OPERATIONS.items():
        print(name, flush=True)
        check(Whole(operation))
