"""One point for each voxel: against a dictionary of voxels, and by its laws."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cloud_cases import CLOUDS
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.kernels.operators import reference_kernels
from vla3d.pointcloud import gather_points, voxel_downsample, voxels

SIZES = {"millimetres": 250.0, "tiny": 3e-5, "far away": 0.3}


@pytest.fixture(params=["for a CPU", "for CUDA"], autouse=True, scope="module")
def _form(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both forms obey the same laws."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "for CUDA":
            patch.setattr(voxels, "_downsample_serially", voxels._downsample_in_parallel)
        yield


def by_dictionary(points: Tensor, size: float) -> dict[tuple[int, ...], list[int]]:
    """The points of each voxel, by its place."""
    found: dict[tuple[int, ...], list[int]] = {}
    for i, point in enumerate(points.tolist()):
        if all(map(math.isfinite, point)):
            found.setdefault(tuple(math.floor(value / size) for value in point), []).append(i)
    return dict(sorted(found.items()))


def check(points: Tensor, size: float, lengths: Tensor) -> None:
    found = voxel_downsample(points, size, lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = by_dictionary(points[row, :length], size)
        assert int(found.lengths[row]) == len(expected)
        index = torch.full((points.shape[1],), -1)
        for number, members in enumerate(expected.values()):
            index[members] = number
            mean = np.cumsum(points[row, members].double().numpy(), 0)[-1] / len(members)
            assert torch.equal(found.points[row, number], torch.from_numpy(mean).float())
        assert torch.equal(found.index[row], index)
        count = [len(members) for members in expected.values()]
        assert found.count[row].tolist() == count + [0] * (points.shape[1] - len(count))
        assert (found.points[row, len(expected) :] == 0).all()


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("count", [1, 30, 700])
def test_equals_a_dictionary_and_the_reference(name: str, count: int) -> None:
    points = torch.stack([CLOUDS[name](count, seed) for seed in range(3)])
    lengths = torch.tensor([points.shape[1], points.shape[1] // 2, 0])
    size = SIZES.get(name, 0.3)
    check(points, size, lengths)
    found = voxel_downsample(points, size, lengths, values=points.nan_to_num())
    with reference_kernels():
        expected = voxel_downsample(points, size, lengths, values=points.nan_to_num())
    for part in ("points", "lengths", "count", "index", "values"):
        assert torch.equal(getattr(found, part), getattr(expected, part))


@given(count=st.integers(0, 40), seed=st.integers(0, 2**31 - 1), size=st.sampled_from([0.5, 1.0, 1 / 3, 2.0]))
def test_points_on_the_borders_of_voxels(count: int, seed: int, size: float) -> None:
    points = torch.randint(-4, 5, (2, count, 3), generator=torch.Generator().manual_seed(seed)) * 0.5
    check(points, size, torch.tensor([count, count // 2]))


@pytest.mark.parametrize("count", [3, 200, 3000])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.02, 0.25])
def test_keys_of_many_bits(count: int, size: float) -> None:
    """Told apart in many rounds, in some, and in one; some voxels near each other, one far away."""
    points = CLOUDS["holes"](count, count)[None]
    points[0, ::2] *= 1e-3
    check(points, size, torch.tensor([count]))


@pytest.mark.parametrize("origin", [0.0, 1e4])
def test_the_grid_does_not_move_with_the_cloud(origin: float) -> None:
    points = CLOUDS["random"](300, 0)[None] + origin
    found = voxel_downsample(points, 0.25)
    cell = (points.double() / 0.25).floor()
    own = gather_points(found.points, found.index)
    assert torch.equal((own.double() / 0.25).floor(), cell), "the mean of a voxel lies in it"
    some = voxel_downsample(points[:, 100:], 0.25).trimmed()
    places = (found.trimmed().points.double() / 0.25).floor()[0].tolist()
    assert all(place in places for place in (some.points.double() / 0.25).floor()[0].tolist())


def test_one_point_a_voxel_comes_back_as_it_is() -> None:
    lattice = CLOUDS["lattice"](216, 3)[None] * 0.1 + 0.05
    found = voxel_downsample(lattice, 0.1).trimmed()
    assert found.points.shape == (1, 216, 3)
    assert torch.equal(gather_points(found.points, found.index), lattice)
    same = torch.full((1, 37, 3), 0.3)
    assert torch.equal(voxel_downsample(same, 0.1).trimmed().points, same[:, :1]), "a mean of equal points is that point"


def test_packed_equals_padded() -> None:
    lengths = torch.tensor([0, 70, 0, 33, 1, 0])
    padded = torch.stack([CLOUDS["holes"](70, seed) for seed in range(6)])
    packed = torch.cat([cloud[:length] for cloud, length in zip(padded, lengths.tolist(), strict=True)])
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))
    one, other = (
        voxel_downsample(packed, 0.4, offsets=offsets, values=packed.nan_to_num()),
        voxel_downsample(padded, 0.4, lengths),
    )
    assert one.lengths is None and other.offsets is None and one.points.shape == packed.shape
    assert torch.equal(one.offsets.diff(), other.lengths)
    trimmed, padded_trimmed = one.trimmed(), other.trimmed()
    assert len(trimmed.points) == len(trimmed.count) == len(trimmed.values) == int(one.offsets[-1])
    assert padded_trimmed.points.shape[1] == int(other.lengths.max())
    for cloud, length in enumerate(other.lengths.tolist()):
        here = slice(int(one.offsets[cloud]), int(one.offsets[cloud + 1]))
        assert torch.equal(trimmed.points[here], padded_trimmed.points[cloud, :length])
        assert torch.equal(trimmed.count[here], padded_trimmed.count[cloud, :length])
        own, within = one.index[offsets[cloud] : offsets[cloud + 1]], other.index[cloud, : lengths[cloud]]
        assert torch.equal(own, torch.where(within >= 0, within + one.offsets[cloud], -1))
    # What comes out goes in again.
    assert torch.equal(voxel_downsample(trimmed.points, 0.4, offsets=trimmed.offsets).points, trimmed.points)


def test_shares_of_the_clouds_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.stack([CLOUDS["holes"](9000, seed) for seed in range(5)])
    lengths = torch.tensor([9000, 0, 1, 8000, 9000])
    alone = voxel_downsample(points, 0.1, lengths)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared = voxel_downsample(points.requires_grad_(), 0.1, lengths)
    for part in ("points", "lengths", "count", "index"):
        assert torch.equal(getattr(alone, part), getattr(shared, part))


def test_borders_that_fall_do_no_harm() -> None:
    """A traced program does not check them."""
    points, starts, lengths = CLOUDS["random"](1000, 0), torch.tensor([0, 1000, 400]), torch.tensor([1000, 0, 600])
    _, row, _, count = torch.ops.vla3d.voxel_downsample.default(points, starts, lengths, 1e-4, True)
    assert int(row.min()) >= -1 and int(row.max()) < 1000
    assert torch.equal(count, row[row >= 0].bincount(minlength=1000))


def test_layouts_and_types_do_not_matter() -> None:
    points = torch.stack([CLOUDS["random"](90, seed) for seed in range(2)])
    expected = voxel_downsample(points, 0.5)
    strided = torch.empty(2, 3, 181)[..., 1::2].transpose(1, 2)
    strided.copy_(points)
    assert torch.equal(voxel_downsample(strided, 0.5, torch.tensor([90, 90], dtype=torch.int32)).points, expected.points)
    expanded = voxel_downsample(points[:1].expand(4, -1, -1), 0.5)
    assert torch.equal(expanded.index, expected.index[:1].expand(4, -1))
    for half in (torch.float16, torch.bfloat16):
        found = voxel_downsample(points.to(half), 0.5, values=points.to(half))
        assert torch.equal(found.points, voxel_downsample(points.to(half).float(), 0.5).points)
        assert found.values.dtype == half
    wide = voxel_downsample(points.double(), 0.5)
    assert torch.equal(wide.index, expected.index) and wide.points.dtype == torch.float64


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
def test_empty_clouds(shape: tuple[int, int]) -> None:
    found = voxel_downsample(torch.zeros(*shape, 3), 0.1, values=torch.zeros(*shape, 2))
    assert found.points.shape == (*shape, 3) and found.values.shape == (*shape, 2)
    assert found.lengths.tolist() == [0] * shape[0] and found.trimmed().points.shape == (shape[0], 0, 3)


def test_means_are_differentiable() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    values = torch.rand(2, 6, 2, generator=generator, dtype=torch.float64, requires_grad=True)

    def means(points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        found = voxel_downsample(points, 0.5, torch.tensor([6, 4]), values=values)
        return found.points, found.values

    torch.autograd.gradcheck(means, (points, values))


def test_voxels_that_no_key_can_hold() -> None:
    far = torch.tensor([[[0.0, 0, 0], [2**21, 0, 0], [3, 0, 0]]])
    with pytest.raises(ValueError, match=r"size: got 1.0, which cuts a cloud into 2097153 voxels.*at most 2097152"):
        voxel_downsample(far, 1.0)
    far[0, 1, 0] -= 1
    assert voxel_downsample(far, 1.0).index.tolist() == [[0, 2, 1]]
    corner = torch.tensor([[[0.0, 0, 0], [2**21 - 1] * 3]])
    assert voxel_downsample(corner, 1.0).index.tolist() == [[0, 1]], "the largest key of all"
    assert voxel_downsample(corner - 1e9, 1e-3, torch.tensor([1])).index.tolist() == [[0, -1]], "far away is not large"
    with pytest.raises(ValueError, match="size: got 1e-30"):
        voxel_downsample(torch.tensor([[[-3e38, 0, 0], [3e38, 0, 0]]]), 1e-30)


POINTS = torch.zeros(2, 9, 3)


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0.0}, "size: got 0.0, expected metres, more than 0"),
        ({"size": -1}, "size: got -1"),
        ({"size": math.nan}, "size: got nan"),
        ({"size": math.inf}, "size: got inf"),
        ({"size": True}, "size: got True"),
        ({"points": torch.zeros(9, 3)}, r"points: got shape \(9, 3\), expected \(B, N, 3\)"),
        ({"lengths": torch.tensor([3, 10])}, r"lengths: got \[3, 10\], expected 0 to 9"),
        ({"values": torch.zeros(2, 8, 1)}, r"values: got torch.float32 of shape \(2, 8, 1\), expected .* \(2, 9, 'C'\)"),
        ({"values": torch.zeros(2, 9, 1, dtype=torch.int64)}, "values: got torch.int64"),
        ({"values": torch.zeros(2, 9, 1, device="meta")}, "values: got device meta"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        voxel_downsample(**{"points": POINTS, "size": 1.0, **arguments})


def test_operator_passes_torchs_checks() -> None:
    for packed in (False, True):
        points = torch.rand(60, 3, requires_grad=True)
        arguments = (points, torch.tensor([0, 40]), torch.tensor([40, 20]), 0.2, packed)
        torch.library.opcheck(torch.ops.vla3d.voxel_downsample.default, arguments)
