"""The model card of a released policy, written from what was measured with exactly its weights."""

from datetime import date
from pathlib import Path

from learning import machine

from vla3d.evaluation.suite_report import suite_table

CARD = """# {name}

A BridgeVLA policy of the `nano` size ({parameters:,} parameters, {megabytes:.1f} MB) for the eight tabletop tasks of vla3d,
trained from scratch. It comes with vla3d:

```sh
vla3d rollout checkpoint={name} tasks=[stack_blocks] episodes=5
```

```python
from vla3d.policies.learned import load_policy

policy = load_policy("{name}")
```

## Data and training

{demos} demonstrations of each task by the scripted experts, simulated by vla3d itself (`vla3d collect`, seed 0, four RGB-D
cameras of 128 x 128 pixels); no other data, no pre-trained weights. `experiment={experiment}`, training seed {seed}, two
CPU cores. Weights are stored in half precision. Rebuilt by

```sh
python benchmarks/tabletop8.py --release policies/released/{name}
```

## Figures

{episodes} episodes a task and row on test scenes of seed {scenes}, which no choice has seen; 95 % Wilson intervals;
{machine}, {today}. `swap`: the sentence names another goal that is present, success is the
named one. `mask_text`: no sentence.

```text
{table}
```

What happens to it under other colours, sizes, light, cameras, words and shapes:
[docs/tabletop8.md](../../../docs/tabletop8.md).

## Limits

- It knows these eight tasks in this simulator, the eight colour names and the wordings of the demonstrations. A word it was
  not trained on means nothing to it.
- It needs the four calibrated cameras of the tabletop scenes (front, both shoulders, wrist). It has never seen a real camera.
- It answers with a motion in every case, also when what the sentence names is not there.
- It was trained once, with one seed; another seed gives another policy.
"""


def write_card(folder: Path, summary: dict, parameters: int, **facts: object) -> None:
    """Write ``README.md`` beside the weights.

    Args:
        folder: of the released policy; its name is the policy's.
        summary: of the suite ``tabletop8``, evaluated with these weights.
        parameters: how many weights there are.
        facts: demos, experiment, seed.
    """
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != "README.md")
    text = CARD.format(
        name=folder.name,
        parameters=parameters,
        megabytes=size / 1e6,
        episodes=summary["episodes"],
        scenes=summary["seed"],
        machine=machine(),
        today=date.today(),
        table=suite_table(summary),
        **facts,
    )
    (folder / "README.md").write_text(text)
