"""vla3d's own store, as one format among the others."""

from pathlib import Path

from vla3d.data.reader import DemoDataset
from vla3d.data.sources import DemoSource, SourceOptions
from vla3d.data.store import METADATA

LAYOUT = f"what vla3d collect writes, with a {METADATA}"


def recognise(path: Path) -> bool:
    """Whether a folder is a dataset of vla3d, whole or damaged."""
    return (path / METADATA).is_file()


def open_source(path: Path, options: SourceOptions) -> DemoSource:
    """Open a dataset. It stores its keyframes, so ``keyframe_rule`` changes nothing here.

    Raises:
        SchemaVersionError: it was written under another schema.
        DataError: its metadata are damaged.
    """
    return DemoDataset(path, on_corrupt="skip" if options.on_corrupt == "skip" else "raise")
