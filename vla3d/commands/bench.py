"""`vla3d bench`: time our operations and their peers in one run."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from vla3d import __version__
from vla3d.benchmarks.config import BenchConfig
from vla3d.commands.building import build, dated_folder
from vla3d.commands.info import processor
from vla3d.optional import EXTRAS, available, installed_versions

_PACKAGES = ("torch", "warp-lang", "numpy", "scipy", "fpsample", "torch_quickfps", "open3d", "pytorch3d")


def main(values: Mapping[str, Any]) -> None:
    """Run the command on composed values."""
    bench(build(BenchConfig, {**values, "out": values["out"] or dated_folder("bench") / f"{values['operations']}.json"}))


def bench(config: BenchConfig) -> Path:
    """Measure, print the table, and leave the JSON and the plot behind.

    Returns:
        The JSON file.

    Raises:
        Vla3dError: anything the user can mend.
    """
    from vla3d.benchmarks.report import markdown, plot
    from vla3d.benchmarks.run import run
    from vla3d.evaluation.results import write_atomic

    rows = run(config)
    about = _about(config)
    write_atomic(config.out, (json.dumps({"about": about, "rows": rows}, indent=1) + "\n").encode())
    print(f"\n{markdown(rows)}\n\n{config.out}")
    if config.plot and available("matplotlib"):
        picture = config.out.with_suffix(".png")
        write_atomic(picture, plot(rows, f"{about['device']}, {about['date']}"))
        print(picture)
    elif config.plot:
        print(f"No plot: matplotlib is not installed. Install it with: {EXTRAS['matplotlib'].install}")
    return config.out


def _about(config: BenchConfig) -> dict[str, Any]:
    """Where, when and with what the figures were made."""
    import torch

    on_gpu = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    return {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if on_gpu else processor(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch_threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {"vla3d": __version__, **installed_versions(_PACKAGES)},
        "settings": {**asdict(config), "out": str(config.out)},
    }
