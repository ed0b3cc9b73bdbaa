"""Sharing the rows of a batch among Python threads, since Warp runs a CPU kernel on one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_shares(rows: int, device: torch.device, work: Callable[[slice], None], most: int) -> None:
    """Do ``work(rows)`` for all rows of a batch: on CUDA in one piece, on a CPU in one piece for each of torch's threads.

    Warp lets go of the interpreter while a kernel runs, so the pieces run at the same time.

    Args:
        rows: of the batch.
        device: where the work is done.
        work: computes the rows of a slice and writes nothing outside them. It runs without gradients, and it may not write with
            torch into tensors from outside, which inference mode forbids in other threads; kernels may.
        most: rows that a piece may have, for kernels that count in 32 bits.
    """
    threads = min(torch.get_num_threads(), rows) if device.type == "cpu" else 1
    step = max(1, min(-(-rows // max(threads, 1)), most))
    shares = [slice(begin, min(begin + step, rows)) for begin in range(0, rows, step)]
    if threads <= 1:
        for share in shares:
            work(share)
        return
    # Whether torch records gradients is a setting of each thread.
    recording_nothing = torch.no_grad()(work)
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(recording_nothing, share) for share in shares[1:]]
        recording_nothing(shares[0])
    for done in others:
        done.result()
