"""Points sorted into the cells of a regular grid, to find neighbours without looking at all points."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.nn.functional import pad

from vla3d.kernels.launching import launch
from vla3d.pointcloud.grouping import group_rows

CELLS_PER_POINT = 2
_SAMPLE = 256
# What lies within this share of the sample from either end does not stretch the grid: a stray point would make all cells large.
_TAIL = 0.02
_MOST_CELLS_ALONG = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class CellTable:
    """The valid points of each cloud, those of one cell next to each other and in the order of their indices.

    The cells of a row along z have consecutive numbers. All sizes are known from the shapes of what the table is made from.

    Attributes:
        points: sorted; then those that are invalid.
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
    total = len(points)
    cloud = find_clouds(points, starts, lengths)
    low, high = _extents(points, cloud >= 0, starts, lengths)
    size, inverse = _divide(low, high, lengths, cells_per_point, smallest)
    # Room for each cloud, wherever it starts: no grid has more cells than this leaves up to the next.
    first_cell = (starts * CELLS_PER_POINT + torch.arange(len(starts), device=points.device)).int()
    grid = (low, inverse, size, first_cell)
    cells = total * CELLS_PER_POINT + len(starts)
    order, begin = group_rows(_number_cells(points, cloud, grid), cells)
    return CellTable(
        points=points.index_select(0, order),
        order=order.int(),
        begin=begin,
        low=low,
        inverse=inverse,
        size=size,
        first_cell=first_cell,
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


def _divide(
    low: Tensor, high: Tensor, lengths: Tensor, cells_per_point: float, smallest: float
) -> tuple[Int32[Tensor, "B 3"], Float[Tensor, "B 3"]]:
    """How many cells each box has along its axes, and per metre.

    Cells are cubes, as many as wanted in the box; or in its largest face, where it is thinner than a cube; or along its longest
    edge.
    """
    extent = high.double() - low.double()
    budget = (lengths * min(cells_per_point, CELLS_PER_POINT)).clamp(min=1.0).double()
    edges = extent.sort(1, descending=True).values
    side = (edges.prod(1) / budget) ** (1 / 3)
    side = torch.where(side <= edges[:, 2], side, (edges[:, 0] * edges[:, 1] / budget).sqrt())
    side = torch.where(side <= edges[:, 1], side, edges[:, 0] / budget)
    side = side.clamp(min=max(smallest, 1e-30))
    size = (extent / side[:, None]).clamp(1, _MOST_CELLS_ALONG).long()
    # The product of rounded numbers might be one too many.
    room = (lengths * CELLS_PER_POINT).clamp(min=1)
    x = torch.minimum(size[:, 0], room)
    y = torch.minimum(size[:, 1], room // x)
    z = torch.minimum(size[:, 2], room // (x * y))
    size = torch.stack((x, y, z), 1)
    inverse = torch.where(size > 1, size / extent, 0.0)
    return size.int(), inverse.float()
