"""Which weight of a checkpoint of the release becomes which of ours, decided from names and shapes alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from vla3d.errors import CheckpointError
from vla3d.policies.bridgevla_v1.checkpoint_files import StoredTensor
from vla3d.policies.bridgevla_v1.names import EMBEDDINGS, HEAD_NAMES, LM_HEAD, bare_name, our_name, reason_left_over

Kind = Literal["fine-tuned", "pre-trained"]

_RVT2 = ("patchify", "proprio_preprocess", "lang_preprocess", "fc_bef_attn", "fc_aft_attn", "pos_encoding", "layers")
_PLUS_PLUS = (
    "mem_spatial_s1", "mem_spatial_s2", "mem_temporal_s1", "keyframe_disc", "up0_arms", "feat_fc_arms", "feat_fc_rot_arms",
    "feat_fc", "up_grounding", "up_action",
)  # fmt: skip
_ACTION_HEADS = tuple(name for name in HEAD_NAMES if not name.startswith("up0"))


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """What becomes of every key.

    Attributes:
        used: our name to the checkpoint's.
        left_over: the checkpoint's name to the reason why nothing here needs it.
        fresh: our names that such a checkpoint does not hold and that start from random weights.
        missing: our names that it should hold and does not.
        different: a sentence on each whose shape differs.
        unexplained: names that nothing is known of.
    """

    used: Mapping[str, str]
    left_over: Mapping[str, str]
    fresh: tuple[str, ...]
    missing: tuple[str, ...]
    different: tuple[str, ...]
    unexplained: tuple[str, ...]

    def check(self, source: object) -> None:
        """Refuse a checkpoint that does not fit whole.

        Raises:
            CheckpointError: naming the first key of those that do not fit.
        """
        if self.different:
            raise CheckpointError(
                f"{source} is of another size: {len(self.different)} weights differ, first {self.different[0]}; put the "
                "config.json of its PaliGemma beside the tokenizer."
            )
        if self.missing:
            raise CheckpointError(
                f"{source} lacks {len(self.missing)} of the {len(self.used) + len(self.missing)} weights needed, first "
                f"{self.missing[0]!r}; fetch the whole checkpoint."
            )
        if self.unexplained:
            raise CheckpointError(
                f"{source} holds {len(self.unexplained)} weights that bridgevla_v1 has no place for, first "
                f"{self.unexplained[0]!r}; expected a checkpoint of the 2025 release of BridgeVLA."
            )


def kind_of(names: Iterable[str], source: object) -> Kind:
    """Which of the release's checkpoints it is.

    Args:
        names: its keys.
        source: where it lies, for messages.

    Raises:
        CheckpointError: it is another program's, or another release's.
    """
    keys = list(names)
    bare = {bare_name(name) for name in keys}
    roots = {name.partition(".")[0] for name in bare}
    second = [name for name in keys if re.match(r"(module\.)*mvt2\.", name)]
    if second or roots & set(_RVT2):
        seen = second[0] if second else sorted(roots & set(_RVT2))[0]
        raise CheckpointError(
            f"{source} is a checkpoint of RVT or RVT-2 (it holds {seen!r}): those have a transformer of their own in place of "
            "PaliGemma; expected one of BridgeVLA's 2025 release."
        )
    if roots & set(_PLUS_PLUS):
        raise CheckpointError(
            f"{source} is a checkpoint of BridgeVLA++ (it holds {sorted(roots & set(_PLUS_PLUS))[0]!r}): that one predicts 6D "
            "rotations and reads a memory of earlier keyframes, which bridgevla_v1 does not; expected one of the 2025 release."
        )
    if "up0" not in roots or "vision_tower" not in roots:
        what = "PaliGemma without BridgeVLA's heatmap head 'up0'" if "vision_tower" in roots else "no BridgeVLA"
        raise CheckpointError(f"{source} is {what}; expected a checkpoint of BridgeVLA's 2025 release.")
    return "fine-tuned" if roots & set(_ACTION_HEADS) else "pre-trained"


def map_keys(stored: Mapping[str, StoredTensor], expected: Mapping[str, Tensor], kind: Kind) -> KeyMap:
    """Decide over every key.

    Args:
        stored: what the checkpoint holds.
        expected: the policy's weights; only their shapes are looked at, so they may lie on the meta device.
        kind: see `kind_of`.
    """
    used: dict[str, str] = {}
    left_over: dict[str, str] = {}
    unexplained = []
    for name in stored:
        ours, reason = our_name(name), reason_left_over(name)
        if ours is not None and ours in expected and ours not in used:
            used[ours] = name
        elif reason is not None:
            left_over[name] = reason
        else:
            unexplained.append(name)
    _take_tied_embeddings(used, left_over)
    lacking = [name for name in expected if name not in used]
    fresh = tuple(name for name in lacking if kind == "pre-trained" and name.startswith("action_head."))
    different = tuple(
        f"{name!r} ({theirs!r} there), got {list(stored[theirs].shape)}, expected {list(expected[name].shape)}"
        for name, theirs in used.items()
        if stored[theirs].shape != tuple(expected[name].shape)
    )
    return KeyMap(
        used={name: used[name] for name in expected if name in used},
        left_over=left_over,
        fresh=fresh,
        missing=tuple(name for name in lacking if name not in fresh),
        different=different,
        unexplained=tuple(unexplained),
    )


def _take_tied_embeddings(used: dict[str, str], left_over: dict[str, str]) -> None:
    """PaliGemma's output layer is its embedding, and a file may hold the two as one under either name."""
    for name in [name for name in left_over if bare_name(name) == LM_HEAD]:
        if EMBEDDINGS not in used:
            used[EMBEDDINGS] = name
            del left_over[name]
