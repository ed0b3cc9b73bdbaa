"""The benchmark of scene graphs: what it counts, and that it goes on where it was stopped."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scene_graph_builder.py"


def test_scenes_are_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "scenes.jsonl"
    monkeypatch.setattr(sys, "argv", ["benchmark", "--scenes", "2", "--out", str(out)])
    program = runpy.run_path(str(SCRIPT))
    program["main"]()
    first = out.read_text()
    assert "2 scenes of 2 tasks" in capsys.readouterr().out
    kept, cut = first.splitlines()
    out.write_text(f"{kept}\n{cut[:40]}")
    program["main"]()
    assert "2 scenes of 2 tasks" in capsys.readouterr().out
    assert out.read_text().splitlines()[:2] == [kept, cut[:40]], "what was done is not done again"
    records = list(program["read_records"](out).values())
    assert [record["task"] for record in records] == ["pick_and_lift", "place_in_container"]
    for record in records:
        assert record["masks"]["objects"][1:] == [0, 0] and record["masks"]["predicates"]["left_of"][0] > 0
        assert sum(record["clusters"]["lost"].values()) == record["clusters"]["objects"][2]
