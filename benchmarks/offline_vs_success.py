"""Does offline error predict success? Checkpoints' errors on demonstrations beside their success in the simulator.

    python benchmarks/offline_vs_success.py --roll-out --page docs/results.md --plot docs/offline_vs_success.png

Every checkpoint that the runs of a benchmark have kept (``--set trainer.keep_checkpoints=40`` keeps those along the way) is
evaluated on the same demonstrations, which no run has seen (``vla3d collect`` with a seed of its own), and paired with its
rollout on nominal test scenes. A rollout is found by the digest of the checkpoint that it measured; with ``--roll-out`` missing
ones are run. Every figure of ``vla3d evaluate`` gets Spearman's rank correlation with the success rate, overall and by task.
What is done is kept: the same command goes on.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from vla3d.evaluation.correlation import rank_correlation
from vla3d.evaluation.offline_results import RESULTS_FILE, read_results
from vla3d.evaluation.policies import checkpoint_digest
from vla3d.evaluation.results import RolloutFolder, write_atomic

FIGURES = {
    "position_error_mm.median": "position error, median",
    "position_error_mm.mean": "position error, mean",
    "position_error_mm.p90": "position error, 90 %",
    "coarse_position_error_mm.median": "first look's error, median",
    "rotation_error_deg.median": "rotation error, median",
    "within_2cm.rate": "within 2 cm",
    "heatmap_hit_rate.rate": "heatmap hits, look 1",
    "fine_heatmap_hit_rate.rate": "heatmap hits, look 2",
    "gripper_accuracy.rate": "gripper right",
    "collision_accuracy.rate": "collision flag right",
}
POOLED = "all tasks"
BEGIN, END = "<!-- offline_vs_success: begin -->", "<!-- offline_vs_success: end -->"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One checkpoint with both results."""

    name: str
    offline: Mapping[str, Any]
    rollout: Mapping[str, Any]


def main() -> None:
    """Evaluate what is missing, print the table, draw the plot, fill the page."""
    options = parse()
    measured = list(measure(options))
    if len(measured) < 3:
        sys.exit(f"Got {len(measured)} checkpoints with a rollout under {options.runs}, expected at least 3; add --roll-out.")
    rows = correlations(measured, options.seed)
    text = table(rows, measured, options)
    print(text)
    if options.plot:
        draw(measured, options.plot)
    if options.page:
        fill(options.page, text, options.plot)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/tabletop3"), help="folder whose RUN/train hold the checkpoints")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th checkpoint of a run")
    parser.add_argument("--data", type=Path, help="demonstrations to evaluate on; collected when not given")
    parser.add_argument("--demos", type=int, default=25, help="demonstrations of each task to collect")
    parser.add_argument("--demo-seed", type=int, default=1, help="seed of their scenes, not that of training")
    parser.add_argument("--roll-out", action="store_true", help="run the rollouts that are missing")
    parser.add_argument("--episodes", type=int, default=25, help="of each task, for those")
    parser.add_argument("--scenes", type=int, default=3000, help="seed of the test scenes; rollouts on others are left out")
    parser.add_argument("--seed", type=int, default=0, help="of the permutations and the bootstrap")
    parser.add_argument("--plot", type=Path, help="picture of success by offline error")
    parser.add_argument("--page", type=Path, help="page whose section is filled with the table")
    return parser.parse_args()


# Measuring


def measure(options: argparse.Namespace) -> Iterator[Measured]:
    """Every checkpoint under the runs that has a rollout, with both results."""
    runs = sorted(options.runs.glob("*/train/checkpoints"))
    checkpoints = [policy for run in runs for policy in sorted(run.glob("step-*/policy"))[:: options.every]]
    rollouts = nominal_rollouts(options.runs, options.scenes)
    data = options.data
    for policy in checkpoints:
        name = f"{policy.parents[3].name} {policy.parent.name}"
        found = rollouts.get(checkpoint_digest(policy))
        if found is None and options.roll_out:
            found = roll_out(policy, options)
        if found is None:
            print(f"{name}: no rollout, left out", file=sys.stderr)
            continue
        if data is None:
            data = collect(sorted(found["tasks"]), options)
        yield Measured(name=name, offline=offline(policy, data, options), rollout=found)


def nominal_rollouts(runs: Path, scenes: int) -> dict[str, Mapping[str, Any]]:
    """Digest of a checkpoint to its rollout without control or factors on the scenes; of several the one with most episodes."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(runs.glob("*/**/rollout.json")):
        summary = RolloutFolder(path.parent).summary()
        settings = summary["settings"]
        nominal = summary["control"] == "none" and not settings.get("factors") and settings.get("states_sha256") is None
        digest = settings.get("checkpoint_sha256")
        if nominal and digest and settings["seed"] == scenes:
            known = found.get(digest)
            if known is None or known["pooled"]["episodes"] < summary["pooled"]["episodes"]:
                found[digest] = summary
    return found


def collect(tasks: Sequence[str], options: argparse.Namespace) -> Path:
    """The demonstrations to evaluate on."""
    out = options.runs / f"offline-demos-seed{options.demo_seed}"
    vla3d("collect", f"tasks=[{','.join(tasks)}]", f"episodes={options.demos}", f"seed={options.demo_seed}", f"out={out}")
    return Path(out)


def roll_out(policy: Path, options: argparse.Namespace) -> Mapping[str, Any]:
    """Success of a checkpoint in the simulator."""
    out = policy.parents[3] / f"rollout-scenes{options.scenes}-{policy.parent.name}"
    tasks = json.loads((policy.parents[2] / "trainer.json").read_text())["settings"]["train_episodes"]
    names = dict.fromkeys(episode.rpartition("/")[0] for episode in tasks)
    vla3d(
        "rollout",
        f"checkpoint={policy.parent}",
        f"tasks=[{','.join(names)}]",
        f"episodes={options.episodes}",
        f"seed={options.scenes}",
        "videos=none",
        "report=false",
        f"out={out}",
    )
    return RolloutFolder(out).summary()


def offline(policy: Path, data: Path, options: argparse.Namespace) -> Mapping[str, Any]:
    """Figures of ``vla3d evaluate``, computed once for a checkpoint and dataset; an interrupted evaluation is done again."""
    out = policy.parents[3] / "offline" / f"{policy.parent.name}-{data.name}"
    if not (out / RESULTS_FILE).exists():
        vla3d("evaluate", f"checkpoint={policy.parent}", f"data={data}", "demos=all", "report=false", f"out={out}")
    stored = read_results(out)
    if stored["settings"]["checkpoint_sha256"] != checkpoint_digest(policy):
        sys.exit(f"{out} is of another checkpoint than {policy}, which was trained anew since; delete the folder.")
    return stored


def vla3d(*arguments: str) -> None:
    """Run a command; stop with it when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "vla3d", *arguments], check=True, env=environment, stdout=sys.stderr)


# Comparing


@dataclass(frozen=True, kw_only=True)
class Row:
    """How well one figure orders the checkpoints by success on one task."""

    figure: str
    task: str
    cell: str


def correlations(measured: Sequence[Measured], seed: int) -> list[Row]:
    """Spearman's coefficient of every figure with success, over all tasks and for each."""
    tasks = [task for task in measured[0].rollout["tasks"] if all(task in one.offline["tasks"] for one in measured)]
    rows = []
    for figure in FIGURES:
        for task in (POOLED, *tasks):
            pairs = points(measured, figure, task)
            found = rank_correlation([x for x, _ in pairs], [y for _, y in pairs], seed=seed) if pairs else None
            rows.append(Row(figure=figure, task=task, cell="–" if found is None else words(found, whole=task == POOLED)))
    return rows


def words(found: Any, *, whole: bool) -> str:
    """A coefficient, with its interval and p value where there is room for the whole."""
    ends = "" if found.interval is None else f" [{found.interval[0]:+.2f}, {found.interval[1]:+.2f}]"
    text = f"{found.rho:+.2f}{ends}, p = {found.p_value:.3f}" if whole else f"{found.rho:+.2f}"
    return text.replace("-", "−")


def points(measured: Sequence[Measured], figure: str, task: str) -> list[tuple[float, float]]:
    """Figure and success rate of every checkpoint that has both."""
    name, _, part = figure.partition(".")
    found = []
    for one in measured:
        errors = one.offline["overall"] if task == POOLED else one.offline["tasks"][task]
        success = one.rollout["pooled"] if task == POOLED else one.rollout["tasks"].get(task)
        if name in errors and success is not None:
            found.append((errors[name][part], success["rate"]))
    return found


def table(rows: Sequence[Row], measured: Sequence[Measured], options: argparse.Namespace) -> str:
    """The answer as a Markdown table, under a line that says what it was measured on."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    demos = measured[0].offline["overall"]["demos"]
    episodes = sorted({one.rollout["pooled"]["episodes"] for one in measured})
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        f"{len(measured)} checkpoints; offline on {demos} demonstrations, {' or '.join(map(str, episodes))} episodes each in "
        f"the simulator (scenes of seed {options.scenes}); {machine}; {date.today()}. Spearman's rank correlation with the "
        "success rate, bootstrap 95 % interval over checkpoints, permutation p value (checkpoints of one run are alike, so "
        "both flatter); –: one of the two is the same for all.",
        "",
        f"| offline figure | {' | '.join(tasks)} |",
        f"| --- |{' --- |' * len(tasks)}",
    ]
    for figure, title in FIGURES.items():
        cells = [next(row.cell for row in rows if (row.figure, row.task) == (figure, task)) for task in tasks]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(measured: Sequence[Measured], path: Path) -> None:
    """Success against the mean position error, one panel for all tasks and one for each."""
    tasks = [POOLED, *measured[0].rollout["tasks"]]
    columns = min(len(tasks), 5)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(tasks) :]:
        axes.remove()
    for axes, task in zip(panels.flat[: len(tasks)], tasks, strict=True):
        pairs = points(measured, "position_error_mm.mean", task)
        axes.scatter([x for x, _ in pairs], [100 * y for _, y in pairs], s=28, alpha=0.75)
        axes.set(title=task, xlabel="mean position error (mm)", ylim=(-3, 103))
        if pairs and min(x for x, _ in pairs) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    for row in panels:
        row[0].set_ylabel("success in the simulator (%)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def fill(page: Path, text: str, plot: Path | None) -> None:
    """Put the table, and the plot where there is one, between the page's two marks."""
    content = page.read_text()
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        sys.exit(f"{page} must hold the lines {BEGIN} and {END} once each.")
    before, rest = content.split(BEGIN)
    _, after = rest.split(END)
    picture = f"\n\n![Success by offline error]({os.path.relpath(plot, page.parent)})" if plot else ""
    write_atomic(page, f"{before}{BEGIN}\n\n{text}{picture}\n\n{END}{after}".encode())


if __name__ == "__main__":
    main()
