"""Where grounded boxes are in the views: an image of probabilities, and tokens made of it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.grounding.boxes import BoxTensors
from vla3d.views.projection import project_to_views
from vla3d.views.view_set import ViewSet

# Rays that graze an edge count: rounding must not punch lines of holes where two boxes touch.
_GRAZE = 1e-4


def box_shadows(boxes: BoxTensors, to_view: SimilarityTransform, views: ViewSet, resolution: int) -> Bool[Tensor, "B V N R R"]:
    """Which pixels' rays meet each box.

    A ray of an orthographic view is a whole line, and an orthographic picture of a box is the sum of the pictures of its three
    edges: a hexagon between three pairs of parallel lines, each along one of the edges. A pixel's centre is in the picture
    exactly when its ray meets the box (the slab test, seen along the ray).

    A box that lies wholly before or behind the cube [-1, 1]^3 is not seen, as points there are not.

    Args:
        boxes: in the world; a box of size 0 has no picture worth mentioning, but mask padding.
        to_view: world to the cube; of one scene, or of each.
        views: the cameras.
        resolution: image side ``R``, pixels.

    Raises:
        ValueError: a number that is not finite.
    """
    middle, edges = _pictures(boxes, to_view, views, resolution)
    # Three normals, each across one edge: a pixel is between the lines along that edge if the other two reach that far.
    normals = torch.stack([-edges[..., 1], edges[..., 0]], dim=-1)
    reach = torch.einsum("bvnic,bvnjc->bvnij", normals, edges).abs().sum(dim=-1)
    length = normals.norm(dim=-1)
    at = torch.arange(resolution, device=middle.device, dtype=middle.dtype) + 0.5
    across = normals[..., 0, None] * (at - middle[..., 0, None])[..., None, :]
    down = normals[..., 1, None] * (at - middle[..., 1, None])[..., None, :]
    inside: Tensor = _reaches_cube(boxes, to_view, views)[..., None, None]
    for side in range(3):
        offset = (across[..., side, None, :] + down[..., side, :, None]).abs()
        inside = inside & (offset <= (reach + _GRAZE * length)[..., side, None, None])
    return inside


def _pictures(
    boxes: BoxTensors, to_view: SimilarityTransform, views: ViewSet, resolution: int
) -> tuple[Float[Tensor, "B V N 2"], Float[Tensor, "B V N 3 2"]]:
    """Where each view shows a box's middle, and its three half edges as arrows, in pixels."""
    halves = (boxes.rotation * (boxes.size / 2)[..., None, :]).transpose(-1, -2)
    points = torch.cat([boxes.center[:, :, None], boxes.center[:, :, None] + halves], dim=2)
    if not bool(torch.isfinite(points).all()):
        raise ValueError("boxes: got a number that is not finite, expected centres, rotations and sizes in metres.")
    count = points.shape[1]
    pixels = project_to_views(to_view.apply(points).flatten(1, 2), views, resolution)
    pixels = pixels.unflatten(1, (count, 4)).permute(0, 3, 1, 2, 4)
    return pixels[..., 0, :], pixels[..., 1:, :] - pixels[..., :1, :]


def _reaches_cube(boxes: BoxTensors, to_view: SimilarityTransform, views: ViewSet) -> Bool[Tensor, "B V N"]:
    """Which boxes are at least in part between the planes that touch the cube before and behind."""
    forward = views.axes(boxes.center.device)[:, 2]
    depth = torch.einsum("bnc,vc->bvn", to_view.apply(boxes.center), forward)
    half = torch.einsum("vc,bncd,bnd->bvnd", forward, boxes.rotation, boxes.size / 2).abs().sum(dim=-1)
    near = torch.tensor([camera.near for camera in views], device=depth.device)[:, None]
    return depth.abs() - half * to_view.scale[:, None, None] <= near


def box_prior(
    boxes: BoxTensors,
    weights: Float[Tensor, "B N"],
    to_view: SimilarityTransform,
    views: ViewSet,
    resolution: int,
) -> Float[Tensor, "B V R R"]:
    """At each pixel the largest weight of the boxes that its ray meets, 0 where it meets none.

    Gradients flow to the weights; where boxes of equal weight overlap they share it.

    Args:
        boxes: in the world.
        weights: of the boxes, in [0, 1]; 0 at padding.
        to_view: world to the cube [-1, 1]^3, for example of a second, magnified look; of one scene, or of each.
        views: the cameras.
        resolution: image side ``R``, pixels.

    Raises:
        ValueError: a number that is not finite.
    """
    if not bool(torch.isfinite(weights).all()):
        raise ValueError("weights: got a number that is not finite, expected probabilities in [0, 1].")
    if not weights.shape[1]:
        return weights.new_zeros(len(weights), len(views), resolution, resolution)
    shadows = box_shadows(boxes, to_view, views, resolution)
    return torch.where(shadows, weights[:, None, :, None, None], 0.0).amax(dim=2)


class PriorEmbedding(nn.Conv2d):
    """Patches of a prior as additions to image tokens. At first they are zero: a policy begins as it would without.

    Args:
        dim: width of the tokens.
        patch: side of a patch, pixels.
    """

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__(1, dim, patch, stride=patch, bias=False)
        nn.init.zeros_(self.weight)

    def forward(self, prior: Float[Tensor, "B V R R"]) -> Float[Tensor, "B V gh gw D"]:
        """One addition for each patch."""
        tokens = super().forward(prior.flatten(0, 1)[:, None])
        return tokens.permute(0, 2, 3, 1).unflatten(0, prior.shape[:2])
