"""Frames to views in one call: the images of the detour over a compact cloud."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.geometry import SimilarityTransform, make_transform, pinhole_intrinsics, random_rotation, workspace_to_cube
from vla3d.pointcloud import crop, fuse_frames
from vla3d.types import Workspace
from vla3d.views import ViewSet, render_frames, render_views

seeds = st.integers(0, 2**31 - 1)
LOW, HIGH = (-1.0, -1.2, -0.9), (1.1, 1.0, 1.3)
VIEWS = ViewSet.from_names(("top", "front", "right", "front_left"))


def frames(seed: int, batch: int = 2, cameras: int = 4, height: int = 9, width: int = 11) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.randint(0, 256, (batch, cameras, height, width, 3), generator=generator, dtype=torch.uint8)
    depth = torch.rand(batch, cameras, height, width, generator=generator) * 2 + 0.2
    holes = torch.rand(depth.shape, generator=generator)
    depth[holes < 0.1], depth[holes > 0.9] = 0.0, math.nan
    intrinsics = torch.from_numpy(pinhole_intrinsics(1.2, height, width)).float().expand(batch, cameras, 3, 3)
    rotation = random_rotation(generator, (batch, cameras))
    pose = make_transform(rotation, torch.randn(batch, cameras, 3, generator=generator) * 0.5)
    return rgb, depth, intrinsics, pose


@given(seed=seeds, zoom=st.sampled_from([None, 2.5]), footprint=st.integers(0, 2))
def test_equals_compacting_first(seed: int, zoom: float | None, footprint: int) -> None:
    to_cube = workspace_to_cube(Workspace.from_bounds(LOW, HIGH))
    to_view = to_cube if zoom is None else SimilarityTransform.about(torch.zeros(1, 3), zoom).compose(to_cube)
    seen = frames(seed)
    cloud = fuse_frames(*seen, LOW, HIGH)
    expected = render_views(to_view.apply(cloud.points), cloud.colors, cloud.lengths, VIEWS, 12, footprint)
    image = render_frames(*seen, LOW, HIGH, VIEWS, 12, footprint, to_view=None if zoom is None else to_view)
    for field in ("rgb", "depth", "xyz", "mask"):
        assert torch.equal(getattr(image, field), getattr(expected, field)), field
    assert image.mask.any()


def test_the_index_is_the_pixel_of_the_frames() -> None:
    rgb, *rest = frames(3)
    image = render_frames(rgb, *rest, LOW, HIGH, VIEWS, 12, radius=0.1)
    for b, v, i, j in torch.nonzero(image.mask).tolist():
        camera, row, column = torch.unravel_index(image.index[b, v, i, j], rgb.shape[1:4])
        assert torch.equal(image.rgb[b, v, :, i, j], rgb[b, camera, row, column].float() / 255)


@given(seeds)
def test_keeping_every_pixel_keeps_the_same_points(seed: int) -> None:
    seen = frames(seed)
    cloud, whole = fuse_frames(*seen, LOW, HIGH), fuse_frames(*seen, LOW, HIGH, compact=False)
    assert whole.points.shape == (2, 4 * 9 * 11, 3) and whole.lengths.tolist() == [4 * 9 * 11] * 2
    low, high = [-0.5] * 3, [0.5] * 3
    for tight, loose in ((cloud, whole), (crop(cloud, low, high), crop(whole, low, high, compact=False))):
        for b in range(2):
            kept = loose.points[b].isfinite().all(1)
            assert torch.equal(loose.points[b][kept], tight.points[b, : tight.lengths[b]])
            assert torch.equal(loose.colors[b][kept], tight.colors[b, : tight.lengths[b]])


def test_gradients_reach_the_cameras_depth() -> None:
    rgb, depth, intrinsics, pose = frames(5)
    image = render_frames(rgb, depth.requires_grad_(), intrinsics, pose, LOW, HIGH, VIEWS, 12, 0)
    image.depth[image.mask].sum().backward()
    assert depth.grad is not None and depth.grad.isfinite().all()
    shown = torch.zeros(2, depth[0].numel(), dtype=torch.bool)
    for b in range(2):
        shown[b, image.index[b][image.mask[b]]] = True
    assert (depth.grad.flatten(1)[~shown] == 0).all() and (depth.grad.flatten(1)[shown] != 0).float().mean() > 0.9


FIELDS = ("rgb", "depth", "xyz", "mask", "index")


@pytest.mark.parametrize(("zoom", "footprint"), [(None, 2), (1.5, 3), (2.0, 4)])
def test_metres_stay_metres_when_the_cube_is_magnified(zoom: float | None, footprint: int) -> None:
    """The box is 2.2 m wide: of 110 pixels each is 2 cm, and 4 cm are two of them, or as many more as the zoom says."""
    to_cube = workspace_to_cube(Workspace.from_bounds(LOW, HIGH))
    to_view = None if zoom is None else SimilarityTransform.about(torch.zeros(1, 3), zoom).compose(to_cube)
    by_metres = render_frames(*frames(7), LOW, HIGH, VIEWS, 110, radius_metres=0.04, to_view=to_view)
    by_pixels = render_frames(*frames(7), LOW, HIGH, VIEWS, 110, footprint, to_view=to_view)
    for field in FIELDS:
        assert torch.equal(getattr(by_metres, field), getattr(by_pixels, field)), field
    on_device = render_frames(
        *frames(7), torch.tensor(LOW), torch.tensor(HIGH), VIEWS, 110, radius_metres=0.04, to_view=to_view
    )
    assert torch.equal(on_device.index, by_pixels.index)


def test_clouds_of_one_batch_may_be_magnified_differently() -> None:
    seen, zooms = frames(8), torch.tensor([1.0, 3.0])
    to_cube = workspace_to_cube(Workspace.from_bounds(LOW, HIGH))
    center = torch.zeros(2, 3)
    together = render_frames(
        *seen, LOW, HIGH, VIEWS, 64, radius_metres=0.05, to_view=SimilarityTransform.about(center, zooms).compose(to_cube)
    )
    for b, zoom in enumerate(zooms.tolist()):
        to_view = SimilarityTransform.about(center[:1], zoom).compose(to_cube)
        alone = render_frames(*(part[b : b + 1] for part in seen), LOW, HIGH, VIEWS, 64, radius_metres=0.05, to_view=to_view)
        for field in FIELDS:
            assert torch.equal(getattr(together, field)[b], getattr(alone, field)[0]), field


@pytest.mark.wrong_shapes
def test_refusals() -> None:
    rgb, depth, intrinsics, pose = frames(0)
    with pytest.raises(ValueError, match="frames: got rgb"):
        render_frames(rgb[:, :2], depth, intrinsics, pose, LOW, HIGH, VIEWS, 12)
    with pytest.raises(ValueError, match="radius"):
        render_frames(rgb, depth, intrinsics, pose, LOW, HIGH, VIEWS, 12, radius=-1.0)
    with pytest.raises(ValueError, match=r"radius_metres: got 2.5, expected 0 to 2.2 .*, in metres"):
        render_frames(rgb, depth, intrinsics, pose, LOW, HIGH, VIEWS, 12, radius_metres=2.5)
    with pytest.raises(ValueError, match=r"radius_metres: got 0.1 beside footprint 1, expected one of the two"):
        render_frames(rgb, depth, intrinsics, pose, LOW, HIGH, VIEWS, 12, 1, radius_metres=0.1)
