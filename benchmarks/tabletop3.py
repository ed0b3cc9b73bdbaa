"""The learned results on the three tabletop tasks: what is trained, under which control, and what it succeeds at.

    python benchmarks/tabletop3.py --seeds 0 1 2                              # the demo's recipe, pooled over training seeds
    python benchmarks/tabletop3.py --seeds 0 --control swap mask_text  # with controls of the trained policy
    python benchmarks/tabletop3.py --seeds 0 --set policy.backbone.mask=images_first_causal
    python benchmarks/tabletop3.py --seeds 0 --demos 10 25 50 --plot docs/success_by_demos.png

Recipes are chosen on other scenes (``vla3d rollout seed=1000``) and on validation demonstrations.
Every run lies under ``--out`` and goes on where it was stopped; the same command prints the same table again.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from learning import line, machine, total, train, vla3d
from matplotlib.figure import Figure

from vla3d.evaluation.statistics import SuccessRate, pooled

TASKS = ("pick_and_lift", "place_in_container", "open_drawer")


@dataclass(frozen=True)
class Run:
    """One trained policy."""

    folder: Path
    seed: int
    demos: int


def main() -> None:
    """Train what is missing, evaluate what is missing, print one table."""
    options = parse()
    rates: dict[int, dict[str, SuccessRate]] = {}
    collected = options.out / "demos"
    vla3d("collect", f"tasks=[{','.join(TASKS)}]", f"episodes={max(options.demos)}", "seed=0", f"out={collected}")
    for demos in options.demos:
        runs = [Run(options.out / run_name(options, seed, demos), seed, demos) for seed in options.seeds]
        for run in runs:
            train(run.folder / "train", options.experiment, collected, run.seed, f"demos.episodes={run.demos}", *options.set)
        for control in ("none", *options.control):
            summaries = [roll_out(run, control, options) for run in runs]
            print_table(f"{options.experiment}, {demos} demos a task, control={control}", summaries, options)
            if control == "none":
                rates[demos] = by_task(summaries)
    if options.plot:
        draw_by_demos(rates, f"{options.experiment}, training seeds {options.seeds}", options.plot)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="tabletop3")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demos", type=int, nargs="+", default=[50])
    parser.add_argument("--episodes", type=int, default=25, help="of each task and training seed")
    parser.add_argument("--scenes", type=int, default=3000, help="seed of the test scenes")
    parser.add_argument("--control", nargs="*", default=[], choices=["swap", "mask_text"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the recipe")
    parser.add_argument("--plot", type=Path, help="picture of success by number of demonstrations")
    parser.add_argument("--out", type=Path, default=Path("runs/tabletop3"))
    return parser.parse_args()


def run_name(options: argparse.Namespace, seed: int, demos: int) -> str:
    """Folder of a run: every option that changes its weights is in the name."""
    changes = "".join(f"-{change.replace('=', '_').replace('/', '_')}" for change in options.set)
    return f"{options.experiment}-{demos}demos-seed{seed}{changes}"


def roll_out(run: Run, control: str, options: argparse.Namespace) -> dict:
    """Evaluate, or finish an evaluation; its summary."""
    out = run.folder / f"rollout-scenes{options.scenes}-{control}"
    vla3d(
        "rollout",
        f"checkpoint={run.folder / 'train'}",
        f"tasks=[{','.join(TASKS)}]",
        f"episodes={options.episodes}",
        f"seed={options.scenes}",
        f"control={control}",
        "videos=none",
        f"out={out}",
    )
    return dict(json.loads((out / "rollout.json").read_text()))


def print_table(title: str, summaries: list[dict], options: argparse.Namespace) -> None:
    """Success by task and in all, pooled over training seeds, with 95 % intervals."""
    changes = " ".join(options.set) or "no changes"
    print(f"\n{title}; training seeds {options.seeds}; scenes of seed {options.scenes}; {changes}; {machine()}")
    for task, rate in by_task(summaries).items():
        print(f"  {task:<20} {line(rate)}")
    if "old_goal" in summaries[0]["pooled"]:
        old = total([summary["pooled"]["old_goal"] for summary in summaries])
        print(f"  {'old goal, pooled':<20} {line(old)}")


def by_task(summaries: list[dict]) -> dict[str, SuccessRate]:
    """Success of each task over several training seeds, and of all tasks together."""
    rates = {task: total([summary["tasks"][task] for summary in summaries]) for task in TASKS}
    return {**rates, "pooled": pooled(list(rates.values()))}


def draw_by_demos(rates: dict[int, dict[str, SuccessRate]], title: str, path: Path) -> None:
    """Success by number of demonstrations, one line a task, with 95 % intervals."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    demos = sorted(rates)
    for index, name in enumerate((*TASKS, "pooled")):
        cells = [rates[count][name] for count in demos]
        # Moved a little apart, so that intervals at the same number of demonstrations do not hide each other.
        places = [count * 1.02 ** (index - 1.5) for count in demos]
        errors = [
            [100 * (cell.rate - cell.interval.low) for cell in cells],
            [100 * (cell.interval.high - cell.rate) for cell in cells],
        ]
        emphasis = {"color": "black", "linewidth": 2.5} if name == "pooled" else {"linewidth": 1.2}
        axes.errorbar(places, [100 * cell.rate for cell in cells], errors, label=name, marker="o", capsize=3, **emphasis)
    axes.set_xscale("log")
    axes.set_xticks(demos, [str(count) for count in demos])
    axes.minorticks_off()
    axes.set(xlabel="demonstrations a task", ylabel="success (%)", ylim=(0, 102), title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
