"""The benchmark of grounding: what its table says of rows."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def row(start: str, seed: int, right: float) -> dict[str, object]:
    accuracy = {name: {"0.25": right, "0.5": right} for name in ("overall", "unique", "multiple")}
    limit = {"0.25": 1.0, "0.5": 0.9}
    return {"start": start, "share": 10, "seed": seed, "phrases": 100, "limit": limit, "accuracy": accuracy}


def test_gains_are_those_of_seeds_with_both_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    program = runpy.run_path(str(BENCHMARKS / "scene_graph_grounding.py"))
    rows = [
        row("pretrained", 0, 0.7),
        row("fresh", 0, 0.5),
        row("pretrained", 1, 0.6),
        row("fresh", 1, 0.64),
        row("fresh", 2, 0.9),
    ]
    lines = program["report"](rows).splitlines()
    assert lines[-1] == "    10%  Acc@0.5, pretrained over fresh: +8.0 points (each seed: +20.0, -4.0)"
    assert any(line.split()[:4] == ["10%", "pretrained", "2", "65.0"] for line in lines)
    assert lines[-2] == "" and len(list(program["gains"](rows[:1]))) == 0
