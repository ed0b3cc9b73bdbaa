"""Demonstrations at rest: the episode schema, the zarr store, keyframes.

Names are imported on first use, so that importing the package costs nothing::

    from vla3d.data import DemoDataset

    dataset = DemoDataset("runs/demos")
    episode = dataset.read(dataset.episodes()[0])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla3d.data.reader import DemoDataset as DemoDataset
    from vla3d.data.reader import EpisodeInfo as EpisodeInfo
    from vla3d.data.store import EpisodeRef as EpisodeRef
    from vla3d.data.summary import describe_dataset as describe_dataset
    from vla3d.data.writer import DatasetWriter as DatasetWriter

_HOMES = {
    "DatasetWriter": "vla3d.data.writer",
    "DemoDataset": "vla3d.data.reader",
    "EpisodeInfo": "vla3d.data.reader",
    "EpisodeRef": "vla3d.data.store",
    "describe_dataset": "vla3d.data.summary",
}
__all__ = ["DatasetWriter", "DemoDataset", "EpisodeInfo", "EpisodeRef", "describe_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
