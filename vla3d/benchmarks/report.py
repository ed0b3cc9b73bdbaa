"""Rows as a table to read, and as a plot."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from vla3d.optional import require

_SIDE_BY_SIDE = 3
_COLUMNS = ("case", "vla3d", "peer", "time", "ratio", "agree")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table; the ratio says how many times faster than the peer vla3d is."""
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS)]
    for row in rows:
        agree = {True: "yes", False: "no", None: ""}[row["agree"]]
        times = _seconds(row["ours_s"]), _seconds(row["peer_s"])
        lines.append((row["case"], times[0], row["peer"], times[1], f"{row['ratio']:.2f}", agree))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(rows: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Time against size, one picture for each operation, as PNG.

    Raises:
        MissingExtraError: without matplotlib.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    ops = sorted({row["op"] for row in rows})
    columns = min(len(ops), _SIDE_BY_SIDE)
    figure = Figure(figsize=(5 * columns, 4 * -(-len(ops) // columns)), layout="constrained")
    places = figure.subplots(-(-len(ops) // columns), columns, squeeze=False).flat
    for op, axes in zip(ops, places, strict=False):
        of_op = [row for row in rows if row["op"] == op]
        lines = {"vla3d": {row["size"]: row["ours_s"] for row in of_op}}
        for row in of_op:
            lines.setdefault(row["peer"], {})[row["size"]] = row["peer_s"]
        for name, times in lines.items():
            emphasis = {"color": "black", "linewidth": 2.5} if name == "vla3d" else {"linewidth": 1.2}
            axes.loglog(sorted(times), [times[size] for size in sorted(times)], marker="o", label=name, **emphasis)
        axes.set(title=op, xlabel="pixels a side" if op == "lift" else "points", ylabel="seconds")
        axes.grid(alpha=0.3)
        axes.legend()
    for unused in places:
        unused.remove()
    figure.suptitle(title)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=130)
    return picture.getvalue()


def _seconds(value: float) -> str:
    """Three digits, in the unit that fits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"
