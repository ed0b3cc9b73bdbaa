"""The benchmark of relations: rows that are there are not measured again, and seeds are pooled."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_rows_of_a_file_make_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    arguments = ["--seeds", "0", "1", "--parts", "trained", "absent", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    program = runpy.run_path(str(BENCHMARKS / "relational.py"))
    options = program["parse"]()

    def measured(seed: int, row: Any) -> dict[str, Any]:
        absent = row.part == "absent"
        told = {"successes": 90 + seed, "done": 100, "failures": {}, "absence": [0.9, 0.8 - seed] if absent else [0.1, 0.2]}
        return {"seed": seed, **program["asdict"](row), **program["settings"](options), **told}

    rows = [measured(seed, row) for seed in (0, 1) for row in program["rows"](options.parts)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    program["main"]()
    printed = capsys.readouterr().out
    lines = {line[2:38].rstrip(): line for line in printed.splitlines() if line.startswith("  ")}
    assert set(lines) == {row.name for row in program["rows"](options.parts)}
    assert "181/200" in lines["graph, trained"] and "AUROC" not in lines["graph, trained"]
    assert "AUROC 0.750" in lines["graph, absent"], "pooled over seeds: one of four absent scores is below every present one"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"], "nothing was trained"
