"""One policy for the eight tabletop tasks: trained, put through the suites, and written up as a page with pictures.

    python benchmarks/tabletop8.py                                    # collect, train, suite tabletop8
    python benchmarks/tabletop8.py --suites tabletop8 tabletop_colosseum tabletop_gembench
    python benchmarks/tabletop8.py --page docs/tabletop8.md           # and write the page from what was measured
    python benchmarks/tabletop8.py --release policies/released/tabletop8_nano    # and copy the policy there, with a card
    python benchmarks/tabletop8.py --policy tabletop8_nano            # train nothing: measure a policy that is there

Recipes are chosen on other scenes (``vla3d rollout seed=1000``) and on validation demonstrations.
Every run lies under ``--out`` and goes on where it was stopped, row by row; the same command prints the same tables again.
"""

import argparse
import json
import shutil
from datetime import date
from pathlib import Path

import torch
from learning import machine, train, vla3d
from matplotlib.figure import Figure
from model_card import write_card

from vla3d.commands.composition import compose
from vla3d.evaluation.suite_report import suite_table
from vla3d.policies.learned import load_policy
from vla3d.training.checkpoint import policy_directory

SUITES = ("tabletop8", "tabletop_colosseum", "tabletop_gembench")
TITLES = {
    "tabletop8": "The tasks as in training, on test scenes, and controls",
    "tabletop_colosseum": "One thing changed at a time: the columns of The COLOSSEUM",
    "tabletop_gembench": "The four levels of GemBench",
}


def main() -> None:
    """Train what is missing, evaluate what is missing, print the tables, write the page."""
    options = parse()
    run = options.out / f"{options.experiment}-seed{options.seed}"
    policy = options.policy or trained(run, options)
    summaries = {name: evaluate(policy, run, name, options) for name in options.suites}
    for name, summary in summaries.items():
        print(f"\n{name}; {about(summary, options)}\n{suite_table(summary)}")
    if options.page:
        write_page(options.page, summaries, options)
    if options.release:
        if Path(policy).resolve() != options.release.resolve():
            shutil.copytree(policy, options.release, dirs_exist_ok=True)
        facts = {"demos": options.demos, "experiment": options.experiment, "seed": options.seed}
        parameters = sum(weight.numel() for weight in load_policy(policy).parameters())
        write_card(options.release, summaries["tabletop8"], parameters, **facts)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="tabletop8")
    parser.add_argument("--seed", type=int, default=0, help="training seed")
    parser.add_argument("--demos", type=int, default=50, help="of each task")
    parser.add_argument("--suites", nargs="+", default=["tabletop8"], choices=SUITES)
    parser.add_argument("--scenes", type=int, default=3000, help="seed of the test scenes")
    parser.add_argument("--episodes", type=int, help="of each task and row; otherwise what the suite says")
    parser.add_argument("--policy", help="a folder, or the name of a released policy, to measure instead of training one")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--page", type=Path, help="Markdown page to write; pictures go beside it")
    parser.add_argument("--release", type=Path, help="folder to copy the policy to")
    parser.add_argument("--out", type=Path, default=Path("runs/tabletop8"))
    return parser.parse_args()


def trained(run: Path, options: argparse.Namespace) -> str:
    """Collect and train what is missing; a folder with the best weights in half precision: what is measured is released."""
    suite = compose("rollout", "rollout", ["suite=tabletop8"])
    assert suite is not None
    data, export = options.out / "demos", run / "policy"
    vla3d("collect", f"tasks=[{','.join(suite['tasks'])}]", f"episodes={options.demos}", "seed=0", f"out={data}")
    train(run / "train", options.experiment, data, options.seed, f"demos.episodes={options.demos}", *options.set)
    if not (export / "policy.json").exists():
        load_policy(policy_directory(run / "train")).save_pretrained(export, dtype=torch.float16)
    return str(export)


def evaluate(policy: str, run: Path, suite: str, options: argparse.Namespace) -> dict:
    """Run, or finish, a suite; its summary."""
    out = run / f"{suite}-scenes{options.scenes}"
    episodes = [] if options.episodes is None else [f"episodes={options.episodes}"]
    vla3d(
        "rollout",
        f"suite={suite}",
        f"checkpoint={policy}",
        f"seed={options.scenes}",
        "videos=none",
        f"out={out}",
        *episodes,
    )
    return dict(json.loads((out / "suite.json").read_text()))


def about(summary: dict, options: argparse.Namespace) -> str:
    """What a table stands on, in one line."""
    return (
        f"{options.experiment}, {options.demos} demonstrations a task, training seed {options.seed}; "
        f"{summary['episodes']} episodes a task and row on scenes of seed {options.scenes}; {machine()}"
    )


def write_page(path: Path, summaries: dict[str, dict], options: argparse.Namespace) -> None:
    """The measured suites as tables and pictures."""
    command = f"python benchmarks/tabletop8.py --suites {' '.join(summaries)} --page {path}"
    parts = [f"# One policy for eight tasks\n\nWritten by `{command}` on {date.today()}; {machine()}.\n"]
    for name, summary in summaries.items():
        picture = path.with_name(f"{name}.png")
        draw(summary, picture)
        parts.append(f"## {TITLES[name]}\n\n`suite={name}`; {about(summary, options)}. 95 % Wilson intervals.\n")
        parts.append(f"![{TITLES[name]}]({picture.name})\n\n```text\n{suite_table(summary)}\n```\n")
    path.write_text("\n".join(parts))


def draw(summary: dict, path: Path) -> None:
    """A bar and an interval for each row, one colour a group; and the mean of each task in the rows it takes part in."""
    rows = summary["rows"]
    figure = Figure(figsize=(8, 0.9 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for place, row in enumerate(rows):
        rate, (low, high) = row["pooled"]["rate"], row["pooled"]["interval"]
        color = f"C{groups.index(row['group'])}"
        axes.barh(place, 100 * rate, color=color, alpha=0.75, label=row["group"] if row["name"] == first(rows, row) else None)
        axes.errorbar(100 * rate, place, xerr=[[100 * (rate - low)], [100 * (high - rate)]], color="black", capsize=3)
        for task in row["tasks"].values():
            axes.plot(100 * task["rate"], place, marker="|", color="black", alpha=0.35, markersize=9)
    axes.set_yticks(range(len(rows)), [row["name"].replace("_", " ") for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 101), xlabel="success (%); small strokes: single tasks")
    axes.grid(axis="x", alpha=0.3)
    if len([group for group in groups if group]) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    figure.savefig(path, dpi=130)


def first(rows: list[dict], row: dict) -> str:
    """Name of the first row of a row's group."""
    return next(str(other["name"]) for other in rows if other["group"] == row["group"])


if __name__ == "__main__":
    main()
