"""What `vla3d collect` is asked to do, checked before anything is loaded. Importing this loads no torch and no simulator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla3d.errors import ConfigError, unknown_name

OVER_CAP: tuple[str, ...] = ("warn", "fail")


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """A request for demonstrations.

    Attributes:
        tasks: names of the tasks, each once.
        out: the dataset's folder; a dataset of the same request continues there, another one is refused.
        episodes: successful episodes of each task.
        seed: picks the training scenes; attempt k of a task has the same scene whatever else is asked.
        num_workers: processes; 0 takes one per core.
        image_size: height and width of the camera images, pixels.
        renderer: how the simulator makes images.
        max_mb_per_demo: size on disk above which a demonstration is reported, MB.
        over_cap: what to do then: ``"warn"`` keeps it, ``"fail"`` stops.
        max_failures_in_a_row: give up on a task after so many failed attempts one behind the other.
    """

    tasks: Sequence[str]
    out: Path
    episodes: int = 50
    seed: int = 0
    num_workers: int = 0
    image_size: int = 128
    renderer: str = "warp"
    max_mb_per_demo: float = 10.0
    over_cap: str = "warn"
    max_failures_in_a_row: int = 25

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "out", Path(self.out))
        if not self.tasks:
            raise ConfigError("tasks: got none, expected at least one; for example tasks=[pick_and_lift].")
        twice = sorted({task for task in self.tasks if list(self.tasks).count(task) > 1})
        if twice:
            raise ConfigError(f"tasks: got {', '.join(twice)} more than once; name each task once.")
        least = {"episodes": 1, "num_workers": 0, "image_size": 1, "seed": 0, "max_failures_in_a_row": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ConfigError(f"{name}: got {value!r}, expected a whole number of at least {minimum}.")
        cap = self.max_mb_per_demo
        if isinstance(cap, bool) or not isinstance(cap, int | float) or not cap > 0:
            raise ConfigError(f"max_mb_per_demo: got {cap!r}, expected a number of megabytes above 0.")
        if self.over_cap not in OVER_CAP:
            raise unknown_name("choice of over_cap", self.over_cap, OVER_CAP)

    @property
    def request(self) -> dict[str, object]:
        """What decides the contents of an episode, stored in the dataset. Tasks and episodes may grow and are not in it."""
        return {
            "collector": "expert",
            "seed": self.seed,
            "image_size": self.image_size,
            "renderer": self.renderer,
            "rate_hz": 10,
        }
