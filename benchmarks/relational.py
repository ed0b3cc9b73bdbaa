"""Does a policy that grounds its sentence in a scene graph follow relations, and does it know when nothing stands so?

    python benchmarks/relational.py --seeds 0 1 2
    python benchmarks/relational.py --seeds 0 --set policy.graph.pretrained=runs/pretrain/checkpoints/best/policy
    python benchmarks/relational.py --seeds 0 --task pick_and_lift --parts trained      # another task, which has no relations

Two policies are trained on the same demonstrations: with the graph and without. Both are run on relations of the training set
and on those held out (factor ``unseen_relations``), and where the sentence asks for what is not there (control ``absent``); the
one with the graph also with nothing grounded, with another thing grounded, and with what the expert would act on.
Recipes are chosen on other scenes (``vla3d rollout seed=1000``) and on validation demonstrations.
Every run lies under ``--out`` and goes on where it was stopped; ``OUT/rows.jsonl`` holds a line for each row and training seed,
and those that it holds are not measured again.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from learning import line, machine, total, train, vla3d
from rows import complete

from vla3d.evaluation.results import EpisodeRecord, RolloutFolder

EXPERIMENTS = {"graph": "relational", "no graph": "relational_no_graph"}
PARTS = {
    "trained": (),
    "held out": ("factors=[unseen_relations]",),
    "absent": ("control=absent",),
    "absent, held out": ("control=absent", "factors=[unseen_relations]"),
}
GRAPHS = ("none", "empty", "shuffled", "oracle")
PRESENT = {"absent": "trained", "absent, held out": "held out"}
"""Which part tells how the policy scores sentences of which something is there."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a policy, what it is asked, and what is done to its graph."""

    policy: str
    part: str
    graph: str = "none"

    @property
    def name(self) -> str:
        """As the table and the folder call it."""
        return ", ".join([self.policy, self.part, *([] if self.graph == "none" else [self.graph])])


def main() -> None:
    """Train what is missing, evaluate what is missing, print one table."""
    options = parse()
    wanted = [
        {"seed": seed, **asdict(row), **settings(options)}
        for seed in options.seeds
        for policy in EXPERIMENTS
        for row in rows(options.parts)
        if row.policy == policy
    ]
    print(table(complete(options.out / "rows.jsonl", wanted, partial(measure, options)), options))


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What every row depends on besides what it is about."""
    return {
        "task": options.task, "demos": options.demos, "steps": options.steps, "changes": options.set, "scenes": options.scenes,
        "episodes": options.episodes,
    }  # fmt: skip


def measure(options: argparse.Namespace, *, seed: int, policy: str, part: str, graph: str, **_: object) -> dict[str, Any]:
    """Train the policy of a row, or go on, and roll it out, or go on."""
    run = options.out / run_name(options, EXPERIMENTS[policy], seed)
    steps = [f"steps={options.steps}"] if options.steps else []
    trained(run, EXPERIMENTS[policy], seed, options.task, options.demos, (*options.set, *steps))
    folder = roll_out(run, Row(policy, part, graph), options)
    found = json.loads((folder / "rollout.json").read_text())["pooled"]
    return {"successes": found["successes"], "done": found["episodes"], "failures": failures(folder), "absence": scores(folder)}


@cache
def trained(run: Path, experiment: str, seed: int, task: str, demos: int, changes: tuple[str, ...]) -> None:
    """Collect what is missing and train, or go on; asked again it is there already."""
    data = run.parent / "demos"
    vla3d("collect", f"tasks=[{task}]", f"episodes={demos}", "seed=0", f"out={data}")
    train(run / "train", experiment, data, seed, f"demos.tasks=[{task}]", f"demos.episodes={demos}", *changes)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="lift_by_relation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="training seeds")
    parser.add_argument("--demos", type=int, default=100)
    parser.add_argument("--steps", type=int, help="updates; otherwise what the experiment says")
    parser.add_argument("--episodes", type=int, default=100, help="of each row and training seed")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--scenes", type=int, default=3000, help="seed of the test scenes")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to both recipes")
    parser.add_argument("--out", type=Path, default=Path("runs/relational"))
    return parser.parse_args()


def rows(parts: list[str]) -> Iterator[Row]:
    """The table's lines; the expert knows only what is there, so there is no oracle of what is absent."""
    for part in parts:
        yield Row("no graph", part)
        for graph in GRAPHS:
            if graph != "oracle" or part not in PRESENT:
                yield Row("graph", part, graph)


def run_name(options: argparse.Namespace, experiment: str, seed: int) -> str:
    """Folder of a run: every option that changes its weights is in the name."""
    steps = f"-{options.steps}steps" if options.steps else ""
    changes = "".join(f"-{change.replace('=', '_').replace('/', '_')}" for change in options.set)
    return f"{experiment}-{options.task}-{options.demos}demos{steps}-seed{seed}{changes}"


def roll_out(run: Path, row: Row, options: argparse.Namespace) -> Path:
    """Evaluate, or finish an evaluation; its folder."""
    out = run / f"scenes{options.scenes}" / row.name.replace(", ", "-").replace(" ", "_")
    vla3d(
        "rollout",
        f"checkpoint={run / 'train'}",
        f"tasks=[{options.task}]",
        f"episodes={options.episodes}",
        f"seed={options.scenes}",
        f"graph={row.graph}",
        *PARTS[row.part],
        "videos=none",
        "report=false",
        f"out={out}",
    )
    return out


def table(found: list[Mapping[str, Any]], options: argparse.Namespace) -> str:
    """Success of every row, pooled over training seeds, with 95 % intervals, and how well absence is told."""
    changes = " ".join(options.set) or "no changes"
    lines = [
        f"\n{options.task}, {options.demos} demonstrations; training seeds {options.seeds}; scenes of seed {options.scenes}; "
        f"{changes}; {machine()}",
        "(absent: success is the answer “absent”; AUROC: how well the first decision's absence tells these from the others)",
    ]
    pooled: dict[Row, list[Mapping[str, Any]]] = {}
    for row in found:
        pooled.setdefault(Row(row["policy"], row["part"], row["graph"]), []).append(row)
    for row, seeds in pooled.items():
        rate = total([{"successes": each["successes"], "episodes": each["done"]} for each in seeds])
        lines.append(f"  {row.name:<36} {line(rate)}{absence_note(row, pooled)}")
    return "\n".join(lines)


def absence_note(row: Row, pooled: Mapping[Row, Sequence[Mapping[str, Any]]]) -> str:
    """AUROC of absence for a row of absent things, against the row of the same policy where they are there."""
    present = Row(row.policy, PRESENT.get(row.part, ""), row.graph)
    if present not in pooled:
        return ""
    from vla3d.evaluation.statistics import auroc

    judged = auroc(*([score for seed in pooled[each] for score in seed["absence"]] for each in (row, present)))
    return f"   AUROC {judged.area:.3f} [{judged.interval.low:.3f}, {judged.interval.high:.3f}]"


def episodes(folder: Path) -> Iterator[EpisodeRecord]:
    """Of a rollout."""
    store = RolloutFolder(folder)
    for path in sorted(folder.glob("episodes/*/*.json")):
        record = store.read(path.parent.name, int(path.stem))
        if record is not None:
            yield record


def failures(folder: Path) -> dict[str, int]:
    """How often each reason made an episode fail."""
    return dict(Counter(record.failure for record in episodes(folder) if record.failure is not None))


def scores(folder: Path) -> list[float]:
    """How probable the policy held it at the first decision of each episode that what is asked for is absent."""
    return [round(record.absence, 6) for record in episodes(folder) if record.absence is not None]


if __name__ == "__main__":
    main()
