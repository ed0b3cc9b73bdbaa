"""From the heatmaps of three virtual cameras to one voxel."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from vla3d.benchmarks.cases import Case, Contestant, uniform
from vla3d.kernels.operators import reference_kernels
from vla3d.views import ViewSet, lift_heatmaps, project_to_views

_Lifted = tuple[Float[Tensor, "B 3"], Float[Tensor, "B"]]


def case(size: int, batch: int, seed: int, device: torch.device) -> Case:
    """The task for heatmaps of ``size`` pixels and as many voxels a side."""
    views = ViewSet.from_names()
    heat = uniform((batch, len(views), size, size), seed, device)

    def by_reference() -> _Lifted:
        with reference_kernels():
            return lift_heatmaps(heat, views)

    return Case(
        op="lift",
        name=f"lift:3x{size}->{size}^3",
        size=size,
        ours=Contestant(name="vla3d", run=lambda: lift_heatmaps(heat, views), answer=_point),
        peers=(
            Contestant(name="torch reference", run=by_reference, answer=_point),
            Contestant(name="torch dense", run=lambda: [dense(maps, views) for maps in heat], answer=torch.stack),
        ),
        touched=batch * len(views) * size * size * 4,
        # Interpolated at the centre of a pixel, heat may change in its last bit.
        agree=torch.allclose,
    )


def _point(lifted: _Lifted) -> Tensor:
    return lifted[0]


def dense(heat: Float[Tensor, "V R R"], views: ViewSet) -> Float[Tensor, "3"]:
    """The best voxel, with the heat of all of them in memory."""
    side = heat.shape[-1]
    centers = (torch.arange(side, device=heat.device) * 2 + 1) / side - 1
    voxels = torch.cartesian_prod(centers, centers, centers)
    pixels = project_to_views(voxels[None], views, side)[0]
    score = torch.stack(
        [
            grid_sample(image[None, None], (pixel * (2 / side) - 1)[None, None], padding_mode="border", align_corners=False)
            for image, pixel in zip(heat, pixels.unbind(1), strict=True)
        ]
    ).mean(0)
    return voxels[score.flatten().argmax()]
