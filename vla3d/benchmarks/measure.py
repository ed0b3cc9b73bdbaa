"""Timing programs in turns, so that whatever else the machine does falls on all of them."""

import statistics
import time
from typing import Any

import torch

from vla3d.benchmarks.cases import Case

_BANDWIDTH_BYTES = 1 << 30
FLOOR = "memory floor"


def measure(case: Case, repeats: int, patience: float, device: torch.device) -> list[dict[str, Any]]:
    """One row for each peer of a case.

    Each program runs once before, and its answer is compared with ours.

    Args:
        case: the task.
        repeats: how often each is timed; the median counts.
        patience: seconds after which a program is not timed again.
        device: what must be idle when a clock is read.
    """
    contestants = (case.ours, *case.peers)
    answers = {one.name: one.answer(one.run()) for one in contestants}
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    for _ in range(repeats):
        for one in contestants:
            if sum(seconds[one.name]) <= patience:
                seconds[one.name].append(_timed(one.run, device))
    ours = statistics.median(seconds[case.ours.name])
    rows = []
    for peer in case.peers:
        theirs = statistics.median(seconds[peer.name])
        agree = case.agreement(peer, answers[case.ours.name].cpu(), answers[peer.name].cpu())
        rows.append(_row(case, ours, peer.name, theirs, agree, len(seconds[peer.name])))
    if device.type == "cuda":
        rows.append(_row(case, ours, FLOOR, case.touched / bandwidth(device), None, 1))
    return rows


def bandwidth(device: torch.device) -> float:
    """Bytes per second that a plain copy reads and writes."""
    source = torch.zeros(_BANDWIDTH_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = min(_timed(lambda: target.copy_(source), device) for _ in range(10))
    return 2 * _BANDWIDTH_BYTES / best


def _timed(run: Any, device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _row(case: Case, ours: float, peer: str, theirs: float, agree: bool | None, repeats: int) -> dict[str, Any]:
    return {
        "op": case.op,
        "case": case.name,
        "size": case.size,
        "ours_s": ours,
        "peer": peer,
        "peer_s": theirs,
        "ratio": theirs / ours,
        "agree": agree,
        "repeats": repeats,
    }
