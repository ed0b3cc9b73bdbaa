"""From points and a box to one feature per object."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.scene_graphs.encoder.inputs import BOX_FEATURES, POINT_FEATURES


class ObjectEncoder(nn.Module):
    """A shared network on every point and the largest answer of all (Qi et al., "PointNet", 2017), plus a network on the box.

    Args:
        config: sizes.

    Attributes:
        no_points: stands for the points of an object of which none were seen.
        hidden_points: stands for points that are hidden.
        hidden_box: stands for a box that is hidden.
    """

    def __init__(self, config: SceneEncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.point_net = nn.Sequential(
            nn.Linear(POINT_FEATURES, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2 * width)
        )
        self.point_head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width))
        self.box_net = nn.Sequential(nn.Linear(BOX_FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self.no_points = nn.Parameter(0.02 * torch.randn(width))
        self.hidden_points = nn.Parameter(0.02 * torch.randn(width))
        self.hidden_box = nn.Parameter(0.02 * torch.randn(width))

    def shapes(self, points: Float[Tensor, "S P 6"], point_mask: Bool[Tensor, "S P"]) -> Float[Tensor, "S D"]:
        """What the points of each object tell.

        Args:
            points: see `GraphTensors`.
            point_mask: which points are there.
        """
        answers = self.point_net(points).masked_fill(~point_mask[..., None], float("-inf")).amax(dim=1)
        seen = point_mask.any(dim=1, keepdim=True)
        return torch.where(seen, self.point_head(torch.where(seen, answers, 0.0)), self.no_points)

    def forward(
        self,
        shapes: Float[Tensor, "S D"],
        boxes: Float[Tensor, "S 13"],
        hide_points: Bool[Tensor, "S"] | None = None,
        hide_boxes: Bool[Tensor, "S"] | None = None,
    ) -> Float[Tensor, "S D"]:
        """A feature for each object.

        Args:
            shapes: see `shapes`.
            boxes: see `GraphTensors`.
            hide_points: objects whose points must not be looked at.
            hide_boxes: objects whose box must not be looked at.
        """
        place = self.box_net(boxes)
        if hide_points is not None:
            shapes = torch.where(hide_points[:, None], self.hidden_points, shapes)
        if hide_boxes is not None:
            place = torch.where(hide_boxes[:, None], self.hidden_box, place)
        return self.norm(shapes + place)
