"""What BridgeVLA predicts, and how far it is from a recorded keyframe."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.policies.base import Decision, PolicyExplanation
from vla3d.policies.batch_mean import MeanOf
from vla3d.policies.bridgevla.processor import BridgeVLABatch
from vla3d.policies.grounding.grounder import Grounding
from vla3d.policies.keyframe_errors import keyframe_errors, look_errors
from vla3d.types import KeyframeAction


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Both looks of a batch of scenes (L = 2).

    Attributes:
        position: target of the tool centre point, world metres.
        coarse_position: where the first look pointed.
        quaternion: target orientation, wxyz.
        gripper_open: state of the gripper afterwards.
        ignore_collisions: whether to move straight.
        views: what each look saw.
        heatmaps: probabilities over the pixels of each view of each look.
        pixel_maps: where each view of each look shows a world point, see ``PolicyExplanation``.
        absence: probability that what is asked for is absent, of a policy that can answer so.
        grounding: what the sentence was taken to mean, of a policy that reads scene graphs.
        priors: where that is in each view of each look.
    """

    position: Float[Tensor, "B 3"]
    coarse_position: Float[Tensor, "B 3"]
    quaternion: Float[Tensor, "B 4"]
    gripper_open: Bool[Tensor, " B"]
    ignore_collisions: Bool[Tensor, " B"]
    views: Float[Tensor, "B L V 3 R R"]
    heatmaps: Float[Tensor, "B L V R R"]
    pixel_maps: Float[Tensor, "B L V 2 4"]
    absence: Float[Tensor, " B"] | None = None
    grounding: Grounding | None = None
    priors: Float[Tensor, "B L V R R"] | None = None

    def action(self, row: int) -> KeyframeAction:
        """One row as an action."""
        return KeyframeAction(
            position=self.position[row].double().cpu().numpy(),
            quaternion=self.quaternion[row].double().cpu().numpy(),
            gripper_open=bool(self.gripper_open[row]),
            ignore_collisions=bool(self.ignore_collisions[row]),
        )

    def decision(self, row: int, view_names: tuple[str, ...]) -> Decision:
        """One row as an action, with what was looked at."""
        positions = torch.stack([self.coarse_position[row], self.position[row]])
        explanation = PolicyExplanation(
            view_names=view_names,
            views=self.views[row].float().cpu().numpy(),
            heatmaps=self.heatmaps[row].float().cpu().numpy(),
            positions=positions.float().cpu().numpy(),
            pixel_maps=self.pixel_maps[row].float().cpu().numpy(),
            absence=None if self.absence is None else float(self.absence[row]),
            priors=None if self.priors is None else self.priors[row].float().cpu().numpy(),
        )
        return Decision(action=self.action(row), explanation=explanation)


def keyframe_metrics(prediction: Prediction, batch: BridgeVLABatch) -> dict[str, float]:
    """Means over the rows of a batch that ask for a motion: errors in millimetres and degrees, and shares of right answers.

    Empty where no row does.
    """
    moving = ~batch.absent
    if not bool(moving.any()):
        return {}
    looks = look_errors(prediction.coarse_position, prediction.heatmaps, prediction.pixel_maps, batch.position)
    errors = keyframe_errors(prediction, batch) | looks
    return {name: MeanOf(value[moving]) for name, value in errors.items()}
