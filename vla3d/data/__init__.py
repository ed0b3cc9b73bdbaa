"""Demonstrations at rest: the episode schema, the zarr store, other programs' formats, keyframes.

Names are imported on first use, so that importing the package costs nothing::

    from vla3d.data import open_demos

    dataset = open_demos("runs/demos")
    episode = dataset.read(dataset.episodes()[0])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla3d.data.reader import DemoDataset as DemoDataset
    from vla3d.data.reader import EpisodeInfo as EpisodeInfo
    from vla3d.data.sources import DemoSource as DemoSource
    from vla3d.data.sources import open_demos as open_demos
    from vla3d.data.store import EpisodeRef as EpisodeRef
    from vla3d.data.summary import describe_dataset as describe_dataset
    from vla3d.data.writer import DatasetWriter as DatasetWriter

_HOMES = {
    "DatasetWriter": "vla3d.data.writer",
    "DemoDataset": "vla3d.data.reader",
    "DemoSource": "vla3d.data.sources",
    "EpisodeInfo": "vla3d.data.reader",
    "EpisodeRef": "vla3d.data.store",
    "describe_dataset": "vla3d.data.summary",
    "open_demos": "vla3d.data.sources",
}
__all__ = ["DatasetWriter", "DemoDataset", "DemoSource", "EpisodeInfo", "EpisodeRef", "describe_dataset", "open_demos"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
