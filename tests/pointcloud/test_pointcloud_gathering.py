"""Gathering values by index, and adding them up again."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla3d.kernels.operators import reference_kernels
from vla3d.pointcloud import ball_query, gather_points, gathering
from vla3d.pointcloud.gathering import gather_rows, sum_rows


@pytest.fixture(params=["for a CPU", "for CUDA"], autouse=True, scope="module")
def _form(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both forms obey the same laws."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "for CUDA":
            patch.setattr(gathering, "_gather_serially", gathering._gather_in_parallel)
            patch.setattr(gathering, "_sum_serially", gathering._sum_in_parallel)
        yield


@given(
    sizes=st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 4), st.integers(0, 5), st.integers(0, 3)),
    seed=st.integers(0, 2**31 - 1),
)
def test_gathering_equals_a_loop(sizes: tuple[int, ...], seed: int) -> None:
    batch, size, channels, queries, k = sizes
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, size, channels, generator=generator)
    index = torch.randint(-2, size, (batch, queries, k), generator=generator) if size else torch.full((batch, queries, k), -1)
    gathered = gather_points(values, index)
    assert gathered.shape == (batch, queries, k, channels)
    for b in range(batch):
        for q in range(queries):
            for j in range(k):
                at = int(index[b, q, j])
                assert torch.equal(gathered[b, q, j], values[b, at] if at >= 0 else torch.zeros(channels))
    start = torch.arange(batch)[:, None, None] * size
    packed = gather_points(values.flatten(0, 1), torch.where(index >= 0, index + start, -1))
    assert torch.equal(packed, gathered)


def test_a_group_is_what_a_ball_query_found() -> None:
    points = torch.rand(2, 200, 3, generator=torch.Generator().manual_seed(0))
    index, count = ball_query(points[:, :20], points, 0.3, 8)
    group = gather_points(points, index)
    near = (group - points[:, :20, None]).square().sum(-1) < 0.3**2 - 1e-6
    assert torch.equal(near.sum(-1), count)


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.int64, torch.bool])
def test_values_keep_their_type(kind: torch.dtype) -> None:
    values = torch.tensor([[[1], [0], [3]]]).to(kind)
    gathered = gather_points(values, torch.tensor([[2, -1, 0]], dtype=torch.int32))
    assert gathered.dtype == kind and torch.equal(gathered, torch.tensor([[[3], [0], [1]]]).to(kind))


def test_what_is_not_taken_does_not_matter() -> None:
    values = torch.full((1, 2, 3), torch.nan, requires_grad=True)
    gathered = gather_points(values, torch.tensor([[-1, -1]]))
    assert torch.equal(gathered, torch.zeros(1, 2, 3))
    (gathered * torch.inf).nan_to_num().sum().backward()
    assert torch.equal(values.grad, torch.zeros(1, 2, 3))


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[[0, 0], [3, -1]], [[1, 1], [1, 1]]])
    torch.autograd.gradcheck(lambda values: gather_points(values, index), values)
    torch.autograd.gradgradcheck(lambda values: gather_points(values, index), values)
    rows = torch.tensor([0, 2, 2, -1, 2, 0, 4, -1])
    for mean in (False, True):
        torch.autograd.gradcheck(lambda values, mean=mean: sum_rows(values.flatten(0, 1), rows, 6, mean), values)
        torch.autograd.gradgradcheck(lambda values, mean=mean: sum_rows(values.flatten(0, 1), rows, 6, mean), values)


def test_the_gradient_is_the_same_on_every_run_and_counts_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1, 50, 8, generator=generator, requires_grad=True)
    index = torch.randint(50, (1, 4000), generator=generator)
    pull = torch.randn(1, 4000, 8, generator=generator)
    runs = [torch.autograd.grad(gather_points(values, index), values, pull)[0] for _ in range(2)]
    assert torch.equal(*runs)
    exact = torch.zeros(50, 8, dtype=torch.float64).index_add_(0, index[0], pull[0].double())
    assert torch.equal(runs[0][0], exact.float()), "added up in double precision, in the order of the indices"


@given(
    rows=st.integers(0, 60),
    total=st.integers(0, 9),
    channels=st.sampled_from([0, 1, 3, 32, 33, 70]),
    seed=st.integers(0, 2**31 - 1),
)
def test_sums_equal_the_reference(rows: int, total: int, channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, channels, generator=generator) * 10 ** torch.randint(-3, 9, (rows, 1), generator=generator)
    index = torch.randint(-1, max(total, 1), (rows,), generator=generator) if total else torch.full((rows,), -1)
    for mean in (False, True):
        together = sum_rows(values, index, total, mean)
        with reference_kernels():
            assert torch.equal(together, sum_rows(values, index, total, mean))


@pytest.mark.wrong_shapes
@pytest.mark.parametrize(
    ("values", "index", "message"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), r"values: got shape \(3,\), expected \(B, N, C\)"),
        (torch.zeros(2, 3, 1), torch.zeros(3, 3, dtype=torch.int64), r"index: got shape \(3, 3\), expected \(2, \.\.\.\)"),
        (torch.zeros(2, 3, 1), torch.tensor(0), r"index: got shape \(\), expected \(2, \.\.\.\)"),
        (torch.zeros(2, 3, 1), torch.zeros(2, 3), "index: got torch.float32, expected whole numbers"),
        (torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.int64, device="meta"), "index: got device meta, expected cpu"),
    ],
)
def test_bad_input_is_one_sentence(values: Tensor, index: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gather_points(values, index)


def test_an_index_beyond_its_cloud_is_refused() -> None:
    with pytest.raises(IndexError, match="index: got 3, expected less than 3"):
        gather_points(torch.zeros(2, 3, 1), torch.tensor([[0], [3]]))
    with pytest.raises(IndexError, match="index: got 6, expected less than 6"):
        gather_points(torch.zeros(6, 1), torch.tensor([6]))


def test_operators_pass_torchs_checks() -> None:
    values, index = torch.rand(7, 3, requires_grad=True), torch.tensor([0, 3, 3, -1, 6])
    torch.library.opcheck(torch.ops.vla3d.gather_rows.default, (values, index))
    for mean in (False, True):
        torch.library.opcheck(torch.ops.vla3d.sum_rows.default, (gather_rows(values, index).detach(), index, 7, mean))
        torch.library.opcheck(torch.ops.vla3d.sum_rows.default, (values[:5].detach().requires_grad_(), index, 7, mean))
