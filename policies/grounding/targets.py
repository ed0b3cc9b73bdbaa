"""What demonstrated keyframes say about which thing a sentence means."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from vla3d.policies.batch_mean import MeanOf
from vla3d.policies.grounding.grounder import Grounding
from vla3d.policies.grounding.scenes import SeenScenes
from vla3d.scene_graphs.objectives.masking import masked_cross_entropy


def target_slots(
    scenes: SeenScenes, position: Float[Tensor, "B 3"], absent: Bool[Tensor, " B"], reach: float
) -> Int64[Tensor, " B"]:
    """The slot of what each keyframe concerns: the box nearest to it.

    Args:
        scenes: of the keyframes.
        position: of the keyframes, world metres.
        absent: where the right answer is that the thing is absent; the slot is the last one then, "none of them".
        reach: metres; where no box is within, the slot is ``NOT_COUNTED``.
    """
    nearest = scenes.boxes.nearest(position, scenes.things, reach)
    return torch.where(absent, scenes.things.shape[1], nearest)


def grounding_loss(logits: Float[Tensor, "B S"], slots: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
    """Cross-entropy of the slots that are meant; rows of a negative one do not count, and without any other the loss is 0."""
    return masked_cross_entropy(logits, slots.clamp(min=0), slots >= 0)


def grounding_accuracy(grounding: Grounding, slots: Int64[Tensor, " B"]) -> MeanOf | None:
    """Share of the rows that count whose likeliest slot is the one that is meant; None where no row counts."""
    counted = slots >= 0
    likeliest = torch.cat([grounding.things, grounding.nothing[:, None]], dim=1).argmax(dim=1)
    return MeanOf((likeliest == slots)[counted]) if bool(counted.any()) else None
