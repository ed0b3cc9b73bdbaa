"""The page of the predicates: docs/predicates.md, written from the table in `vla3d.scene_graphs.predicates.table`.

python benchmarks/predicate_page.py [--out docs]
"""

import argparse
from dataclasses import fields
from pathlib import Path

from vla3d.scene_graphs.predicates.table import APPLIES, PREDICATES, Predicate
from vla3d.scene_graphs.predicates.tolerances import Tolerances

COMMAND = "python benchmarks/predicate_page.py"

INTRODUCTION = f"""# Predicates

What the edges and states of a [scene graph](scene_graphs.md) say. Each is decided by geometry and stated tolerances; no
language model takes part. A predicate is **true**, **false** or **undecided**: where a measured value lies inside a tolerance
band, the answer is undecided and the graph gets no edge. Several conditions are joined by three-valued logic (Kleene): false if
one is false, true if all are true, undecided otherwise.

Written by `{COMMAND}` from the table in `vla3d.scene_graphs.predicates.table`.

## Conventions

- **Gravity** points along -z; heights are along z.
- **Left, right, in front, behind** refer to a viewpoint: a level direction in which somebody looks. The default is the robot
  base, looking along x with y to its left. `Viewpoint.of_viewer(T_world_viewer)` takes a pose instead (x right, y down, z
  forward), levelled. *In front of* means nearer to the viewer along that direction. Lines of sight count as parallel, so these
  relations are transitive.
- **Boxes** are oriented: footprints are clipped as polygons, distances of upright boxes are exact. A box within 2 degrees of
  upright counts as upright. For tilted boxes, footprints and volumes are those of the upright prism around their shadow, and
  distances are lower bounds (the larger of the prisms' distance and the widest gap along fifteen separating axes) that are 0
  exactly where boxes overlap or touch.
- A box counts as solid. What stands in a tray therefore touches it.
- A part and the whole that it belongs to are not asked whether they touch, hold or stand on each other: `part_of` says how they
  belong together.
- An object whose box may be too small because it was partly hidden is marked `incomplete`; its relations are those of the box,
  except where the table says otherwise.
"""


def page() -> str:
    """The text of docs/predicates.md."""
    parts = [INTRODUCTION, "## Table\n", table(), "## Laws\n", laws(), "## Bands\n", bands(), "## Between what\n"]
    return "\n".join([*parts, "\n".join(f"- *{name}*: {words}" for name, words in APPLIES.items()), ""])


def table() -> str:
    """A row for each predicate."""
    rows = ["| predicate | true when | bands | frame | between |", "|---|---|---|---|---|"]
    for predicate in PREDICATES.values():
        used = ", ".join(predicate.bands)
        rows.append(f"| `{predicate.name}` | {predicate.definition} | {used} | {predicate.frame} | {predicate.applies} |")
    return "\n".join(rows) + "\n"


def laws() -> str:
    """What each predicate promises; the tests hold it to that."""
    rows = ["| predicate | law |", "|---|---|"]
    rows += [f"| `{predicate.name}` | {promises(predicate)} |" for predicate in PREDICATES.values() if not predicate.unary]
    return "\n".join(rows) + "\n"


def promises(predicate: Predicate) -> str:
    """The laws of one predicate in words."""
    said = ["never of a thing and itself", "symmetric" if predicate.symmetric else "never both ways round"]
    if predicate.converse is not None:
        said.append(f"converse of `{predicate.converse}`")
    if predicate.transitive:
        said.append("transitive")
    said += [f"implies `{name}`" for name in predicate.implies]
    return "; ".join(said)


def bands() -> str:
    """The default tolerances."""
    usual, words = Tolerances(), descriptions()
    rows = ["| band | what is measured | true |", "|---|---|---|"]
    rows += [
        f"| {field.name} | {words[field.name]} | {getattr(usual, field.name).describe()} |" for field in fields(Tolerances)
    ]
    return "\n".join(rows) + "\n"


def descriptions() -> dict[str, str]:
    """What each band measures, from the docstring."""
    found: dict[str, str] = {}
    text = (Tolerances.__doc__ or "").split("Attributes:")[1].split("Raises:")[0]
    for line in text.splitlines():
        name, colon, words = line.strip().partition(": ")
        if colon and name.isidentifier():
            found[name] = words.rstrip(".")
            last = name
        elif line.strip():
            found[last] += " " + line.strip().rstrip(".")
    return found


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    options = parser.parse_args()
    (options.out / "predicates.md").write_text(page())
    print(f"{options.out / 'predicates.md'}: {len(PREDICATES)} predicates")


if __name__ == "__main__":
    main()
