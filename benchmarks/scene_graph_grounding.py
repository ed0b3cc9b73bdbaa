"""Grounding with few labels, with and without scene-graph pre-training: Acc@0.25 and Acc@0.5 on generated rooms.

    python benchmarks/scene_graph_grounding.py [--pretrain-steps 4000] [--steps 1500] [--seeds 0 1 2] [--out OUT]

A phrase means one thing of a room; boxes are fitted to the points that cameras see, and the model picks one by similarity after
fusion. One encoder is pre-trained for each seed on other rooms, without the labelled phrases; then it, and an equal one with
fresh weights, are tuned on 10 % and on 100 % of the phrases for the same number of updates. ``OUT/rows.jsonl`` holds a line for
each; those that it holds are not done again, and training that was broken off goes on where it was. Subsets and thresholds are
those of ScanRefer.
"""

import argparse
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import complete

from vla3d.pretraining.config import SceneTextsConfig
from vla3d.pretraining.grounding import GroundingSample, SceneGrounding, grounding_samples, judged, label_share
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.pretraining.run import PretrainConfig, pretrain
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.generator.scene import SceneSplit
from vla3d.scene_graphs.metrics.grounding import grounding_scores
from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import SETTINGS_FILE, Trainer

STARTS = ("pretrained", "fresh")
# Rooms of the train split that pre-training does not come to.
FIRST = 1_000_000


def trainer_config(steps: int, seed: int, batch_size: int, lr: float) -> TrainerConfig:
    """How to train, for pre-training and tuning alike."""
    quarter = max(steps // 4, 1)
    values = {"steps": steps, "seed": seed, "batch_size": batch_size, "lr": lr, "validate_every": quarter}
    return TrainerConfig.from_mapping({**values, "save_every": quarter, "keep_checkpoints": 1, "log_every": 20})


@cache
def pretrained(folder: Path, seed: int, scenes: int, steps: int) -> Path:
    """Folder of the encoder of a seed; trained when it is asked for the first time."""
    return pretrain(
        PretrainConfig(
            out=folder,
            scenes=SceneTextsConfig(kind="room", train=scenes, gallery=min(scenes, 100)),
            trainer=trainer_config(steps, seed, 16, 2e-3),
            resume=(folder / SETTINGS_FILE).exists(),
        )
    ).policy


@cache
def phrases(split: SceneSplit, count: int, seed: int, encoder: SceneEncoderConfig, first: int) -> list[GroundingSample]:
    """About rooms; made once for all rows."""
    return grounding_samples(split, count, seed=seed, kind="room", encoder=encoder, first=first)


def starting_point(start: str, seed: int, options: argparse.Namespace) -> SceneGraphPretraining:
    """The model before tuning: the pre-trained one, or one like it with fresh weights."""
    folder = pretrained(options.out / f"pretraining-{seed}", seed, options.scenes, options.pretrain_steps)
    model = SceneGraphPretraining.from_pretrained(folder)
    if start == "pretrained":
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SceneGraphPretraining(model.config, model.tokenizer)


def judge_row(options: argparse.Namespace, *, start: str, share: int, seed: int, **_: int) -> dict[str, Any]:
    """Tune a model on a share of the labels, or go on, and judge it."""
    base = starting_point(start, seed, options)
    encoder = base.config.encoder
    labelled = label_share(phrases("train", options.rooms, seed, encoder, FIRST), share / 100, seed)
    folder = options.out / f"{start}-{share}-{seed}"
    model = SceneGrounding(base)
    result = Trainer(
        trainer_config(options.steps, seed, 32, 1e-3),
        model,
        labelled,
        phrases("validation", options.judged // 2, seed, encoder, FIRST),
        out=folder,
        resume=(folder / SETTINGS_FILE).exists(),
        settings={"labels": len(labelled)},
    ).train()
    tuned = SceneGrounding(SceneGraphPretraining.from_pretrained(result.policy))
    test = phrases("test", options.judged, seed, encoder, 0)
    overlaps, unique = (np.array(column) for column in zip(*judged(tuned, test), strict=True))
    limit = np.array([sample.ious.max() for sample in test])
    scores = grounding_scores(overlaps, unique.astype(bool))
    return {
        "labels": len(labelled), "phrases": len(test), "limit": {str(k): float((limit >= k).mean()) for k in (0.25, 0.5)},
        "accuracy": {name: {str(k): value for k, value in score.accuracy.items()} for name, score in scores.items()},
    }  # fmt: skip


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean and spread over seeds."""
    limit = {k: np.mean([row["limit"][k] for row in rows]) for k in ("0.25", "0.5")}
    lines = [
        f"Generated rooms, boxes fitted to what was seen; {rows[0]['phrases']} test phrases for each seed",
        f"{date.today()}, Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}",
        f"perfect choices among these boxes: Acc@0.25 {100 * limit['0.25']:.1f}%, Acc@0.5 {100 * limit['0.5']:.1f}%",
        "",
        f"{'labels':>7}  {'start':<11}{'seeds':>6}{'Acc@0.25':>16}{'Acc@0.5':>16}{'unique @0.5':>13}{'multiple @0.5':>15}",
    ]
    for share in sorted({row["share"] for row in rows}):
        for start in STARTS:
            mine = [row["accuracy"] for row in rows if (row["share"], row["start"]) == (share, start)]
            if not mine:
                continue
            at = {k: 100 * np.array([row["overall"][k] for row in mine]) for k in ("0.25", "0.5")}
            subsets = [100 * np.mean([row[name]["0.5"] for row in mine]) for name in ("unique", "multiple")]
            shown = "".join(f"{at[k].mean():>8.1f} +- {at[k].std():>4.1f}" for k in ("0.25", "0.5"))
            lines.append(f"{share:>6}%  {start:<11}{len(mine):>6}{shown}{subsets[0]:>13.1f}{subsets[1]:>15.1f}")
    return "\n".join([*lines, "", *gains(rows)])


def gains(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What pre-training gains at each share of the labels, and for each seed that has both rows."""
    at = {(row["share"], row["start"], row["seed"]): 100 * row["accuracy"]["overall"]["0.5"] for row in rows}
    for share in sorted({row["share"] for row in rows}):
        both = [seed for seed in sorted({row["seed"] for row in rows}) if {(share, each, seed) for each in STARTS} <= at.keys()]
        gained = [at[share, "pretrained", seed] - at[share, "fresh", seed] for seed in both]
        if gained:
            each = ", ".join(f"{gain:+.1f}" for gain in gained)
            yield f"{share:>6}%  Acc@0.5, pretrained over fresh: {np.mean(gained):+.1f} points (each seed: {each})"


def main() -> None:
    """Train and judge what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pretrain-steps", type=int, default=4000)
    parser.add_argument("--scenes", type=int, default=2000, help="rooms to pre-train on")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rooms", type=int, default=1000, help="rooms with labelled phrases")
    parser.add_argument("--judged", type=int, default=250, help="test rooms")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=int, nargs="+", default=[10, 100], help="percent of the labels")
    parser.add_argument("--out", type=Path, default=Path("runs/scene_graph_grounding"))
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("steps", "pretrain_steps", "scenes", "rooms", "judged")}
    wanted = [
        {"start": start, "share": share, "seed": seed, **settings}
        for seed in options.seeds
        for share in options.shares
        for start in STARTS
    ]
    print(report(complete(options.out / "rows.jsonl", wanted, partial(judge_row, options))))


if __name__ == "__main__":
    main()
