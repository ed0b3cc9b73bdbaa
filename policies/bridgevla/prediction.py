"""What BridgeVLA predicts, and how far it is from a recorded keyframe."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vla3d.geometry.rotations import geodesic_angle, quaternion_to_matrix
from vla3d.policies.bridgevla.processor import BridgeVLABatch
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
    """

    position: Float[Tensor, "B 3"]
    coarse_position: Float[Tensor, "B 3"]
    quaternion: Float[Tensor, "B 4"]
    gripper_open: Bool[Tensor, " B"]
    ignore_collisions: Bool[Tensor, " B"]
    views: Float[Tensor, "B L V 3 R R"]
    heatmaps: Float[Tensor, "B L V R R"]

    def action(self, row: int) -> KeyframeAction:
        """One row as an action."""
        return KeyframeAction(
            position=self.position[row].double().cpu().numpy(),
            quaternion=self.quaternion[row].double().cpu().numpy(),
            gripper_open=bool(self.gripper_open[row]),
            ignore_collisions=bool(self.ignore_collisions[row]),
        )


def gripper_rotation_error(predicted: Float[Tensor, "B 4"], target: Float[Tensor, "B 4"]) -> Float[Tensor, " B"]:
    """Angle in radians to the nearer of the two grasps that a parallel gripper cannot tell apart."""
    first, second = quaternion_to_matrix(predicted), quaternion_to_matrix(target)
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], device=second.device, dtype=second.dtype))
    return torch.minimum(geodesic_angle(first, second), geodesic_angle(first, second @ half_turn))


def keyframe_metrics(prediction: Prediction, batch: BridgeVLABatch, heatmap_hits: Bool[Tensor, "B V"]) -> dict[str, float]:
    """Means over a batch: errors in millimetres and degrees, and shares of right answers."""
    fine = (prediction.position - batch.position).norm(dim=-1)
    coarse = (prediction.coarse_position - batch.position).norm(dim=-1)
    angle = torch.rad2deg(gripper_rotation_error(prediction.quaternion, batch.quaternion))
    values = {
        "position_error_mm": 1000 * fine,
        "coarse_position_error_mm": 1000 * coarse,
        "within_2cm": fine < 0.02,
        "rotation_error_deg": angle,
        "heatmap_hit_rate": heatmap_hits.float().mean(dim=-1),
        "gripper_accuracy": prediction.gripper_open == batch.gripper_open,
        "collision_accuracy": prediction.ignore_collisions == batch.ignore_collisions,
    }
    return {name: float(value.float().mean()) for name, value in values.items()}
