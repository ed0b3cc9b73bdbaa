"""What `vla3d convert` is asked to do, checked before anything is loaded. Importing this loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla3d.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """A request to convert demonstrations.

    Attributes:
        path: the folder of demonstrations.
        out: the dataset's folder; a conversion of the same demonstrations with the same options continues there.
        format: the format of ``path``; None recognises it.
        tasks: names of the tasks; empty takes all.
        episodes: demonstrations of each task, the first ones; None takes all.
        cameras: keep these; empty keeps all.
        keyframe_rule: which steps are keyframes where the format does not tell: ``"recorded"`` (the format's own rule),
            ``"vla3d"`` or ``"peract"``.
        image_stride: keep every n-th row and column of the images.
        strict: stop at the first damaged demonstration instead of leaving it out.
        num_workers: processes; 0 takes one per core.
    """

    path: Path
    out: Path
    format: str | None = None
    tasks: Sequence[str] = ()
    episodes: int | None = None
    cameras: Sequence[str] = ()
    keyframe_rule: str = "recorded"
    image_stride: int = 1
    strict: bool = False
    num_workers: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "out", Path(self.out))
        for name in ("tasks", "cameras"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ConfigError(f"{name}: got {', '.join(twice)} more than once; name each once.")
        least = {"episodes": 1, "image_stride": 1, "num_workers": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise ConfigError(f"{name}: got {value}, expected a whole number of at least {minimum}.")
        if self.out.resolve() == self.path.resolve() or self.out.resolve().is_relative_to(self.path.resolve()):
            raise ConfigError(f"out: {self.out} lies in the demonstrations to convert, {self.path}; choose a folder outside.")

    def request(self, format: str) -> dict[str, object]:
        """What decides the contents of an episode, stored in the dataset. Tasks and episodes may grow and are not in it."""
        return {
            "converter": format,
            "cameras": list(self.cameras) or "all",
            "keyframe_rule": self.keyframe_rule,
            "image_stride": self.image_stride,
        }
