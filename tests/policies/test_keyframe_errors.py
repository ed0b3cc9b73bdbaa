"""Errors of keyframes against values computed by hand."""

import math

import numpy as np
import pytest
import torch

from vla3d.geometry.rotations import canonical_gripper_quaternion
from vla3d.policies.keyframe_errors import ActionTensors, gripper_rotation_error, heatmap_hits, keyframe_errors, look_errors
from vla3d.types import KeyframeAction


def top_down(degrees: float) -> np.ndarray:
    return np.array([0.0, math.cos(math.radians(degrees) / 2), math.sin(math.radians(degrees) / 2), 0.0])


def actions(*poses: tuple[tuple[float, float, float], float, bool, bool]) -> ActionTensors:
    return ActionTensors.of(
        [
            KeyframeAction(
                position=np.array(place, dtype=np.float64),
                quaternion=top_down(yaw),
                gripper_open=is_open,
                ignore_collisions=straight,
            )
            for place, yaw, is_open, straight in poses
        ]
    )


def test_errors_computed_by_hand() -> None:
    here, origin = (0.5, 0.0, 0.1), (0, 0, 0)
    demonstrated = actions((here, 0, True, False), (here, 80, False, True), (origin, 10, True, True))
    predicted = actions(
        ((0.503, 0.004, 0.1), 30, True, True), ((0.5, 0.0, 0.13), -80, True, True), ((0, 0, 0), 190, True, True)
    )
    found = keyframe_errors(predicted, demonstrated)
    assert found["position_error_mm"].tolist() == pytest.approx([5.0, 30.0, 0.0])
    assert found["within_2cm"].tolist() == [1, 0, 1]
    # From -80 to 80 degrees a gripper turns by 20: half a turn swaps its fingers and nothing else.
    assert found["rotation_error_deg"].tolist() == pytest.approx([30.0, 20.0, 0.0], abs=1e-6)
    assert found["gripper_accuracy"].tolist() == [1, 0, 1]
    assert found["collision_accuracy"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_rotation_error_does_not_see_the_symmetry_and_is_at_most_a_right_angle_about_the_tool_axis(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.nn.functional.normalize(torch.randn(2, 20, 4, generator=generator, dtype=torch.float64), dim=-1)
    error = gripper_rotation_error(first, second)
    torch.testing.assert_close(gripper_rotation_error(second, first), error)
    torch.testing.assert_close(gripper_rotation_error(canonical_gripper_quaternion(first), second), error)
    turned = torch.tensor(np.stack([top_down(yaw) for yaw in np.linspace(0, 360, 20)]))
    assert gripper_rotation_error(turned, turned[:1].expand(20, 4)).max() <= math.pi / 2 + 1e-9


def test_hits_count_peaks_near_the_target() -> None:
    """One look at the xy plane, 10 pixels a metre, seen by four views that peak 0, 3, 4 pixels away and at the far end."""
    heat = torch.zeros(1, 1, 4, 20, 20)
    for view, column in enumerate((5, 8, 9, 19)):
        heat[0, 0, view, 5, column] = 1
    maps = torch.tensor([[10.0, 0, 0, 0], [0, 10.0, 0, 0]]).expand(1, 1, 4, 2, 4)
    target = torch.tensor([[0.55, 0.55, 0.3]])
    assert heatmap_hits(heat, maps, target)[0, 0].tolist() == [True, True, False, False]
    outside = torch.tensor([[2.05, 0.55, 0.3]])  # one pixel beyond the border: the look does not show it
    assert not heatmap_hits(heat, maps, outside).any()


def test_looks_are_the_first_and_the_last() -> None:
    heat = torch.zeros(2, 2, 1, 8, 8)
    heat[:, 0, 0, 4, 4] = heat[:, 1, 0, 0, 0] = 1
    maps = torch.tensor([[8.0, 0, 0, 0], [0, 8.0, 0, 0]]).expand(2, 2, 1, 2, 4)
    target = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    found = look_errors(torch.zeros(2, 3), heat, maps, target)
    assert found["coarse_position_error_mm"].tolist() == pytest.approx([500 * math.sqrt(2), 0])
    assert (found["heatmap_hit_rate"].tolist(), found["fine_heatmap_hit_rate"].tolist()) == ([1, 0], [0, 1])
    assert "fine_heatmap_hit_rate" not in look_errors(torch.zeros(2, 3), heat[:, :1], maps[:, :1], target)
