"""What `vla3d evaluate` is asked to do, checked before anything is loaded. Importing this loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla3d.errors import ConfigError, unknown_name

OFFLINE_CONTROLS: tuple[str, ...] = ("none", "swap_text", "mask_text")
"""``none``: the demonstration's own sentence. ``swap_text``: a sentence of another goal. ``mask_text``: no sentence."""

SPLITS: tuple[str, ...] = ("validation", "train", "all")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One offline evaluation: a policy with weights, demonstrations, and what to leave behind.

    Attributes:
        checkpoint: a training run (its best checkpoint), one of its checkpoints, or an exported policy.
        out: folder of the results.
        data: the dataset; None takes the one the run was trained on.
        demos: ``"validation"`` (held out by the run), ``"train"`` or ``"all"`` of the dataset.
        tasks: names of the tasks; empty takes those that the run was trained on.
        limit: demonstrations of each task, the first ones; None takes all.
        stride: recorded steps between the samples taken on the way to a keyframe; 0 takes decision points only.
        alternatives: also ask for the scene's other goals, where the demonstrations hold them.
        control: one of ``OFFLINE_CONTROLS``.
        batch_size: samples decided on together.
        seed: of the bootstrap intervals.
        report: write ``report.html``.
        device: torch device; ``"auto"`` takes the GPU when there is one.
        on_corrupt: ``"raise"``, or ``"skip"`` to go on without damaged demonstrations.
    """

    checkpoint: Path
    out: Path
    data: Path | None = None
    demos: str = "validation"
    tasks: Sequence[str] = ()
    limit: int | None = None
    stride: int = 0
    alternatives: bool = False
    control: str = "none"
    batch_size: int = 16
    seed: int = 0
    report: bool = True
    device: str = "auto"
    on_corrupt: str = "raise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        for name, choices in (("demos", SPLITS), ("control", OFFLINE_CONTROLS), ("on_corrupt", ("raise", "skip"))):
            if getattr(self, name) not in choices:
                raise unknown_name(name, str(getattr(self, name)), choices)
        for name, least in (("limit", 1), ("stride", 0), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name}: got {value!r}, expected a whole number of at least {least}.")
        if self.device not in ("auto", "cpu") and self.device.partition(":")[0] != "cuda":
            raise unknown_name("device", self.device, ("auto", "cpu", "cuda"))
