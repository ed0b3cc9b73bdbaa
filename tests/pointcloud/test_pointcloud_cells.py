"""The table of cells: bounded, whole, and never a cell out of order."""

from collections.abc import Callable

import pytest
import torch
from cloud_cases import CLOUDS
from torch import Tensor

from vla3d.kernels.launching import launch
from vla3d.pointcloud import cells
from vla3d.pointcloud.cells import CELLS_PER_POINT, CellTable, build_cell_table, neighbours_together
from vla3d.pointcloud.kernels.cells import number_cells


def table_of(clouds: list[Tensor], **how: float) -> tuple[CellTable, Tensor, Tensor, Tensor]:
    points, lengths = torch.cat(clouds), torch.tensor([len(cloud) for cloud in clouds])
    starts = lengths.cumsum(0) - lengths
    return build_cell_table(points, starts, lengths, **how), points, starts, lengths


@pytest.fixture(params=["for a CPU", "for CUDA"], autouse=True)
def _form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of making a table obey the same laws."""
    if request.param == "for CUDA":
        monkeypatch.setattr(cells, "_make_serially", cells._make_in_parallel)


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    "how", [{}, {"cells_per_point": 0.1}, {"cells_per_point": 1e9}, {"smallest": 0.3}, {"smallest": torch.inf}]
)
def test_every_valid_point_lies_in_one_cell_of_its_cloud(name: str, how: dict) -> None:
    table, points, starts, lengths = table_of([CLOUDS[name](count, count) for count in (1, 300, 0, 40, 7)], **how)
    valid = points.isfinite().all(1)
    number_of_cells = len(points) * CELLS_PER_POINT + len(starts)
    assert len(table.begin) == number_of_cells + 1, "a size that follows from the shapes"
    assert torch.equal(table.order.long().sort().values, torch.arange(len(points)))
    assert valid[table.order[: int(valid.sum())].long()].all() and int(table.begin[-1]) == int(valid.sum())
    assert torch.equal(points[table.order.long()].nan_to_num(), table.points.nan_to_num())
    count = table.begin.diff()
    assert int(table.begin[0]) == 0 and (count >= 0).all()
    assert (table.size >= 1).all() and (table.size.long().prod(1) <= (lengths * CELLS_PER_POINT).clamp(min=1)).all()
    assert (table.first_cell[1:] >= (table.first_cell + table.size.prod(1))[:-1]).all(), "grids do not overlap"
    cell = torch.repeat_interleave(torch.arange(number_of_cells), count.long())
    cloud = torch.searchsorted(starts, table.order[: len(cell)].long(), right=True) - 1
    assert (cell >= table.first_cell[cloud]).all() and (cell < table.first_cell[cloud] + table.size[cloud].prod(1)).all()
    number = torch.empty(len(points), dtype=torch.int32)
    launch(number_cells, len(points), points, cells.find_clouds(points, starts, lengths), *table.grid, number)
    assert torch.equal(number[table.order[: len(cell)].long()], cell.int()), "where a search looks for it"
    ascending = table.order[: len(cell)].diff() > 0
    assert (ascending | (cell.diff() > 0)).all(), "within a cell by index"


@pytest.mark.parametrize("name", ["random", "far away", "tiny", "millimetres", "line", "plane"])
def test_cells_never_fall_where_coordinates_rise(name: str) -> None:
    """What every search relies on: the cells of two corners bound the cells of all points between them."""
    table, points, *_ = table_of([CLOUDS[name](500, 0)])
    middle, far = float(points.mean()), float(points.abs().max())
    near = torch.linspace(-2 * far, 2 * far, 4001).double() + middle
    extreme = torch.tensor([-torch.inf, -3e38, -1e20, -0.0, 0.0, 1e-45, 1e20, 3e38, torch.inf], dtype=torch.float64)
    axis = torch.cat((near, extreme, points.flatten().double())).float().sort().values
    axis = torch.cat((axis, axis.nextafter(torch.tensor(torch.inf)))).sort().values
    for dimension, stride in enumerate((int(table.size[0, 1:].prod()), int(table.size[0, 2]), 1)):
        probe = points[:1].repeat(len(axis), 1)
        probe[:, dimension] = axis
        order = neighbours_together(probe, torch.zeros(len(probe), dtype=torch.int32), table)
        number = torch.empty(len(axis), dtype=torch.int32)
        launch(number_cells, len(axis), probe, torch.zeros(len(axis), dtype=torch.int32), *table.grid, number)
        assert (number.diff() >= 0).all()
        assert torch.equal(number[order], number.sort().values)
        assert int(number[-1] - number[0]) == stride * (int(table.size[0, dimension]) - 1), "from the first cell to the last"


def test_stray_points_do_not_stretch_the_grid() -> None:
    cloud = CLOUDS["random"](3000, 0)
    strays = torch.tensor([[1e5, 0.0, 0.0], [0.0, -1e30, 0.0], [-3e38, 3e38, 1.0]])
    usual, fitted = (table_of([points])[0].begin.diff().max() for points in (cloud, torch.cat((cloud, strays))))
    assert fitted < 2 * usual


def test_a_depth_map_with_holes_in_a_pattern_is_divided() -> None:
    cloud = CLOUDS["depth map"](128 * 128, 0)
    cloud[torch.arange(len(cloud)) % 64 != 5] = torch.nan
    assert int(table_of([cloud])[0].begin.diff().max()) <= 8


def test_shares_of_the_clouds_make_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    clouds = [CLOUDS["holes"](count, count) for count in (5000, 0, 40000, 3, 9000)]
    alone, *_ = table_of(clouds)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared, *_ = table_of(clouds)
    assert torch.equal(alone.order, shared.order) and torch.equal(alone.begin, shared.begin)
    assert torch.equal(alone.points.nan_to_num(), shared.points.nan_to_num())


@pytest.mark.parametrize("_form", ["for a CPU"], indirect=True)
def test_no_cloud_writes_into_the_cells_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads sort clouds at the same time; one without points, between others, owns nothing but where it begins."""
    parts: list[Callable[[slice], None]] = []
    monkeypatch.setattr(cells, "_FEWEST_TO_SHARE", 0)
    monkeypatch.setattr(cells, "in_shares", lambda rows, device, work, most: parts.append(work))
    clouds = [CLOUDS["holes"](count, count) for count in (0, 500, 0, 0, 4000, 3, 0)]
    table, *_ = table_of(clouds)
    ends = [*table.first_cell.tolist(), len(table.begin)]
    for cloud in range(len(clouds)):
        table.begin.fill_(-7)
        parts[0](slice(cloud, cloud + 1))
        written = (table.begin != -7).nonzero().flatten()
        assert written.tolist() == list(range(ends[cloud], ends[cloud + 1]))


def test_borders_that_fall_do_no_harm() -> None:
    """A traced program does not check them."""
    points = CLOUDS["random"](1000, 0)
    table = build_cell_table(points, torch.tensor([0, 1000, 400]), torch.tensor([1000, 0, 600]))
    assert torch.equal(table.order.long().sort().values, torch.arange(1000))
