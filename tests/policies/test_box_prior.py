"""Boxes drawn into orthographic views, against points sampled in them; how boxes move, and how far points are."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vla3d.geometry.rotations import quaternion_to_matrix
from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.grounding.boxes import NOT_COUNTED, BoxTensors
from vla3d.policies.grounding.prior import PriorEmbedding, box_prior, box_shadows
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.views.projection import project_to_views
from vla3d.views.view_set import ViewSet

VIEWS = ViewSet.from_names(("top", "front", "right", "front_left"))
SIZE = 32  # pixels
TO_CUBE = SimilarityTransform.about(torch.tensor([[0.5, 0.0, 0.25]]), 2.5)
ZOOMED = SimilarityTransform.about(torch.tensor([[0.1, -0.2, 0.05], [-0.1, 0.1, 0.0]]), 2.5).compose(TO_CUBE)


def random_boxes(seed: int, scenes: int = 2, count: int = 4) -> BoxTensors:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(scenes):
        quaternions = rng.normal(size=(count, 4))
        made.append(
            BoxTensors.of(
                [
                    OrientedBox(
                        center=rng.uniform((0.3, -0.25, 0.05), (0.7, 0.25, 0.45)),
                        size=rng.uniform(0.03, 0.25, 3),
                        quaternion=quaternion / np.linalg.norm(quaternion),
                    )
                    for quaternion in quaternions
                ]
            )
        )
    return BoxTensors.stack(made)


def corners(boxes: BoxTensors) -> Tensor:
    """World points: (B, N, 8, 3)."""
    unit = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    return (unit * boxes.size[:, :, None]) @ boxes.rotation.transpose(-1, -2) + boxes.center[:, :, None]


def points_on_rays(to_view: SimilarityTransform, axes: Tensor, count: int = 600) -> Tensor:
    """World points, close together, on the lines that a view's pixel centres see: (B, R * R, count, 3)."""
    at = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    down, right = (grid.reshape(-1, 1, 1) for grid in torch.meshgrid(at, at, indexing="ij"))
    along = torch.linspace(-4, 4, count)[:, None]
    points = right * axes[0] + down * axes[1] + along * axes[2]
    return to_view.inverse().apply(points[None].expand(2, *points.shape))


@pytest.mark.parametrize("to_view", [TO_CUBE, ZOOMED], ids=["first look", "second looks"])
def test_a_box_is_drawn_where_points_of_it_are_seen(to_view: SimilarityTransform) -> None:
    boxes = random_boxes(1)
    shadows = box_shadows(boxes, to_view, VIEWS, SIZE)
    met = torch.zeros_like(shadows)
    row, column = torch.arange(SIZE**2) // SIZE, torch.arange(SIZE**2) % SIZE
    for view, axes in enumerate(VIEWS.axes()):
        points = points_on_rays(to_view, axes)
        pixels = project_to_views(to_view.apply(points[:, :, :2]).flatten(1, 2), VIEWS, SIZE)[:, :, view]
        centers = torch.stack([column, row], -1).repeat_interleave(2, dim=0).expand(2, -1, 2) + 0.5
        torch.testing.assert_close(pixels, centers, atol=1e-3, rtol=0)
        local = (points[:, None] - boxes.center[:, :, None, None]) @ boxes.rotation[:, :, None]
        inside = (local.abs() <= boxes.size[:, :, None, None] / 2).all(-1)
        met[:, view] = inside.any(-1).unflatten(-1, (SIZE, SIZE))
    reached = reaches_cube(boxes, to_view)
    assert not (met & reached & ~shadows).any()
    assert not (shadows & ~reached).any()
    # A ray that cuts a corner may pass between the points.
    assert (shadows & ~met).float().mean() < 0.04 * shadows.float().mean()


def reaches_cube(boxes: BoxTensors, to_view: SimilarityTransform) -> Tensor:
    """Which boxes are not wholly before or behind the cube: (B, V, N, 1, 1)."""
    depth = torch.einsum("bnkc,vc->bvnk", to_view.apply(corners(boxes)), VIEWS.axes()[:, 2])
    near = torch.tensor([camera.near for camera in VIEWS])[:, None]
    return ((depth.amin(-1) <= near) & (depth.amax(-1) >= -near))[..., None, None]


def test_a_box_behind_the_cube_is_not_drawn() -> None:
    boxes = BoxTensors.of([OrientedBox.upright((0.5, 0.0, z), (0.1, 0.1, 0.1)) for z in (0.25, -0.3)])
    shadows = box_shadows(boxes, TO_CUBE, ViewSet.from_names(("top",)), SIZE)
    assert shadows[0, 0].flatten(1).any(1).tolist() == [True, False]


def test_an_upright_box_fills_its_rectangle() -> None:
    boxes = BoxTensors.of([OrientedBox.upright((0.5, 0.0, 0.25), (0.4, 0.2, 0.1))])
    prior = box_prior(boxes, torch.tensor([[0.7]]), TO_CUBE, ViewSet.from_names(("top",)), SIZE)[0, 0]
    # The cube is 0.8 m wide: 0.4 m is half of the 32 pixels, 0.2 m a quarter.
    assert torch.equal(prior > 0, torch.nn.functional.pad(torch.ones(16, 8), (12, 12, 8, 8)) > 0)
    assert torch.equal(prior.unique(), torch.tensor([0.0, 0.7]))


def test_the_largest_weight_wins_and_the_order_of_boxes_does_not_matter() -> None:
    boxes, weights = random_boxes(3), torch.rand(2, 4, generator=torch.Generator().manual_seed(1))
    prior = box_prior(boxes, weights, TO_CUBE, VIEWS, SIZE)
    singles = [
        box_prior(
            BoxTensors(**{key: value[:, one : one + 1] for key, value in vars(boxes).items()}),
            weights[:, one : one + 1], TO_CUBE, VIEWS, SIZE,
        )
        for one in range(4)
    ]  # fmt: skip
    assert torch.equal(prior, torch.stack(singles).amax(0))
    order = torch.tensor([2, 0, 3, 1])
    turned = BoxTensors(**{key: value[:, order] for key, value in vars(boxes).items()})
    assert torch.equal(box_prior(turned, weights[:, order], TO_CUBE, VIEWS, SIZE), prior)


def test_padding_draws_nothing_and_an_empty_scene_is_zero() -> None:
    one, two = random_boxes(1, scenes=1, count=1), random_boxes(2, scenes=1, count=3)
    both = BoxTensors.stack([one, two])
    weights = torch.tensor([[0.5, 0.0, 0.0], [0.2, 0.9, 0.4]])
    prior = box_prior(both, weights, TO_CUBE, VIEWS, SIZE)
    assert torch.equal(prior[:1], box_prior(one, weights[:1, :1], TO_CUBE, VIEWS, SIZE))
    nothing = box_prior(BoxTensors.of([]), torch.zeros(1, 0), TO_CUBE, VIEWS, SIZE)
    assert nothing.shape == (1, 4, SIZE, SIZE) and not nothing.any()


def test_gradients_reach_the_weight_that_is_seen() -> None:
    boxes = BoxTensors.of([OrientedBox.upright((0.5, 0.0, z), (0.1, 0.1, 0.1)) for z in (0.1, 0.3)])
    weights = torch.tensor([[0.3, 0.6]], requires_grad=True)
    box_prior(boxes, weights, TO_CUBE, ViewSet.from_names(("top",)), SIZE).sum().backward()
    assert weights.grad is not None and weights.grad[0, 0] == 0 and weights.grad[0, 1] == 16


@pytest.mark.parametrize("where", ["weights", "center", "size"])
def test_what_is_not_a_number_is_refused(where: str) -> None:
    boxes, weights = random_boxes(0), torch.full((2, 4), 0.5)
    target = weights if where == "weights" else getattr(boxes, where)
    target[0, 0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        box_prior(boxes, weights, TO_CUBE, VIEWS, SIZE)


def test_boxes_move_as_the_points_in_them() -> None:
    boxes = random_boxes(5)
    rotation = quaternion_to_matrix(torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0, 0.4], [1.0, 0, 0, -0.2]]), dim=-1))
    about, to = torch.tensor([[0.5, 0.1, 0.2], [0.4, 0.0, 0.1]]), torch.tensor([[0.6, 0.0, 0.2], [0.4, 0.2, 0.3]])
    moved = (corners(boxes) - about[:, None, None]) @ rotation.transpose(1, 2)[:, None] + to[:, None, None]
    torch.testing.assert_close(corners(boxes.moved(rotation, about, to)), moved, atol=1e-6, rtol=0)


def test_the_nearest_box_within_reach() -> None:
    boxes = BoxTensors.of(
        [OrientedBox.upright((0.0, y, 0.0), (0.1, 0.1, 0.1), yaw) for y, yaw in ((0, 0), (0.3, 0.5), (0.3, 0))]
    )
    boxes = BoxTensors(**{key: value.expand(5, *value.shape[1:]) for key, value in vars(boxes).items()})
    points = torch.tensor([[0.0, 0.0, 0.12], [0.0, 0.3, 0.0], [0.0, 0.0, 0.3], [0.05, 0.0, 0.0], [0.0, 0.0, 0.12]])
    torch.testing.assert_close(boxes.distances(points)[:, 0], torch.tensor([0.07, 0.25, 0.25, 0.0, 0.07]))
    things = torch.ones(5, 3, dtype=torch.bool)
    things[4, 0] = False
    assert boxes.nearest(points, things, 0.15).tolist() == [0, 1, NOT_COUNTED, 0, NOT_COUNTED]
    assert boxes.nearest(points, things[:, :0], 0.15).tolist() == [NOT_COUNTED] * 5


def test_the_embedding_is_zero_at_first_and_keeps_patches_apart() -> None:
    embedding, prior = PriorEmbedding(6, 8), torch.zeros(2, 3, SIZE, SIZE)
    prior[1, 2, 8:16, 24:] = 0.5
    assert not embedding(prior).any()
    torch.nn.init.ones_(embedding.weight)
    tokens = embedding(prior)
    assert tokens.shape == (2, 3, 4, 4, 6)
    assert tokens.nonzero()[:, :4].unique(dim=0).tolist() == [[1, 2, 1, 3]] and tokens[1, 2, 1, 3, 0] == 32
