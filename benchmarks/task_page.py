"""The page of the built-in tasks: docs/tasks.md, a table and every sentence, and docs/tasks.png, what they look like.

    python benchmarks/task_page.py [--out docs] [--seed 0] [--image-size 224]

All of the page comes from the task classes; the picture shows the front camera at the start and the end of an expert's episode.
"""

import argparse
import inspect
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.tasks.anchors import ANCHORS
from vla3d.envs.tabletop.tasks.base import TabletopTask
from vla3d.envs.tabletop.tasks.lift_by_relation import HELD_OUT
from vla3d.envs.tabletop.tasks.standing import SIDES

COLUMNS = 2
CAPTION = 54
LINE = 72
MARGIN = 8
COMMAND = "python benchmarks/task_page.py"

INTRODUCTION = f"""# Tasks

The tasks that vla3d brings along, in one simulator and under one contract. Every scene offers several goals that look alike,
and the sentence names one of them by its colours, or in `lift_by_relation` by where it stands, so a policy cannot succeed
without reading. A goal is physical state that must hold for a second. The step limit is twice what the scripted expert needs
when nothing goes wrong, and 25 at most.

Written by `{COMMAND}` from the task classes. [Your own task](your_own_task.md) tells how to add one.

![Each task at the start and the end of an expert's episode](tasks.png)
"""


RELATIONS = """## What a relation means

In `lift_by_relation` all cubes look alike. "The cube just left of the box" stands so that two [predicates](predicates.md) are
true: `near` and `left_of`, seen from the robot base (looking along x, y to its left); of all other cubes that is false, never
undecided. The side alone would not do: the one cube that is left of the box is the leftmost of all, whatever box there is. Two
of four kinds of things are there, with cubes on the same two sides of both, and any of these four might be asked for: nothing
but side and thing together tells the cube.

Some pairs are in no training set; `factors=[unseen_relations]` asks for them alone ([suites](suites.md)):

"""


def built_in() -> list[TabletopTask]:
    """The built-in tasks, those for suites alone last."""
    tasks = [point.load().__self__() for point in BUILT_IN.values()]
    return sorted(tasks, key=held_out)


def held_out(task: TabletopTask) -> bool:
    """Whether a task is for suites alone and never trained on."""
    return bool(getattr(task, "held_out", False))


def page(tasks: list[TabletopTask]) -> str:
    """The text of docs/tasks.md."""
    trained, others = [task for task in tasks if not held_out(task)], [task for task in tasks if held_out(task)]
    parts = [INTRODUCTION, table(trained)]
    if others:
        parts += ["Never in a training set, for [suites](suites.md) alone:\n", table(others)]
    parts.append(relations())
    parts.append("## Sentences\n\nDemonstrations draw one of the first list; the second is for suites.\n")
    parts += [sentences(task) for task in tasks]
    return "\n".join(parts)


def relations() -> str:
    """What `lift_by_relation` means, and which pairs it holds out."""
    rows = ["| side | " + " | ".join(anchor.name for anchor in ANCHORS) + " |", "|---" * (1 + len(ANCHORS)) + "|"]
    for side, words in SIDES.items():
        cells = ("held out" if (side, kind) in HELD_OUT else "trained" for kind in range(len(ANCHORS)))
        rows.append(f"| {words} | " + " | ".join(cells) + " |")
    return RELATIONS + "\n".join(rows) + "\n"


def table(tasks: list[TabletopTask]) -> str:
    """A row for each task."""
    rows = ["| task | what it is | variations | keyframes of the expert | step limit |", "|---|---|---|---|---|"]
    for task in tasks:
        rows.append(
            f"| `{task.name}` | {summary(task)} | {task.num_variations} | {task.expert_keyframes} | {task.step_limit} |"
        )
    return "\n".join(rows) + "\n"


def summary(task: TabletopTask) -> str:
    """First line of a task's docstring."""
    return (inspect.getdoc(type(task)) or "").splitlines()[0]


def sentences(task: TabletopTask) -> str:
    """Every wording of a task, colours left open."""
    heard, unheard = ("\n".join(f"- {words}" for words in wordings) for wordings in (task.templates, task.unseen_templates))
    return f"### {task.name}\n\n{heard}\n\nunheard in training:\n\n{unheard}\n"


def sheet(tasks: list[TabletopTask], seed: int, image_size: int) -> Image.Image:
    """Start and end of an expert's episode of each task, two tasks a row."""
    width, height = 2 * image_size + MARGIN, image_size + CAPTION
    rows = -(-len(tasks) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * (width + MARGIN) + MARGIN, rows * (height + MARGIN) + MARGIN), "white")
    draw, fonts = ImageDraw.Draw(picture), [ImageFont.load_default(size) for size in (15, 12)]
    for index, task in enumerate(tasks):
        sentence, images = episode(task.name, seed, image_size)
        left, top = MARGIN + index % COLUMNS * (width + MARGIN), MARGIN + index // COLUMNS * (height + MARGIN)
        draw.text((left, top), task.name, "black", fonts[0])
        draw.text((left, top + 20), textwrap.fill(f"“{sentence}”", LINE), (70, 70, 70), fonts[1])
        for place, image in enumerate(images):
            picture.paste(Image.fromarray(image), (left + place * (image_size + MARGIN), top + CAPTION))
    return picture


def episode(task: str, seed: int, image_size: int) -> tuple[str, list[np.ndarray]]:
    """Sentence, first and last front image of the first episode from ``seed`` on in which the expert succeeds."""
    env = make_env(task, image_size=image_size)
    try:
        while True:
            first, expert, result = env.reset(seed=seed), env.expert(), None
            while result is None or not (result.terminated or result.truncated):
                result = env.step(expert.next_action())
            if result.success:
                return first.instruction, [first.frames["front"].rgb, env.observe().frames["front"].rgb]
            seed += 1
    finally:
        env.close()


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=224)
    options = parser.parse_args()
    tasks = built_in()
    shown = [task for task in tasks if not held_out(task)]
    sheet(shown, options.seed, options.image_size).save(options.out / "tasks.png", optimize=True)
    (options.out / "tasks.md").write_text(page(tasks))
    print(f"{options.out / 'tasks.md'}, {options.out / 'tasks.png'}: {len(tasks)} tasks")


if __name__ == "__main__":
    main()
