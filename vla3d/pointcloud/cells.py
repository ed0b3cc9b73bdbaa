"""Points sorted into the cells of a regular grid, to find neighbours without looking at all points."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.nn.functional import pad

from vla3d.kernels.launching import launch
from vla3d.kernels.sharing import in_shares
from vla3d.pointcloud.grouping import group_rows

CELLS_PER_POINT = 2
_SAMPLE = 256
# What lies within this share of the sample from either end does not stretch the grid: a stray point would make all cells large.
_TAIL = 0.02
# Points of all clouds whose time outweighs that of starting a thread.
_FEWEST_TO_SHARE = 1 << 15
# Kernels read blocks of points on a CPU, past the last.
_READ_PAST = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class CellTable:
    """The valid points of each cloud, those of one cell next to each other and in the order of their indices.

    The cells of a row along z have consecutive numbers. All sizes are known from the shapes of what the table is made from.

    Attributes:
        points: sorted; then those that are invalid. Behind them is room for a block.
        order: flat index of each sorted point.
        begin: where each cell begins among the sorted points, and the end of the last.
        low: lower corner of each cloud's grid.
        inverse: cells per metre along each axis.
        size: cells along each axis.
        first_cell: number of each cloud's first cell.
    """

    points: Float[Tensor, "T 3"]
    order: Int32[Tensor, "T"]
    begin: Int32[Tensor, "C_plus_1"]
    low: Float[Tensor, "B 3"]
    inverse: Float[Tensor, "B 3"]
    size: Int32[Tensor, "B 3"]
    first_cell: Int32[Tensor, "B"]

    @property
    def grid(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What ``kernels.cells`` needs to find cells."""
        return self.low, self.inverse, self.size, self.first_cell

    @property
    def content(self) -> tuple[Tensor, Tensor, Tensor]:
        """What lies in the cells."""
        return self.points, self.order, self.begin


def build_cell_table(
    points: Float[Tensor, "T 3"],
    starts: Int64[Tensor, "B"],
    lengths: Int64[Tensor, "B"],
    cells_per_point: float = CELLS_PER_POINT,
    smallest: float = 0.0,
) -> CellTable:
    """Sort points into cells.

    Args:
        points: at least one, in at least one cloud.
        starts: of the clouds.
        lengths: of the clouds.
        cells_per_point: about how many cells a grid has, were its cloud to fill its box; never more than ``CELLS_PER_POINT``.
        smallest: least side of a cell in metres.
    """
    make = _make_serially if points.device.type == "cpu" else _make_in_parallel
    return make(points, starts, lengths, cells_per_point, smallest)


def _make_serially(points: Tensor, starts: Tensor, lengths: Tensor, cells_per_point: float, smallest: float) -> CellTable:
    """The form for a CPU, one thread for some clouds."""
    from vla3d.pointcloud.kernels import serial_cells as kernels

    total, clouds = len(points), len(starts)
    # A traced program does not check borders. Where they fall, clouds must not write over each other.
    starts = starts.cummax(0).values
    lengths = torch.minimum(lengths, pad(starts, (0, 1), value=total).diff())
    low, inverse = points.new_empty(2, clouds, 3)
    number, order = torch.empty(2, total, dtype=torch.int32)
    size, first_cell = torch.empty(clouds, 3, dtype=torch.int32), torch.empty(clouds, dtype=torch.int32)
    grid = (low, inverse, size, first_cell)
    valid = torch.empty_like(lengths)
    launch(kernels.fit_grids, clouds, points, starts, lengths, float(cells_per_point), smallest, number, *grid, valid)
    valid_up_to = valid.cumsum(0)
    sorted_points = points.new_empty(total + _READ_PAST, 3)
    begin = torch.empty(total * CELLS_PER_POINT + clouds + 1, dtype=torch.int32)

    def sort(some: slice) -> None:
        content = (number, sorted_points, order, begin)
        launch(kernels.sort_clouds, some.stop - some.start, points, starts, lengths, valid_up_to, *grid, some.start, *content)

    if total < _FEWEST_TO_SHARE:
        sort(slice(0, clouds))
    else:
        in_shares(clouds, points.device, sort, most=clouds)
    return CellTable(
        points=sorted_points[:total], order=order, begin=begin, low=low, inverse=inverse, size=size, first_cell=first_cell
    )


def _make_in_parallel(points: Tensor, starts: Tensor, lengths: Tensor, cells_per_point: float, smallest: float) -> CellTable:
    """The form for CUDA; it serves on a CPU too."""
    from vla3d.pointcloud.kernels import cells as kernels

    total, clouds = len(points), len(starts)
    cloud = find_clouds(points, starts, lengths)
    low, high = _extents(points, cloud >= 0, starts, lengths)
    size, inverse = torch.empty_like(low, dtype=torch.int32), torch.empty_like(low)
    launch(kernels.divide_boxes, clouds, low, high, lengths, float(cells_per_point), smallest, size, inverse)
    # Room for each cloud, wherever it starts: no grid has more cells than this leaves up to the next.
    first_cell = (starts * CELLS_PER_POINT + torch.arange(clouds, device=points.device)).int()
    grid = (low, inverse, size, first_cell)
    order, begin = group_rows(_number_cells(points, cloud, grid), total * CELLS_PER_POINT + clouds)
    sorted_points = points.new_empty(total + _READ_PAST, 3)
    torch.index_select(points, 0, order, out=sorted_points[:total])
    return CellTable(
        points=sorted_points[:total],
        order=order.int(),
        begin=begin,
        low=low,
        inverse=inverse,
        size=size,
        first_cell=first_cell,
    )


def put_in_one_cell(points: Float[Tensor, "T 3"], starts: Int64[Tensor, "B"], lengths: Int64[Tensor, "B"]) -> CellTable:
    """A table in which each cloud is one cell, where sorting takes longer than looking at all points.

    Points that are not valid are among the others; their distance to anything is infinite or not a number.
    """
    total, clouds = len(points), len(starts)
    padded = points.new_empty(total + _READ_PAST, 3)[:total].copy_(points)
    nothing = points.new_zeros(clouds, 3)
    return CellTable(
        points=padded,
        order=torch.arange(total, dtype=torch.int32, device=points.device),
        begin=torch.stack((starts, starts + lengths), 1).flatten().int(),
        low=nothing,
        inverse=nothing,
        size=torch.ones_like(nothing, dtype=torch.int32),
        first_cell=torch.arange(0, 2 * clouds, 2, dtype=torch.int32, device=points.device),
    )


def find_clouds(points: Float[Tensor, "T 3"], starts: Int64[Tensor, "B"], lengths: Int64[Tensor, "B"]) -> Int32[Tensor, "T"]:
    """The cloud of each point; -1 for padding and non-finite points."""
    from vla3d.pointcloud.kernels import cells as kernels

    cloud = torch.empty(len(points), dtype=torch.int32, device=points.device)
    launch(kernels.find_clouds, len(points), points, starts, lengths, cloud)
    return cloud


def neighbours_together(points: Float[Tensor, "T 3"], cloud: Int32[Tensor, "T"], table: CellTable) -> Int64[Tensor, "T"]:
    """An order of points, in or beside the table, in which those of one cell follow each other; cloud -1 comes first."""
    return _number_cells(points, cloud, table.grid).argsort()


def _number_cells(points: Tensor, cloud: Tensor, grid: tuple[Tensor, ...]) -> Int32[Tensor, "T"]:
    from vla3d.pointcloud.kernels import cells as kernels

    number = torch.full((len(points),), -1, dtype=torch.int32, device=points.device)
    launch(kernels.number_cells, len(points), points, cloud, *grid, number)
    return number


def _extents(points: Tensor, valid: Tensor, starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """A box around nearly all valid points of each cloud, by a sample of them.

    Of the sample, and not of the cloud, so that the cost is small; of valid points, and at irrational steps, so that holes in a
    pattern and the rows of a depth map do not make it one-sided.
    """
    seen = pad(valid.cumsum(0), (1, 0))
    before, count = seen[starts], seen[starts + lengths] - seen[starts]
    place = (torch.arange(_SAMPLE, dtype=torch.float64, device=points.device) * 0.6180339887498949) % 1.0
    wanted = before[:, None] + (place * count[:, None]).long()
    at = torch.searchsorted(seen[1:], wanted + 1).clamp(max=len(points) - 1)
    # A cloud without a valid point samples others; then its box means nothing, but has to be one.
    sample = points[at].nan_to_num(0.0, 0.0, 0.0).sort(1).values
    tail = int(_TAIL * _SAMPLE)
    low, high = sample[:, tail].contiguous(), sample[:, -1 - tail].contiguous()
    margin = (high - low) * (1.5 * _TAIL)
    return torch.maximum(low - margin, sample[:, 0]), torch.minimum(high + margin, sample[:, -1])
