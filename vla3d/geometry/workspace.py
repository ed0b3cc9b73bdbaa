"""The workspace as the cube [-1, 1]^3 in which the virtual views live."""

import torch

from vla3d.geometry.transforms import SimilarityTransform
from vla3d.types import Workspace


def workspace_to_cube(workspace: Workspace, dtype: torch.dtype = torch.float32) -> SimilarityTransform:
    """The transform of world points (metres) that puts the workspace into the cube.

    The centre is the middle of the box and the scale 2 / its longest edge, so the box fits and keeps its proportions (the
    placement RVT and BridgeVLA use).

    Args:
        workspace: the box.
        dtype: of the transform.

    Returns:
        A transform of batch size 1, on the CPU, that broadcasts over any batch.
    """
    center = torch.as_tensor(workspace.center, dtype=torch.float64)[None]
    cube = SimilarityTransform.about(center, 2.0 / float(workspace.extent.max()))
    return SimilarityTransform(scale=cube.scale.to(dtype), translation=cube.translation.to(dtype))
