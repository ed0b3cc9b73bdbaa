"""Scene seeds: the same request gives the same scene, and no two splits ever share one."""

import hashlib
from typing import Literal, get_args

from vla3d.errors import unknown_name

Split = Literal["train", "validation", "test"]
_SPLITS: tuple[str, ...] = get_args(Split)


def scene_seed(split: Split, seed: int, task: str, index: int) -> int:
    """Seed of scene ``index`` of ``task`` in a split, below 2**31 (what gymnasium and NumPy both take).

    The split sits in the two highest bits, so scenes of different splits cannot share a seed.
    """
    if split not in _SPLITS:
        raise unknown_name("split", split, _SPLITS)
    digest = hashlib.sha256(f"{seed}/{task}/{index}".encode()).digest()
    return (_SPLITS.index(split) << 29) | (int.from_bytes(digest[:8], "big") & ((1 << 29) - 1))


def split_of(scene: int) -> str:
    """The split that a scene seed belongs to."""
    return _SPLITS[scene >> 29]
