"""Scene-graph pre-training beside its controls: retrieval, hidden categories, held-out compositions.

    python benchmarks/scene_graph_pretraining.py [--steps 4000] [--scenes 2000] [--seeds 0 1 2] [--out OUT]

Trains five models for each seed, alike but for one thing: ``full``; ``in_batch``, whose texts are compared with those of other
scenes alone; ``texts``, which besides learns nothing but which text is true of which scene; ``blind``, to which the place of
masked things is hidden as well; ``no_graph``, which reads every thing by itself. All are judged on scenes of the test splits.
``OUT/rows.jsonl`` holds a line for each model; those that it holds are not trained again, and one that was broken off goes on
where it was. Prints a table of the means over seeds, and what was asked of them.
"""

import argparse
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import complete

from vla3d.evaluation.statistics import wilson_interval
from vla3d.pretraining import judging
from vla3d.pretraining.config import LossWeights, SceneGraphObjectiveConfig, SceneTextsConfig
from vla3d.pretraining.modeling import SceneGraphPretraining
from vla3d.pretraining.run import PretrainConfig, pretrain
from vla3d.pretraining.samples import Gallery, scene_samples
from vla3d.training.config import TrainerConfig
from vla3d.training.trainer import SETTINGS_FILE

VARIANTS = ("full", "in_batch", "texts", "blind", "no_graph")
_TEXTS_ALONE = LossWeights(**{name: float(name == "scene_text") for name in asdict(LossWeights())})
ASKED = (
    ("blind", "masked_category_accuracy", "; asked: 25"),
    ("in_batch", "composition_accuracy", "; asked: 15"),
    ("in_batch", "contrast_accuracy", ""),
    ("texts", "composition_accuracy", ""),
    ("texts", "contrast_accuracy", ""),
)
GALLERY = 100
# Validation during training looks at the first scenes of test_attributes; the test looks at others.
FIRST = 10_000


def objective(variant: str) -> SceneGraphObjectiveConfig:
    """The objective of a variant."""
    full = SceneGraphObjectiveConfig()
    return {
        "full": full,
        "in_batch": replace(full, hard_negatives=False),
        "texts": replace(full, hard_negatives=False, weights=_TEXTS_ALONE),
        "blind": replace(full, position_blind=True),
        "no_graph": replace(full, encoder=replace(full.encoder, graph_layers=0)),
    }[variant]


def run_config(variant: str, seed: int, options: argparse.Namespace) -> PretrainConfig:
    """The training of a row."""
    folder = options.out / f"{variant}-{seed}"
    trainer = {
        "steps": options.steps, "batch_size": options.batch_size, "lr": options.lr, "seed": seed, "keep_checkpoints": 1,
        "validate_every": max(options.steps // 4, 1), "save_every": max(options.steps // 8, 1), "log_every": 20,
    }  # fmt: skip
    return PretrainConfig(
        out=folder,
        objective=objective(variant),
        scenes=SceneTextsConfig(train=options.scenes, gallery=min(options.scenes, GALLERY)),
        trainer=TrainerConfig.from_mapping(trainer),
        resume=(folder / SETTINGS_FILE).exists(),
    )


def judge_row(options: argparse.Namespace, *, variant: str, seed: int, **_: int) -> dict[str, Any]:
    """Train a model, or go on, and judge it on test scenes."""
    config = run_config(variant, seed, options)
    result = pretrain(config)
    model = SceneGraphPretraining.from_pretrained(result.policy)
    shares = {"texts": config.scenes, "encoder": config.objective.encoder, "labels": model.config.labels, "seed": 0}
    compositions = scene_samples("test_attributes", options.compositions, first=FIRST, **shares)  # type: ignore[arg-type]
    found = []
    for number in range(options.galleries):
        scenes = scene_samples("test", GALLERY, first=number * GALLERY, **shares)  # type: ignore[arg-type]
        gallery = Gallery(scenes=tuple(scenes), compositions=tuple(compositions) if number == 0 else tuple(compositions[:2]))
        (batch,) = model.collate([gallery])  # type: ignore[misc]
        found.append((judging.judge(model, batch), batch.compositions.contrasts.shape[1]))
    names = [name for name in found[0][0] if name != "composition_accuracy"]
    row = {name: float(np.mean([judged[name] for judged, _ in found])) for name in names}
    return {
        **row, "composition_accuracy": found[0][0]["composition_accuracy"], "compositions": found[0][1],
        "texts": GALLERY * options.galleries, "seconds": result.seconds,
    }  # fmt: skip


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, and what was asked."""
    columns = ("retrieval_r1", "word_object_accuracy", "masked_category_accuracy", "contrast_accuracy", "composition_accuracy")
    first = rows[0]
    lines = [
        f"{first['scenes']} tabletop scenes, {first['steps']} updates; retrieval among {GALLERY} test scenes, means over seeds",
        f"{date.today()}, Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads",
        "",
        f"{'':<10}{'seeds':>6}" + "".join(f"{name.removesuffix('_accuracy'):>18}" for name in columns),
    ]
    means: dict[str, dict[str, float]] = {}
    for variant in VARIANTS:
        mine = [row for row in rows if row["variant"] == variant]
        if mine:
            means[variant] = {name: float(np.mean([row[name] for row in mine])) for name in (*columns, "retrieval_chance")}
            lines.append(f"{variant:<10}{len(mine):>6}" + "".join(f"{100 * means[variant][name]:>17.1f}%" for name in columns))
    lines.append("")
    if "full" in means:
        full = [row for row in rows if row["variant"] == "full"]
        texts = sum(row["texts"] for row in full)
        hits = round(sum(row["retrieval_r1"] * row["texts"] for row in full))
        interval, chance = wilson_interval(hits, texts), means["full"]["retrieval_chance"]
        lines.append(
            f"text to scene, R@1 over chance ({100 * chance:.2f}%): {means['full']['retrieval_r1'] / chance:.0f} times, lower "
            f"end of the interval {interval.low / chance:.0f} times; asked: 20"
        )
    return "\n".join([*lines, *gains(rows)])


def gains(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the full model has over its controls, on the seeds that both were trained with."""
    at = {(row["variant"], row["seed"]): row for row in rows}
    for control, name, asked in ASKED:
        both = [seed for variant, seed in at if variant == "full" and (control, seed) in at]
        if both:
            gain = 100 * np.mean([at["full", seed][name] - at[control, seed][name] for seed in both])
            seeds = " ".join(str(seed) for seed in both)
            yield f"{name.replace('_', ' ')}, full over {control} (seeds {seeds}): {gain:+.1f} points{asked}"


def main() -> None:
    """Train and judge what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--galleries", type=int, default=5, help=f"test galleries of {GALLERY} scenes")
    parser.add_argument("--compositions", type=int, default=400, help="test scenes with held-out compositions")
    parser.add_argument("--out", type=Path, default=Path("runs/scene_graph_pretraining"))
    options = parser.parse_args()
    wanted = [
        {"variant": variant, "seed": seed, "steps": options.steps, "scenes": options.scenes}
        for seed in options.seeds
        for variant in options.variants
    ]
    print(report(complete(options.out / "rows.jsonl", wanted, partial(judge_row, options))))


if __name__ == "__main__":
    main()
