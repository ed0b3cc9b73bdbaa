"""Traces operations with sizes left open, then runs what came out on other sizes and compares.

Run as ``python trace_program.py NAME...``, with names of ``OPERATIONS``.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.export import Dim

from vla3d.pointcloud import ball_query, farthest_point_sampling, gather_points, knn, voxel_downsample
from vla3d.views import (
    ViewSet,
    lift_candidates,
    lift_expectation,
    lift_heatmaps,
    lift_rvt2_heatmaps,
    project_to_rvt2_views,
    render_frames,
    render_rvt2_views,
    render_views,
    rvt2_channels,
    rvt2_heatmap_targets,
    sample_by_inverse_distance,
)

VIEWS = ViewSet.from_names()
OBLIQUE = ViewSet.from_names(("top", "front_left", "front_right"))


class Whole(torch.nn.Module):
    """An operation between two others, as in a model."""

    def __init__(self, operation: Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        result = self.operation(points * 2, lengths)
        return tuple(part + 0 for part in (result if isinstance(result, tuple) else (result,)))


def rendered(points: Tensor, lengths: Tensor, views: ViewSet = VIEWS) -> tuple[Tensor, ...]:
    image = render_views(points - 1, points / 2, lengths, views, 8)
    return image.rgb, image.depth, image.xyz, image.mask, image.index


def rendered_rvt2(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    image = render_rvt2_views(points - 1, points / 2, lengths, 8)
    return rvt2_channels(image, points - 1, lengths), image.index


def lifted_rvt2(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """The first point of each cloud as a target, and what is lifted from it and from its images."""
    pixels = project_to_rvt2_views(points[:, :1] - 1, 8)[:, 0]
    heat = rvt2_heatmap_targets(pixels, 8)
    return *lift_rvt2_heatmaps(heat), sample_by_inverse_distance(heat, pixels)


def heat(points: Tensor, lengths: Tensor) -> Tensor:
    return rendered(points, lengths)[1] + 1


def rendered_frames(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """The coordinates as the depth image of one camera, 3 pixels wide."""
    depth, eye = points[:, None], torch.eye(4).expand(points.shape[0], 1, 4, 4)
    rgb = torch.full((*depth.shape, 3), 200, dtype=torch.uint8)
    image = render_frames(rgb, depth, eye[..., :3, :3], eye, torch.zeros(3), torch.full((3,), 50.0), OBLIQUE, 8, radius=0.3)
    low, high = (0.0, 0.0, 0.0), (50.0, 50.0, 50.0)
    in_metres = render_frames(rgb, depth, eye[..., :3, :3], eye, low, high, OBLIQUE, 8, radius_metres=7.5)
    return image.rgb, image.depth, image.index, in_metres.index


def voxels(points: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    found = voxel_downsample(points, 0.5, lengths, values=points * 3)
    assert found.lengths is not None and found.values is not None
    return found.points, found.lengths, found.count, found.index, found.values


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]] = {
    "farthest_point_sampling": lambda points, lengths: farthest_point_sampling(points, 16, lengths),
    "knn": lambda points, lengths: knn(points - 0.3, points, 5, None, lengths),
    "ball_query": lambda points, lengths: ball_query(points - 0.3, points, 0.5, 5, None, lengths, pad="repeat"),
    "gather_points": lambda points, lengths: gather_points(points, ball_query(points, points, 0.5, 5, None, lengths)[0]),
    "voxel_downsample": voxels,
    "render_views": rendered,
    "render_views, oblique": lambda points, lengths: rendered(points, lengths, OBLIQUE),
    "render_frames": rendered_frames,
    "render_rvt2_views": rendered_rvt2,
    "lift_rvt2_heatmaps": lifted_rvt2,
    "lift_heatmaps": lambda points, lengths: lift_heatmaps(heat(points, lengths), VIEWS, refine=True),
    "lift_heatmaps, oblique": lambda points, lengths: lift_heatmaps(heat(points, lengths), OBLIQUE, 5),
    "lift_candidates": lambda points, lengths: lift_candidates(heat(points, lengths), VIEWS, 3, 1),
    "lift_expectation": lambda points, lengths: lift_expectation(heat(points, lengths), VIEWS),
}


def check(module: torch.nn.Module) -> None:
    """Compile and export; both must agree with the eager module."""
    torch.compiler.reset()  # there is a limit to how often one module is compiled
    generator = torch.Generator().manual_seed(0)
    examples = [
        (torch.rand(batch, size, 3, generator=generator), torch.randint(size + 1, (batch,), generator=generator))
        for batch, size in ((2, 50), (3, 20))
    ]
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    batch, size = Dim("batch"), Dim("size")
    exported = torch.export.export(module, examples[0], dynamic_shapes=({0: batch, 1: size}, {0: batch})).module()
    for example in examples:
        expected = module(*example)
        for traced in (compiled, exported):
            for part, wanted in zip(traced(*example), expected, strict=True):
                torch.testing.assert_close(part, wanted, rtol=0, atol=0)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        check(Whole(OPERATIONS[name]))
