"""The trainer's settings, validated before anything is loaded. No torch here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from vla3d.errors import ConfigError, unknown_name

Precision = Literal["auto", "fp32", "bf16"]
Schedule = Literal["cosine", "constant"]
TRACKERS = ("jsonl", "tensorboard", "wandb")

# May differ between a run and its continuation: they do not change what any one update computes.
# ``steps`` is here so that a run can be extended; the cosine is then stretched from the resumed step on.
RESUMABLE = frozenset(
    {
        "steps",
        "validate_every",
        "save_every",
        "keep_checkpoints",
        "num_workers",
        "prefetch",
        "max_minutes",
        "log_every",
        "trackers",
        "progress",
        "find_unused_parameters",
    }
)


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How to train.

    Attributes:
        steps: optimiser updates in all.
        batch_size: samples per update and process.
        lr: peak learning rate.
        final_lr: learning rate at the end of the cosine, as a fraction of ``lr``.
        weight_decay: decoupled decay (AdamW); never on norms, biases and embeddings.
        betas: Adam's moment decays.
        warmup_steps: updates of linear warm-up; None is a tenth of ``steps``, at most 100. It comes again
            after ``freeze_steps``.
        freeze_steps: first updates in which the weights that the model names (``frozen_first()``) stay as they are; 0 never.
        schedule: ``"cosine"`` or ``"constant"`` after the warm-up.
        clip_norm: largest gradient norm; None never clips.
        ema_decay: decay of the averaged weights that are validated and exported; 0 switches averaging off.
        precision: ``"auto"`` is bf16 autocast on GPUs that have it, fp32 elsewhere.
        validate_every: updates between validations; 0 validates at the end only.
        save_every: updates between checkpoints; 0 saves at improvements and at the end only.
        keep_checkpoints: newest checkpoints to keep; the best one is kept besides.
        task_alpha: how often tasks are drawn: a task with n samples in proportion to n ** task_alpha. 1 draws every sample
            equally often, 0 every task.
        num_workers: data processes; 0 prepares batches in a background thread.
        prefetch: batches prepared ahead; 0 (with ``num_workers=0``) prepares them in line.
        seed: of the sample order and of every step's randomness.
        max_minutes: stop early, at the next step, after so many minutes of this call. It does not bend the schedule: a run cut
            short ends at a higher learning rate and can be resumed. Prefer choosing ``steps``.
        log_every: updates between log records.
        deterministic: allow only deterministic kernels (slower on GPUs; CPU runs repeat without it).
        trackers: any of ``"jsonl"``, ``"tensorboard"``, ``"wandb"``.
        progress: show a progress bar.
        find_unused_parameters: let several processes train a model of which some weights get no gradient.
    """

    steps: int = 2000
    batch_size: int = 16
    lr: float = 5e-4
    final_lr: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int | None = None
    freeze_steps: int = 0
    schedule: Schedule = "cosine"
    clip_norm: float | None = 1.0
    ema_decay: float = 0.999
    precision: Precision = "auto"
    validate_every: int = 500
    save_every: int = 500
    keep_checkpoints: int = 2
    task_alpha: float = 1.0
    num_workers: int = 0
    prefetch: int = 2
    seed: int = 0
    max_minutes: float | None = None
    log_every: int = 20
    deterministic: bool = False
    trackers: tuple[str, ...] = ("jsonl",)
    progress: bool = True
    find_unused_parameters: bool = False

    def __post_init__(self) -> None:
        for name in ("betas", "trackers"):  # configuration files can only give lists
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("steps", "batch_size", "keep_checkpoints", "log_every"):
            _require_int(name, getattr(self, name), at_least=1)
        if self.warmup_steps is not None:
            _require_int("warmup_steps", self.warmup_steps, at_least=0)
        for name in ("freeze_steps", "validate_every", "save_every", "num_workers", "prefetch", "seed"):
            _require_int(name, getattr(self, name), at_least=0)
        for name in ("deterministic", "progress", "find_unused_parameters"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be true or false, got {getattr(self, name)!r}.")
        self._check_numbers()
        _require_choice("precision", self.precision, get_args(Precision))
        _require_choice("schedule", self.schedule, get_args(Schedule))
        if not isinstance(self.trackers, tuple):
            raise ConfigError(f"trackers must be a list such as [jsonl], got {self.trackers!r}.")
        for tracker in self.trackers:
            _require_choice("tracker", tracker, TRACKERS)
        if self.warmup > self.steps:
            raise ConfigError(f"warmup_steps={self.warmup} is more than steps={self.steps}. Lower it or train longer.")
        if self.freeze_steps and self.freeze_steps >= self.steps:
            raise ConfigError(
                f"freeze_steps={self.freeze_steps} leaves none of steps={self.steps} to train every weight. "
                f"Lower it or train longer; weights that are never to train are the policy's setting frozen."
            )

    def _check_numbers(self) -> None:
        _require_number("lr", self.lr, above=0.0)
        _require_number("final_lr", self.final_lr, at_least=0.0, at_most=1.0)
        _require_number("weight_decay", self.weight_decay, at_least=0.0)
        _require_number("ema_decay", self.ema_decay, at_least=0.0, below=1.0)
        _require_number("task_alpha", self.task_alpha, at_least=0.0, at_most=1.0)
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            raise ConfigError(f"betas must be two numbers such as [0.9, 0.99], got {self.betas!r}.")
        for beta in self.betas:
            _require_number("betas", beta, at_least=0.0, below=1.0)
        if self.clip_norm is not None:
            _require_number("clip_norm", self.clip_norm, above=0.0)
        if self.max_minutes is not None:
            _require_number("max_minutes", self.max_minutes, above=0.0)

    @property
    def warmup(self) -> int:
        """Updates of warm-up, with the default resolved."""
        return min(100, self.steps // 10) if self.warmup_steps is None else self.warmup_steps

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain keys and values.

        Raises:
            ConfigError: for an unknown key (with the nearest known one) or a bad value.
        """
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                raise unknown_name("training setting", key, names)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-able values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _require_int(name: str, value: object, *, at_least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ConfigError(f"{name} must be a whole number of at least {at_least}, got {value!r}.")


def _require_choice(kind: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise unknown_name(kind, str(value), choices)


def _require_number(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    wanted = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
        and abs(value) != float("inf")
    )
    if not fits:
        raise ConfigError(f"{name} must be a number {wanted}, got {value!r}.")
