"""Cells of a regular grid, one grid a cloud.

A point within a cube lies in one of the cells from that of the cube's lowest to that of its highest corner, to the last bit:
along each axis ``cell_along`` never falls where the coordinate rises, since each of its operations is rounded, and rounding
keeps order. So no result depends on how well a grid fits its cloud; points beyond its border lie in its border cells.
"""

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})


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
