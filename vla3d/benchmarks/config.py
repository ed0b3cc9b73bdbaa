"""What `vla3d bench` is asked to measure, checked before anything is loaded. Importing this loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla3d.errors import ConfigError, unknown_name

OPERATIONS = ("points", "views")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Which operations are timed, and how.

    Attributes:
        operations: ``"points"`` (sampling, neighbours, voxels, gathering) or ``"views"`` (splatting, lifting).
        out: the JSON file; the plot lies beside it.
        seed: of the random clouds and heatmaps.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``, which takes the GPU when there is one.
        batch: clouds at once.
        sizes: points of a cloud, for the plots; each operation adds the size of its fixed case.
        resolutions: sides of the heatmaps, pixels, for lifting.
        repeats: measurements of each program, of which the median counts.
        patience: seconds after which a slow program is not measured again.
        threads: of torch, and of the peers that can be told; 0 leaves torch's setting. Open3D takes every core.
        quick: tiny sizes, measured once: to see that everything runs.
        plot: draw time against size (extra ``bench``).
    """

    operations: str | None
    out: Path
    seed: int = 0
    device: str = "auto"
    batch: int = 1
    sizes: Sequence[int] = (1024, 4096, 16384, 65536)
    resolutions: Sequence[int] = (56, 112, 224)
    repeats: int = 7
    patience: float = 10.0
    threads: int = 0
    quick: bool = False
    plot: bool = True

    def __post_init__(self) -> None:
        if self.operations is None:
            raise ConfigError(f"Got no operations, expected one of {', '.join(OPERATIONS)}: vla3d bench {OPERATIONS[0]}.")
        for kind, name, choices in (("operations", self.operations, OPERATIONS), ("device", self.device, DEVICES)):
            if name not in choices:
                raise unknown_name(kind, name, choices)
        for key, least in (("seed", 0), ("batch", 1), ("repeats", 1), ("threads", 0)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{key}: got {value!r}, expected a whole number of at least {least}.")
        for key in ("sizes", "resolutions"):
            values = tuple(getattr(self, key))
            if not all(type(value) is int and value > 0 for value in values):
                raise ConfigError(f"{key}: got {list(values)}, expected whole numbers of at least 1, as in {key}=[100,1000].")
            object.__setattr__(self, key, values)
        if not self.patience >= 0:
            raise ConfigError(f"patience: got {self.patience}, expected seconds, at least 0.")
        object.__setattr__(self, "out", Path(self.out))
        if self.out.suffix != ".json" or self.out.is_dir():
            raise ConfigError(f"out: got {self.out}, expected a file that ends in .json.")
