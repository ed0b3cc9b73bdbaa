"""Farthest point sampling: exact against the reference, and by its laws."""

import pytest
import torch
from cloud_cases import CLOUDS
from hypothesis import given
from hypothesis import strategies as st

from vla3d.kernels.operators import reference_kernels
from vla3d.pointcloud import farthest_point_sampling, random_first, sampling
from vla3d.pointcloud.kernels import serial_sampling

TREE = serial_sampling.LEAF * serial_sampling.BRANCH


def by_reference(*args, **kwargs):
    with reference_kernels():
        return farthest_point_sampling(*args, **kwargs)


@pytest.fixture(params=["serial", "blocks"])
def each_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form for a CPU, and on a CPU that for CUDA."""
    if request.param == "blocks":
        monkeypatch.setattr(sampling, "_sample_serially", sampling._sample_in_blocks)


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("count", [1, 30, 700])
def test_equals_the_reference(name: str, count: int) -> None:
    clouds = [CLOUDS[name](count, seed) for seed in range(3)]
    size = len(clouds[0])
    points, lengths = torch.stack(clouds), torch.tensor([size, size // 2, 0])
    first = torch.tensor([0, size // 3, 5])
    for k in (0, 1, min(100, size), size + 2):
        expected = by_reference(points, k, lengths, first=first)
        assert torch.equal(farthest_point_sampling(points, k, lengths, first=first), expected)


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("name", CLOUDS)
def test_many_boxes(name: str) -> None:
    """More trees than one has leaves, the last of them almost empty; and full trees."""
    cloud = CLOUDS[name]((serial_sampling.BRANCH + 1) * TREE + 1, 0)
    for points in (cloud[None], cloud[None, : 2 * TREE]):
        assert torch.equal(farthest_point_sampling(points, 80), by_reference(points, 80))


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("count", [600, 3000])
def test_distances_beyond_all_numbers(count: int) -> None:
    """Squares that overflow are infinite, and infinite ones are equally far."""
    points = torch.rand(1, count, 3, generator=torch.Generator().manual_seed(0))
    points[0, ::3] = (points[0, ::3] * 2 - 1) * 3e38
    points[0, 1::3] *= 1e20
    assert points.isfinite().all()
    chosen = farthest_point_sampling(points, count)
    assert torch.equal(chosen, by_reference(points, count))


def test_stray_points_change_nothing_but_the_order_of_looking() -> None:
    points = CLOUDS["random"](3000, 0)
    points[::40] *= 1e6
    assert torch.equal(farthest_point_sampling(points[None], 200), by_reference(points[None], 200))


@pytest.mark.usefixtures("each_form")
@pytest.mark.parametrize("wanted", [-1, 1, 40, 2**32, 2**62, -(2**40)])
def test_a_first_choice_that_cannot_be_chosen(wanted: int) -> None:
    points = CLOUDS["random"](40, 0)[None]
    points[0, :2] = torch.nan
    chosen = farthest_point_sampling(points, 10, first=torch.tensor([wanted]))
    assert chosen[0, 0] == 2
    assert torch.equal(chosen, farthest_point_sampling(points, 10, first=torch.tensor([2])))


def test_threads_share_the_clouds() -> None:
    points = torch.stack([CLOUDS["holes"](900, seed) for seed in range(7)])
    lengths = torch.tensor([900, 0, 1, 513, 899, 30, 700])
    expected, threads = farthest_point_sampling(points, 60, lengths), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with torch.inference_mode():
            shared = farthest_point_sampling(points, 60, lengths)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(shared, expected)
    assert torch.equal(expected, by_reference(points, 60, lengths))


def test_each_choice_is_the_farthest_and_none_comes_twice() -> None:
    points = CLOUDS["lattice"](600, 1)
    chosen = farthest_point_sampling(points[None], 200)[0]
    distance = (points[:, None].double() - points.double()).square().sum(-1)
    for step in range(1, 200):
        to_chosen = distance[:, chosen[:step]].amin(1)
        to_chosen[chosen[:step]] = -1
        assert int(to_chosen.argmax()) == int(chosen[step])
    assert len(chosen.unique()) == 200


@given(count=st.integers(0, 40), k=st.integers(0, 45), seed=st.integers(0, 2**31 - 1), levels=st.integers(1, 4))
def test_small_clouds_with_many_ties(count: int, k: int, seed: int, levels: int) -> None:
    points = torch.randint(levels, (2, count, 3), generator=torch.Generator().manual_seed(seed)).float()
    lengths = torch.tensor([count, count // 2])
    chosen = farthest_point_sampling(points, k, lengths)
    assert torch.equal(chosen, by_reference(points, k, lengths))
    assert torch.equal(chosen, farthest_point_sampling(points, k + 1, lengths)[:, :k]), "a shorter choice is a prefix"
    alone = [farthest_point_sampling(points[i : i + 1, : lengths[i]], k)[0] for i in range(2)]
    assert torch.equal(chosen, torch.stack(alone)), "clouds of a batch do not see each other"


def test_permuting_the_points_permutes_the_choice() -> None:
    points = CLOUDS["random"](500, 0)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    chosen = farthest_point_sampling(points[None], 50, first=torch.tensor([int(order[7])]))[0]
    moved = farthest_point_sampling(points[order][None], 50, first=torch.tensor([7]))[0]
    assert torch.equal(order[moved], chosen)


def test_packed_equals_padded() -> None:
    lengths = torch.tensor([0, 70, 0, 33, 1, 0])
    padded = torch.stack([CLOUDS["holes"](70, seed) for seed in range(6)])
    packed = torch.cat([cloud[:length] for cloud, length in zip(padded, lengths.tolist(), strict=True)])
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))
    chosen = farthest_point_sampling(packed, 20, offsets=offsets)
    inside = farthest_point_sampling(padded, 20, lengths)
    assert torch.equal(chosen, torch.where(inside >= 0, inside + offsets[:-1, None], -1))


def test_layouts_and_types_do_not_matter() -> None:
    points = torch.stack([CLOUDS["random"](90, seed) for seed in range(2)])
    expected = farthest_point_sampling(points, 30)
    strided = torch.empty(2, 3, 180)[..., ::2].transpose(1, 2)
    strided.copy_(points)
    assert torch.equal(farthest_point_sampling(strided, 30, torch.tensor([90, 90], dtype=torch.int32)), expected)
    expanded = points[:1].expand(4, -1, -1)
    assert torch.equal(farthest_point_sampling(expanded, 30), expected[:1].expand(4, -1))
    for half in (torch.float16, torch.bfloat16):
        assert torch.equal(farthest_point_sampling(points.to(half), 30), farthest_point_sampling(points.to(half).float(), 30))
    assert farthest_point_sampling(points.double(), 30).shape == (2, 30)
    assert torch.equal(farthest_point_sampling(points.requires_grad_(), 30), expected)


def test_random_first_is_a_point_of_the_cloud() -> None:
    lengths = torch.tensor([1, 5, 1000])
    drawn = torch.stack([random_first(lengths, torch.Generator().manual_seed(seed)) for seed in range(200)])
    assert (drawn >= 0).all() and (drawn < lengths).all()
    assert set(drawn[:, 1].tolist()) == set(range(5))


POINTS = torch.zeros(2, 9, 3)


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": torch.zeros(9, 3)}, r"points: got shape \(9, 3\), expected \(B, N, 3\)"),
        ({"points": torch.zeros(2, 9, 4)}, r"points: got shape \(2, 9, 4\)"),
        ({"points": torch.zeros(2, 9, 3, dtype=torch.int64)}, "points: got torch.int64, expected floating-point"),
        ({"lengths": torch.tensor([3, 10])}, r"lengths: got \[3, 10\], expected 0 to 9"),
        ({"lengths": torch.tensor([3, -1])}, "lengths: got"),
        ({"lengths": torch.tensor([3])}, r"lengths: got torch.int64 of shape \(1,\), expected whole numbers \(2,\)"),
        ({"lengths": torch.tensor([3.0, 4.0])}, "lengths: got torch.float32"),
        ({"lengths": torch.tensor([3, 4], device="meta")}, "lengths: got device meta, expected cpu"),
        ({"offsets": torch.tensor([0, 9])}, r"points: got shape \(2, 9, 3\), expected \(T, 3\) beside offsets"),
        ({"points": torch.zeros(9, 3), "offsets": torch.tensor([0, 5])}, r"offsets: got \[0, 5\], .* rise from 0 to 9"),
        ({"points": torch.zeros(9, 3), "offsets": torch.tensor([0, 6, 5, 9])}, "offsets: got"),
        ({"points": torch.zeros(9, 3), "offsets": torch.tensor([0, 9]), "lengths": torch.tensor([9])}, "one of the two"),
        ({"k": -1}, "k: got -1, expected a whole number of at least 0"),
        ({"k": 2.0}, "k: got 2.0"),
        ({"first": torch.tensor([0.0, 0.0])}, "first: got torch.float32"),
        ({"first": torch.tensor([0])}, r"first: got torch.int64 of shape \(1,\)"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        farthest_point_sampling(**{"points": POINTS, "k": 3, **arguments})


def test_operator_passes_torchs_checks() -> None:
    points = torch.rand(60, 3)
    arguments = (points, torch.tensor([0, 40]), torch.tensor([40, 20]), torch.tensor([0, 3]), 25, 40)
    torch.library.opcheck(torch.ops.vla3d.farthest_point_sampling.default, arguments)
