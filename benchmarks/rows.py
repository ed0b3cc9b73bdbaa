"""Rows of a benchmark kept in a file, one line of JSON each: what the file holds is not measured again."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def complete(path: Path, wanted: Iterable[Row], measure: Callable[..., Row]) -> list[Row]:
    """Every wanted row; those that the file lacks are measured, printed (without their lists) and added to it.

    Args:
        path: of the file; it need not exist.
        wanted: what tells each row apart, by name.
        measure: takes one of these as keyword arguments and returns what was found.

    Returns:
        What tells it apart and what was found, for each wanted row, in their order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for key in wanted:
        row = next((row for row in read_rows(path) if key.items() <= row.items()), None)
        if row is None:
            row = {**key, **measure(**key)}
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps({name: value for name, value in row.items() if not isinstance(value, list)}), flush=True)
        rows.append(row)
    return rows


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a line that was cut off is none."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
