"""``conversion.json`` in a converted dataset: what it was made from, and which demonstrations were left out, and why.

Nothing in it depends on when, where or in how many runs the conversion was made.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla3d.data.store import EpisodeRef, canonical_json, disk_errors, replace_file
from vla3d.errors import DataError

RECORD_FILE = "conversion.json"


def read_skipped(dataset: Path) -> dict[EpisodeRef, str]:
    """Demonstrations that earlier runs left out, and why.

    Raises:
        DataError: the record is damaged.
    """
    path = dataset / RECORD_FILE
    try:
        skipped = json.loads(path.read_bytes())["skipped"]
        return {EpisodeRef.parse(name): str(reason) for name, reason in skipped.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run the same command again.") from error


def write_record(dataset: Path, request: Mapping[str, Any], skipped: Mapping[EpisodeRef, str]) -> None:
    """Write the record whole.

    Raises:
        DataError: the disk is full.
    """
    path = dataset / RECORD_FILE
    record = {"request": dict(request), "skipped": {str(ref): reason for ref, reason in sorted(skipped.items())}}
    text = json.dumps(json.loads(canonical_json(record, str(path))), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if path.exists() and path.read_text() == text:
        return
    with disk_errors(str(path)):
        replace_file(path, text)
