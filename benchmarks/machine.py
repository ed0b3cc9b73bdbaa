"""Where, when and with what figures were made, for the files in ``benchmarks/results``."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from typing import Any

from vla3d.commands.info import processor


def about_this_machine(packages: Iterable[str]) -> dict[str, Any]:
    """Date, processor, load, and the versions of Python and some packages."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}},
    }
