"""What the official BridgeVLA program computed, number by number; `data/README.md` says where the numbers come from."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vla3d.geometry.transforms import SimilarityTransform
from vla3d.geometry.workspace import workspace_to_cube
from vla3d.kernels.operators import reference_kernels
from vla3d.types import Workspace
from vla3d.views import (
    RVT2_VIEWS,
    RenderedViews,
    lift_candidates,
    lift_rvt2_heatmaps,
    project_to_rvt2_views,
    render_rvt2_views,
    rvt2_bytes,
    rvt2_channels,
    rvt2_colors,
    rvt2_heatmap_targets,
    rvt2_votes,
    sample_by_inverse_distance,
)

SMALL = np.load(Path(__file__).parent / "data/rvt2.npz")
# All of the numbers, which are too many for the repository.
ALL = Path(__file__).parents[3] / "shared/golden/renderer.npz"
needs_all = pytest.mark.skipif(not ALL.exists(), reason="the full set of the official program's numbers is not here")


def number(name: str) -> Tensor:
    return torch.from_numpy(SMALL[name])


def box(name: str) -> Workspace:
    return Workspace(low=SMALL[name][:3], high=SMALL[name][3:])


def cube() -> Tensor:
    return (number("pc_world") - number("cube_centre_world")) * float(SMALL["cube_scale"])


def stage(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Cloud, colours and length of a look: the first, the magnified one, or corner cases made by hand."""
    points = {"": cube, "zoom_": lambda: 4 * (cube() - number("zoom_loc")), "edge_": lambda: number("edge_pc")}[name]()
    colors = number("edge_rgb") if name == "edge_" else rvt2_colors(number("rgb_u8"))
    return points[None], colors[None], torch.tensor([len(points)])


def render(name: str, backend: str) -> RenderedViews:
    if backend == "kernel":
        return render_rvt2_views(*stage(name))
    with reference_kernels():
        return render_rvt2_views(*stage(name))


def features(image: RenderedViews, name: str) -> Tensor:
    """Place and colour of each pixel, (V, R, R, 6)."""
    points, _, lengths = stage(name)
    place = image.xyz if name == "edge_" else rvt2_channels(image, points, lengths)[:, :, :3]
    return torch.cat((place, image.rgb), 2)[0].movedim(1, -1)


every_stage = pytest.mark.parametrize("name", ["", "zoom_", "edge_"], ids=["first look", "magnified", "corner cases"])
backends = pytest.mark.parametrize("backend", ["kernel", "reference"])


@backends
@every_stage
def test_images_are_bit_for_bit_the_programs(name: str, backend: str) -> None:
    image = render(name, backend)
    steps = number(f"{name}thousandths")
    assert torch.equal(image.depth[0], torch.where(steps < 0, -1.0, steps.float() * 0.001))
    assert torch.equal(image.mask[0], steps >= 0)
    found = np.ascontiguousarray(features(image, name).numpy()) + np.float32(0)  # no negative zero
    assert hashlib.sha256(found.tobytes()).hexdigest() == str(SMALL[f"{name}features_sha256"])


@needs_all
@every_stage
def test_all_channels(name: str) -> None:
    full = np.load(ALL)
    image, views = render(name, "kernel"), torch.from_numpy(full[f"{name}views"])
    assert torch.equal(features(image, name), views[..., :6])
    assert torch.equal(image.depth[0], torch.from_numpy(full[f"{name}depth_raw"]))
    points, _, lengths = stage(name)
    depth = rvt2_channels(image, points, lengths)[0, :, 6]
    torch.testing.assert_close(depth, views[..., 6], rtol=0, atol=1e-4)


def test_our_own_transforms_give_the_same_images() -> None:
    """Those round otherwise; no point of the cloud lies so close to a border that it matters."""
    to_cube = workspace_to_cube(box("scene_bounds"))
    zoom = SimilarityTransform.about(number("zoom_loc"), 4.0)
    colors, world = rvt2_colors(number("rgb_u8"))[None], number("pc_world")[None]
    for name, transform in (("", to_cube), ("zoom_", zoom.compose(to_cube))):
        image = render_rvt2_views(transform.apply(world), colors, torch.tensor([world.shape[1]]))
        assert torch.equal(image.index, render(name, "kernel").index)
        assert torch.equal(image.depth, render(name, "kernel").depth)


def test_the_workspace_goes_into_the_cube_and_back() -> None:
    to_cube = workspace_to_cube(box("scene_bounds_b"))
    points = to_cube.apply(number("app_world_b")[None])[0]
    torch.testing.assert_close(points, number("app_cube_b"), rtol=0, atol=1e-6)
    torch.testing.assert_close(to_cube.inverse().apply(points[None])[0], number("app_back_b"), rtol=0, atol=1e-6)


def test_a_place_in_the_second_look_goes_back() -> None:
    zoom = SimilarityTransform.about(number("zoom_loc"), 4.0)
    back = zoom.inverse().apply(number("zoom_rev_in")[None])[0]
    torch.testing.assert_close(back, number("zoom_rev_out"), rtol=0, atol=1e-6)


def test_colors_lose_what_the_programs_lose() -> None:
    colors = number("rgb_u8")
    assert int((rvt2_bytes(rvt2_colors(colors)) != colors).sum()) == 3583


def test_positions_and_targets() -> None:
    torch.testing.assert_close(project_to_rvt2_views(number("pt_cube")), number("pt_px"), rtol=0, atol=1e-4)
    pixels = project_to_rvt2_views(number("hm_pt_cube")[:, None])[:, 0]
    torch.testing.assert_close(pixels, number("hm_pt_px"), rtol=0, atol=1e-4)
    targets, expected = rvt2_heatmap_targets(number("hm_pt_px")), number("hm_target")
    torch.testing.assert_close(targets, expected, rtol=0, atol=1e-7)
    assert torch.equal(targets > 0, expected > 0)


def test_sampling() -> None:
    found = sample_by_inverse_distance(number("sel_map"), number("sel_px"))
    torch.testing.assert_close(found, number("sel_out"), rtol=0, atol=1e-6)


def test_the_five_best_places() -> None:
    """From the hottest pixels; among the places are some at the cube's border, where a view has no vote."""
    heat = torch.zeros(3, 3, 224, 224)
    heat.view(-1)[number("dec_hot").long()] = number("dec_heat")
    check_lifting(heat, {name: number(name) for name in ("dec_pt", "dec_top5_index", "dec_top5_score")})


@needs_all
def test_lifting() -> None:
    full = {name: torch.from_numpy(value) for name, value in np.load(ALL).items() if name.startswith("dec_")}
    # In double precision: a sum of 50,176 floats comes out otherwise on another processor. The program's own is off by 6e-7.
    heat = full["dec_logits"].double().flatten(2).softmax(-1).view_as(full["dec_logits"]).float()
    check_lifting(heat, full)


def check_lifting(heat: Tensor, full: Mapping[str, Tensor]) -> None:
    points, scores = lift_rvt2_heatmaps(heat)
    torch.testing.assert_close(points, full["dec_pt"], rtol=0, atol=1e-6)
    torch.testing.assert_close(scores, full["dec_top5_score"][:, 0], rtol=0, atol=1e-6)
    candidates, scores = lift_candidates(rvt2_votes(heat), RVT2_VIEWS, 5, 0)
    x, y, z = ((candidates + 1) * 112 - 0.5).round().long().unbind(-1)
    assert torch.equal((x * 224 + y) * 224 + z, full["dec_top5_index"])
    torch.testing.assert_close(scores, full["dec_top5_score"], rtol=0, atol=1e-6)
