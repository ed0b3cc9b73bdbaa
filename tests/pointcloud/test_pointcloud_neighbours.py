"""Nearest neighbours and neighbours within a radius: exact against the reference, and by their laws."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest import mock

import numpy as np
import pytest
import torch
from cloud_cases import CLOUDS
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor

from vla3d.kernels.operators import reference_kernels
from vla3d.pointcloud import ball_query, cells, knn, neighbours

Found = tuple[Tensor, Tensor]

# Ways to find neighbours: among all points, or in a table of cells, made on a CPU or as on CUDA.
ONE_CELL = {"_FEW_PAIRS": 1 << 62}
TABLE = {"_FEW_PAIRS": -1, "_FEW_QUERIES": -1}
WAYS = {"one cell": (ONE_CELL, {}), "table": (TABLE, {}), "as on CUDA": (TABLE, {"_make_serially": cells._make_in_parallel})}


def going(way: str) -> ExitStack:
    stack = ExitStack()
    for module, changes in zip((neighbours, cells), WAYS[way], strict=True):
        if changes:
            stack.enter_context(mock.patch.multiple(module, **changes))
    return stack


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    with going(request.param):
        yield


def by_reference(operation: Callable[..., Found], *args, **kwargs) -> Found:
    with reference_kernels():
        return operation(*args, **kwargs)


def assert_same(found: Found, expected: Found) -> None:
    for part, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(part, wanted, rtol=0, atol=0)


def extent(points: Tensor) -> float:
    finite = points[points.isfinite()]
    return max(float(finite.max() - finite.min()), 1e-6) if len(finite) else 1.0


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("count", [1, 30, 1000])
def test_knn_equals_the_reference(name: str, count: int) -> None:
    points, query = (torch.stack([CLOUDS[name](count, seed) for seed in order]) for order in ((0, 1, 2), (0, 2, 1)))
    size = points.shape[1]
    lengths, query_lengths = torch.tensor([size, size // 2, 0]), torch.tensor([size, size // 3, 1])
    query = query[:, :100]
    for k in (0, 1, 16, size + 2 if size < 900 else 150):
        arguments = (query, points, k, query_lengths.clamp(max=query.shape[1]), lengths)
        assert_same(knn(*arguments), by_reference(knn, *arguments))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("count", [1, 30, 1000])
def test_ball_query_equals_the_reference(name: str, count: int) -> None:
    points = torch.stack([CLOUDS[name](count, seed) for seed in range(3)])
    size = points.shape[1]
    lengths, query = torch.tensor([size, size // 2, 0]), points[:, ::7].flip(0)[:, :100]
    for share in (0.0, 0.03, 0.3, torch.inf):
        for order in ("index", "nearest"):
            arguments = (query, points, share * extent(points), 12, None, lengths)
            assert_same(ball_query(*arguments, order=order), by_reference(ball_query, *arguments, order=order))


@pytest.mark.parametrize("name", ["random", "depth map", "millimetres"])
def test_an_outside_oracle_agrees(name: str) -> None:
    points = CLOUDS[name](3000, 0)
    tree = cKDTree(points.double().numpy())
    squared_distance, _ = knn(points[None], points[None], 8)
    expected, _ = tree.query(points.double().numpy(), 8)
    np.testing.assert_allclose(squared_distance[0].double().sqrt(), expected, rtol=1e-5, atol=1e-7)
    radius = 0.043 * extent(points)
    index, count = ball_query(points[None], points[None], radius, 3000)
    inside = tree.query_ball_point(points.double().numpy(), float(np.float32(radius)), return_sorted=True)
    assert [row[:found].tolist() for row, found in zip(index[0], count[0].tolist(), strict=True)] == inside.tolist()


@given(
    sizes=st.tuples(st.integers(0, 40), st.integers(0, 12)),
    k=st.integers(0, 45),
    seed=st.integers(0, 2**31 - 1),
    levels=st.integers(1, 4),
    radius=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0]),
    name=st.sampled_from(sorted(WAYS)),
)
def test_small_clouds_with_many_ties(sizes: tuple[int, int], k: int, seed: int, levels: int, radius: float, name: str) -> None:
    with going(name):
        generator = torch.Generator().manual_seed(seed)
        points, query = (torch.randint(levels, (2, size, 3), generator=generator).float() for size in sizes)
        lengths = torch.tensor([sizes[0], sizes[0] // 2])
        squared_distance, index = knn(query, points, k, lengths=lengths)
        assert_same((squared_distance, index), by_reference(knn, query, points, k, lengths=lengths))
        assert torch.equal(index, knn(query, points, k + 1, lengths=lengths)[1][..., :k]), "fewer neighbours are a prefix"
        for i in range(2):
            alone = knn(query[i : i + 1], points[i : i + 1, : lengths[i]], k)
            assert torch.equal(alone[1][0], index[i]), "clouds of a batch do not see each other"
        for order in ("index", "nearest"):
            found = ball_query(query, points, radius, k, lengths=lengths, order=order)
            assert_same(found, by_reference(ball_query, query, points, radius, k, lengths=lengths, order=order))
        nearest, count = found
        inside = (index >= 0) & (squared_distance < radius * radius)
        assert torch.equal(nearest, torch.where(inside, index, -1)), "a ball holds the nearest neighbours that are near enough"
        assert torch.equal(count, inside.sum(-1))


@pytest.mark.usefixtures("way")
def test_points_at_exactly_the_radius_are_outside() -> None:
    below = np.nextafter(np.float32(0.625), np.float32(0)).item()
    points = torch.tensor([[[0.0, 0, 0], [0.625, 0, 0], [0, -0.625, 0], [0, 0, below], [0.375, 0, -0.5], [-below, 0, 0]]])
    index, count = ball_query(points[:, :1], points, 0.625, 5)
    assert index[0, 0].tolist() == [0, 3, 5, -1, -1] and int(count) == 3


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4, 1e7])
def test_points_on_cell_borders(shift: float) -> None:
    """Cells of the table are as large as the radius, and all points lie on their corners, up to rounding."""
    lattice = CLOUDS["lattice"](512, 0)
    for pitch in (1.0, 0.1, 1 / 3):
        points = lattice[None] * pitch + shift
        for radius in (pitch, np.nextafter(np.float32(pitch), np.float32(9)).item(), 2 * pitch):
            arguments = (points, points, radius, 30)
            assert_same(ball_query(*arguments), by_reference(ball_query, *arguments))
        assert_same(knn(points, points, 27), by_reference(knn, points, points, 27))


@pytest.mark.usefixtures("way")
def test_stray_points_and_distant_queries() -> None:
    points = torch.cat(
        (CLOUDS["random"](1500, 0), torch.tensor([[1e4, 0, 0], [-3e5, 1e-3, 7], [1e30, 0, 0], [3e38, -3e38, 0]]))
    )
    query = torch.cat((points[-8:], torch.tensor([[-50.0, 3, 2], [1e4, 1, 1], [2e19, 0, 0], [-3e38, 3e38, 0]])))
    for k in (1, 9, 1500):
        arguments = (query[None], points[None], k)
        assert_same(knn(*arguments), by_reference(knn, *arguments))
    for radius in (0.1, 60.0, 1e6, 1e25):
        arguments = (query[None], points[None], radius, 20)
        assert_same(ball_query(*arguments), by_reference(ball_query, *arguments))
    squared_distance, index = knn(torch.tensor([[[2e19, 0.0, 0.0]]]), torch.zeros(1, 1, 3), 1)
    assert index.item() == -1 and squared_distance.item() == torch.inf, "a squared distance that overflows"


@pytest.mark.usefixtures("way")
def test_what_is_invalid_neither_finds_nor_is_found() -> None:
    points = torch.tensor([[[0.0, 0, 0], [torch.nan, 0, 0], [1, 0, 0], [0, torch.inf, 0], [0.5, 0, 0]]])
    squared_distance, index = knn(points, points, 4, torch.tensor([4]), torch.tensor([4]))
    assert index[0].tolist() == [[0, 2, -1, -1], [-1] * 4, [2, 0, -1, -1], [-1] * 4, [-1] * 4]
    assert torch.equal(squared_distance.isinf(), index < 0)
    index, count = ball_query(points, points, 2.0, 2, torch.tensor([4]), torch.tensor([4]))
    assert index[0].tolist() == [[0, 2], [-1, -1], [0, 2], [-1, -1], [-1, -1]] and count[0].tolist() == [2, 0, 2, 0, 0]


def test_what_follows_when_there_are_fewer() -> None:
    points = torch.tensor([[[3.0, 0, 0], [0, 0, 0], [0.5, 0, 0]]])
    query = torch.tensor([[[0.1, 0, 0], [9.0, 0, 0]]])
    assert ball_query(query, points, 1.0, 4)[0].tolist() == [[[1, 2, -1, -1], [-1] * 4]]
    assert ball_query(query, points, 1.0, 4, pad="repeat")[0].tolist() == [[[1, 2, 1, 1], [-1] * 4]]
    assert ball_query(query + 0.3, points, 1.0, 3, order="nearest", pad="repeat")[0].tolist() == [[[2, 1, 2], [-1] * 3]]


def test_packed_equals_padded() -> None:
    lengths, query_lengths = torch.tensor([0, 70, 0, 33, 1, 0]), torch.tensor([3, 0, 2, 40, 5, 0])
    padded, query = (torch.stack([CLOUDS["holes"](70, seed) for seed in seeds]) for seeds in (range(6), range(3, 9)))

    def pack(clouds: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = torch.cat([cloud[:length] for cloud, length in zip(clouds, lengths.tolist(), strict=True)])
        return packed, torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))

    (points, offsets), (queries, query_offsets) = pack(padded, lengths), pack(query, query_lengths)
    for operation in (lambda *q, **p: knn(*q, 9, **p), lambda *q, **p: ball_query(*q, 0.7, 9, **p)):
        both = operation(queries, points, query_offsets=query_offsets, offsets=offsets)
        mixed = operation(queries, padded, query_offsets=query_offsets, lengths=lengths)
        inside = operation(query, padded, query_lengths=query_lengths, lengths=lengths)
        for here, half, there in zip(both, mixed, inside, strict=True):
            expected = torch.cat([part[:length] for part, length in zip(there, query_lengths.tolist(), strict=True)])
            assert torch.equal(half, expected)
            is_index = expected.ndim == 2 and not expected.is_floating_point()
            start = torch.repeat_interleave(offsets[:-1], query_lengths)[:, None]
            assert torch.equal(here, torch.where(expected >= 0, expected + start, -1) if is_index else expected)


def test_permuting_permutes() -> None:
    points, order = CLOUDS["random"](800, 0), torch.randperm(800, generator=torch.Generator().manual_seed(1))
    squared_distance, index = knn(points[None], points[None], 7)
    moved_distance, moved = knn(points[order][None], points[order][None], 7)
    assert torch.equal(order[moved[0]], index[0][order]) and torch.equal(moved_distance[0], squared_distance[0][order])


def test_layouts_and_types_do_not_matter() -> None:
    points = torch.stack([CLOUDS["random"](90, seed) for seed in range(2)])
    strided = torch.empty(2, 3, 181)[..., 1::2].transpose(1, 2)
    strided.copy_(points)
    full = torch.tensor([90, 90], dtype=torch.int32)
    for operation in (lambda q, p, **more: knn(q, p, 5, **more), lambda q, p, **more: ball_query(q, p, 0.5, 5, **more)):
        expected = operation(points, points)
        assert_same(operation(strided, strided, query_lengths=full, lengths=full), expected)
        expanded = points[:1].expand(4, -1, -1)
        assert_same(operation(expanded, expanded), tuple(part[:1].expand(4, *part.shape[1:]) for part in expected))
        for half in (torch.float16, torch.bfloat16):
            assert_same(operation(points.to(half), points), operation(points.to(half).float(), points))
        assert all(
            part.shape == wanted.shape for part, wanted in zip(operation(points.double(), points), expected, strict=True)
        )
        assert_same(tuple(p.detach() for p in operation(points.clone().requires_grad_(), points)), expected)


def test_several_threads_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points = CLOUDS["depth map"](5000, 0)[None]
    expected = knn(points, points, 9), ball_query(points, points, 0.05, 9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert_same(knn(points, points, 9), expected[0])
    assert_same(ball_query(points, points, 0.05, 9), expected[1])


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("queries", [0, 4])
def test_empty_clouds(batch: int, size: int, queries: int) -> None:
    points, query = torch.rand(batch, size, 3), torch.rand(batch, queries, 3, requires_grad=True)
    squared_distance, index = knn(query, points, 5)
    assert index.shape == squared_distance.shape == (batch, queries, 5)
    assert int((index >= 0).sum()) == batch * queries * size
    torch.where(index >= 0, squared_distance, 0.0).sum().backward()
    assert query.grad is not None and query.grad.shape == query.shape
    index, count = ball_query(query, points, 9.0, 5)
    assert index.shape == (batch, queries, 5) and (count == size).all()


def test_gradient_of_the_distances() -> None:
    generator = torch.Generator().manual_seed(0)
    query, points = (torch.rand(2, size, 3, generator=generator, dtype=torch.float64).requires_grad_() for size in (4, 6))

    def distances(query: Tensor, points: Tensor) -> Tensor:
        squared_distance, index = knn(query, points, 3, lengths=torch.tensor([6, 2]))
        return torch.where(index >= 0, squared_distance, 0.0)

    torch.autograd.gradcheck(distances, (query, points))
    torch.autograd.gradgradcheck(distances, (query, points))
    wide = torch.autograd.grad(distances(query, points).sum(), (query, points))
    single = (query.detach().float().requires_grad_(), points.detach().float().requires_grad_())
    narrow = torch.autograd.grad(distances(*single).sum(), single)
    for part, wanted in zip(narrow, wide, strict=True):
        torch.testing.assert_close(part.double(), wanted, rtol=1e-5, atol=1e-6)
    # A loss that does not look away from the missing ones: what they pull at is nobody.
    broken = torch.full((1, 2, 3), torch.nan, requires_grad=True)
    knn(broken, points.detach().float()[:1], 2)[0].sum().backward()
    assert torch.equal(broken.grad, torch.zeros(1, 2, 3))


POINTS = torch.zeros(2, 9, 3)


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": torch.zeros(9, 3)}, r"query: got shape \(9, 3\), expected \(B, N, 3\)"),
        ({"query": torch.zeros(3, 9, 3)}, "query: got 3 clouds of queries, expected 2"),
        ({"query": torch.zeros(2, 9, 3, device="meta")}, "query: got device meta, expected cpu"),
        ({"points": torch.zeros(2, 9, 3, dtype=torch.int64)}, "points: got torch.int64"),
        ({"lengths": torch.tensor([3, 10])}, r"lengths: got \[3, 10\], expected 0 to 9"),
        ({"query_lengths": torch.tensor([3])}, r"query_lengths: got torch.int64 of shape \(1,\)"),
        ({"query_offsets": torch.tensor([0, 9])}, r"query: got shape \(2, 9, 3\), expected \(T, 3\) beside query_offsets"),
        ({"k": -1}, "k: got -1"),
        ({"k": True}, "k: got True"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict, message: str) -> None:
    good = {"query": POINTS, "points": POINTS, "k": 3}
    with pytest.raises(ValueError, match=message):
        knn(**{**good, **arguments})
    with pytest.raises(ValueError, match=message):
        ball_query(radius=1.0, **{**good, **arguments})


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": -1.0}, "radius: got -1.0, expected metres, at least 0"),
        ({"radius": float("nan")}, "radius: got nan"),
        ({"radius": "1"}, "radius: got '1'"),
        ({"order": "first"}, "order: got 'first', expected one of 'index', 'nearest'"),
        ({"pad": "zero"}, "pad: got 'zero', expected one of 'none', 'repeat'"),
    ],
)
def test_bad_balls_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ball_query(**{"query": POINTS, "points": POINTS, "radius": 1.0, "k": 3, **arguments})


def test_operators_pass_torchs_checks() -> None:
    starts, lengths = torch.tensor([0, 40]), torch.tensor([40, 20])
    clouds = (torch.rand(60, 3), starts, lengths, torch.rand(60, 3), starts, lengths)
    torch.library.opcheck(torch.ops.vla3d.ball_query.default, (*clouds, 0.3, 5, True))
    trained = tuple(part.requires_grad_() if part.is_floating_point() else part for part in clouds)
    torch.library.opcheck(torch.ops.vla3d.knn.default, (*trained, 5))
