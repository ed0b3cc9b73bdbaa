"""Virtual cameras: hand-computed directions, presets, refusals."""

import numpy as np
import pytest
import torch

from vla3d.errors import ConfigError
from vla3d.views import VIEW_PRESETS, ViewSet, VirtualCamera, project_to_views


@pytest.mark.parametrize("name", sorted(VIEW_PRESETS))
def test_presets_are_right_handed_frames(name):
    camera = VIEW_PRESETS[name]
    axes = np.array([camera.right, camera.down, camera.forward])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(camera.right, camera.down), camera.forward, atol=1e-12)
    assert camera.name == name


def test_default_views_see_what_the_conventions_say():
    # A point ahead of the middle, to the left and high, in an image of 8 pixels.
    pixels = project_to_views(torch.tensor([[[0.5, 0.25, 0.75]]]), ViewSet.from_names(), 8)[0, 0]
    top, front, right = pixels.tolist()
    assert top == [3.0, 2.0]  # from above, robot at the lower edge: left is left, ahead is up
    assert front == [5.0, 1.0]  # towards the robot: its left is our right
    assert right == [6.0, 1.0]  # from the robot's right: ahead is right


def test_corners_and_centre_of_the_cube_project_to_the_image_borders_and_middle():
    points = torch.tensor([[[-1.0, -1, -1], [0, 0, 0], [1, 1, 1]]])
    pixels = project_to_views(points, ViewSet.from_names(("right",)), 64)[0, :, 0]
    assert pixels.tolist() == [[0, 64], [32, 32], [64, 0]]


def test_axis_aligned_is_known():
    assert ViewSet.from_names(("top", "back", "left")).axis_aligned
    assert not ViewSet.from_names(("top", "front_left")).axis_aligned
    # A hair off an axis is not aligned: treating it so would shift pixels.
    tilted = VirtualCamera("tilted", (1.0, 1e-8, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
    assert not tilted.axis_aligned


def test_axes_tensor_and_order():
    views = ViewSet.from_names(("front", "top"))
    assert views.names == ("front", "top") and len(views) == 2
    assert views.axes().tolist()[0] == [[0, 1, 0], [0, 0, -1], [-1, 0, 0]]
    assert hash(views) == hash(ViewSet.from_names(("front", "top")))


@pytest.mark.wrong_shapes
def test_refusals():
    with pytest.raises(ConfigError, match="Did you mean 'front'"):
        ViewSet.from_names(("top", "frnt"))
    with pytest.raises(ValueError, match="at least one camera"):
        ViewSet(())
    with pytest.raises(ValueError, match="its own name"):
        ViewSet.from_names(("top", "top"))
    with pytest.raises(ValueError, match="right x down = forward"):
        VirtualCamera("mirrored", (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    with pytest.raises(ValueError, match="parallel"):
        VirtualCamera.looking("down", (0.0, 0.0, -1.0))
    with pytest.raises(ValueError, match="parallel"):
        VirtualCamera.looking("nowhere", (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="batch, points, 3"):
        project_to_views(torch.zeros(4, 3), ViewSet.from_names(), 8)
