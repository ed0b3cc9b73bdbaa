"""Turning lists of sample indices into batches, ahead of the step that needs them."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from types import TracebackType
from typing import Any, Protocol, Self, cast

import torch
from torch.utils.data import DataLoader, Dataset

from vla3d.training.interfaces import SizedDataset

Collate = Callable[[Sequence[Any]], Any]


class BatchSource(Protocol):
    """Batches in order; a context manager that stops its helpers on the way out."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def __iter__(self) -> Iterator[Any]: ...


def open_batches(
    dataset: SizedDataset[Any], indices: Iterable[list[int]], collate: Collate, *, num_workers: int, prefetch: int
) -> BatchSource:
    """Prepare the batches named by ``indices``, in that order.

    Args:
        dataset: the samples.
        indices: one list of sample indices per batch.
        collate: makes a batch of samples.
        num_workers: processes that prepare batches; 0 uses one background thread.
        prefetch: batches ahead (per process); with ``num_workers=0``, 0 prepares each batch when it is asked for.
    """
    if num_workers:
        return _ProcessBatches(dataset, indices, collate, num_workers, prefetch)
    return _ThreadBatches(dataset, indices, collate, prefetch)


class _ThreadBatches:
    """One thread is enough on CPU: collation spends its time in NumPy and torch, which let other threads run."""

    def __init__(self, dataset: SizedDataset[Any], indices: Iterable[list[int]], collate: Collate, prefetch: int) -> None:
        self._dataset = dataset
        self._indices = indices
        self._collate = collate
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=max(1, prefetch))
        if prefetch:
            self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def __iter__(self) -> Iterator[Any]:
        if self._thread is None:
            yield from map(self._prepare, self._indices)
            return
        while True:
            kind, value = self._ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value

    def _prepare(self, indices: list[int]) -> Any:
        return self._collate([self._dataset[index] for index in indices])

    def _fill(self) -> None:
        try:
            for indices in self._indices:
                if not self._put("batch", self._prepare(indices)):
                    return
            self._put("end", None)
        except BaseException as error:  # raised again where the batch is asked for
            self._put("error", error)

    def _put(self, kind: str, value: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


class _ProcessBatches:
    """torch's DataLoader with our order; its own generator keeps it from drawing on the global one."""

    def __init__(
        self, dataset: SizedDataset[Any], indices: Iterable[list[int]], collate: Collate, num_workers: int, prefetch: int
    ) -> None:
        self._batches = iter(
            DataLoader(
                cast(Dataset[Any], dataset),
                batch_sampler=list(indices),
                collate_fn=collate,
                num_workers=num_workers,
                prefetch_factor=max(1, prefetch),
                generator=torch.Generator(),
                pin_memory=torch.cuda.is_available(),
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._batches  # its finaliser stops the processes

    def __iter__(self) -> Iterator[Any]:
        return self._batches


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor in nested dicts, lists, tuples and dataclasses; other values pass unchanged."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        values = {field.name: to_device(getattr(batch, field.name), device) for field in fields(batch) if field.init}
        return type(batch)(**values)
    return batch.to(device) if hasattr(batch, "to") else batch
