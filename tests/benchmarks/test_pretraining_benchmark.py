"""The benchmark of pre-training: what its table says of rows."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("retrieval_r1", "word_object_accuracy", "masked_category_accuracy", "contrast_accuracy", "composition_accuracy")


def row(variant: str, seed: int, right: float) -> dict[str, object]:
    measured = dict.fromkeys(NAMES, right)
    return {"variant": variant, "seed": seed, "scenes": 9, "steps": 9, "texts": 100, "retrieval_chance": 0.01, **measured}


def test_gains_are_over_seeds_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    program = runpy.run_path(str(BENCHMARKS / "scene_graph_pretraining.py"))
    rows = [row("full", 0, 0.8), row("full", 1, 0.2), row("texts", 0, 0.5), row("blind", 2, 0.1)]
    lines = program["report"](rows).splitlines()
    assert any(line.split()[:3] == ["full", "2", "50.0%"] for line in lines)
    assert "composition accuracy, full over texts (seeds 0): +30.0 points" in lines
    assert not [line for line in lines if "over blind" in line or "over in_batch" in line]
