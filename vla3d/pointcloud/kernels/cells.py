"""Cells of a regular grid, one grid a cloud.

A point within a cube lies in one of the cells from that of the cube's lowest to that of its highest corner, to the last bit:
along each axis ``cell_along`` never falls where the coordinate rises, since each of its operations is rounded, and rounding
keeps order. So no result depends on how well a grid fits its cloud; points beyond its border lie in its border cells.
"""

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

CELLS_PER_POINT = wp.constant(2)  # at most
_MOST_CELLS_ALONG = wp.constant(wp.float64(1 << 20))


@wp.func
def cell_along(coordinate: float, low: float, inverse: float, size: wp.int32) -> wp.int32:
    at = (coordinate - low) * inverse
    last = size - 1
    if at >= float(last):
        return last
    # Also where it is not a number: an infinite coordinate on a grid without extent.
    if not (at > 0.0):
        return 0
    return wp.int32(at)


@wp.func
def cell_of(point: wp.vec3, low: wp.vec3, inverse: wp.vec3, size: wp.vec3i) -> wp.vec3i:
    return wp.vec3i(
        cell_along(point[0], low[0], inverse[0], size[0]),
        cell_along(point[1], low[1], inverse[1], size[1]),
        cell_along(point[2], low[2], inverse[2], size[2]),
    )


@wp.func
def row_of(first_cell: wp.int32, x: wp.int32, y: wp.int32, size: wp.vec3i) -> wp.int32:
    """The number of the first cell of a row along z."""
    return first_cell + (x * size[1] + y) * size[2]


@wp.func
def cells_along(extent: wp.float64, side: wp.float64) -> wp.int64:
    return wp.int64(wp.clamp(extent / side, wp.float64(1.0), _MOST_CELLS_ALONG))


@wp.func
def divide(low: wp.vec3, high: wp.vec3, points: wp.int64, cells_per_point: float, smallest: float) -> wp.vec3i:
    """How many cells a box has along its axes.

    Cells are cubes, as many as wanted in the box; or in its largest face, where it is thinner than a cube; or along its longest
    edge.

    Args:
        low: lower corner.
        high: upper corner.
        points: in the cloud.
        cells_per_point: that are wanted; there are never more than ``CELLS_PER_POINT``.
        smallest: least side of a cell.
    """
    extent = wp.vec3d(high) - wp.vec3d(low)
    longest = wp.max(extent)
    shortest = wp.min(extent)
    middle = wp.max(wp.min(extent[0], extent[1]), wp.min(wp.max(extent[0], extent[1]), extent[2]))
    wanted = wp.max(wp.float64(points) * wp.float64(wp.min(cells_per_point, float(CELLS_PER_POINT))), wp.float64(1.0))
    side = wp.pow(longest * middle * shortest / wanted, wp.float64(1.0 / 3.0))
    if side > shortest:
        side = wp.sqrt(longest * middle / wanted)
        if side > middle:
            side = longest / wanted
    side = wp.max(side, wp.max(wp.float64(smallest), wp.float64(1.0e-30)))
    # The product of rounded numbers might be one too many.
    room = wp.max(points * wp.int64(CELLS_PER_POINT), wp.int64(1))
    x = wp.min(cells_along(extent[0], side), room)
    y = wp.min(cells_along(extent[1], side), room // x)
    z = wp.min(cells_along(extent[2], side), room // (x * y))
    return wp.vec3i(wp.int32(x), wp.int32(y), wp.int32(z))


@wp.func
def inverse_of(low: wp.vec3, high: wp.vec3, size: wp.vec3i) -> wp.vec3:
    """Cells per metre; 0 where there is but one."""
    inverse = wp.vec3()
    for axis in range(3):
        if size[axis] > 1:
            inverse[axis] = float(wp.float64(size[axis]) / (wp.float64(high[axis]) - wp.float64(low[axis])))
    return inverse


@wp.kernel
def divide_boxes(
    low: wp.array(dtype=wp.vec3),
    high: wp.array(dtype=wp.vec3),
    lengths: wp.array(dtype=wp.int64),
    cells_per_point: float,
    smallest: float,
    size: wp.array(dtype=wp.vec3i),
    inverse: wp.array(dtype=wp.vec3),
):
    """Cells of the box of each cloud; see ``divide`` and ``inverse_of``."""
    own = wp.tid()
    size[own] = divide(low[own], high[own], lengths[own], cells_per_point, smallest)
    inverse[own] = inverse_of(low[own], high[own], size[own])


@wp.kernel
def find_clouds(
    points: wp.array(dtype=wp.vec3),
    starts: wp.array(dtype=wp.int64),
    lengths: wp.array(dtype=wp.int64),
    cloud: wp.array(dtype=wp.int32),
):
    """The cloud of each point; -1 for padding and non-finite points."""
    i = wp.tid()
    # Of clouds that begin at the same place all but the last are empty.
    own = wp.int32(0)
    beyond = wp.int32(starts.shape[0])
    while beyond - own > 1:
        middle = (own + beyond) // 2
        if starts[middle] <= wp.int64(i):
            own = middle
        else:
            beyond = middle
    point = points[i]
    finite = wp.isfinite(point[0]) and wp.isfinite(point[1]) and wp.isfinite(point[2])
    if finite and wp.int64(i) - starts[own] < lengths[own]:
        cloud[i] = own
    else:
        cloud[i] = -1


@wp.kernel
def number_cells(
    points: wp.array(dtype=wp.vec3),
    cloud: wp.array(dtype=wp.int32),
    low: wp.array(dtype=wp.vec3),
    inverse: wp.array(dtype=wp.vec3),
    size: wp.array(dtype=wp.vec3i),
    first_cell: wp.array(dtype=wp.int32),
    number: wp.array(dtype=wp.int32),
):
    """The cell of each point among those of all clouds; points with cloud -1 keep their number."""
    i = wp.tid()
    own = cloud[i]
    if own >= 0:
        at = cell_of(points[i], low[own], inverse[own], size[own])
        number[i] = row_of(first_cell[own], at[0], at[1], size[own]) + at[2]
