"""Nearest neighbours and neighbours within a radius, over the cells of a grid.

A neighbour is kept as one number, its squared distance in the upper half and its index in the lower, so that comparing numbers
compares by distance, then by index.

No cell is left out that could matter, whatever the rounding, because rounding keeps order. A point whose computed squared
distance is below ``radius * radius`` has computed differences below ``radius`` along each axis, so exact ones below it too, so
it lies between the rounded ``query - radius`` and ``query + radius``. The cells of these two corners bound its own (see
``kernels.cells``).
"""

import warp as wp

from vla3d.pointcloud.kernels.cells import cell_of, row_of

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

_LOW = wp.constant(wp.uint64(0xFFFFFFFF))
_NONE = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_LARGEST = wp.constant(3.4028234663852886e38)


@wp.func
def squared_length(difference: wp.vec3) -> float:
    return (difference[0] * difference[0] + difference[1] * difference[1]) + difference[2] * difference[2]


@wp.func
def key_of(distance: float, index: wp.int32) -> wp.uint64:
    return (wp.uint64(wp.cast(distance, wp.uint32)) << wp.uint64(32)) | wp.uint64(index)


@wp.func
def distance_of(key: wp.uint64) -> float:
    return wp.cast(wp.uint32(key >> wp.uint64(32)), wp.float32)


@wp.func
def insert(keys: wp.array(dtype=wp.uint64), count: wp.int32, most: wp.int32, key: wp.uint64) -> wp.int32:
    """Insert into a sorted row, whose last drops out when it is full; how many the row holds then."""
    if count == most and key > keys[most - 1]:
        return count
    at = wp.min(count, most - 1)
    while at > 0:
        before = keys[at - 1]
        if before < key:
            break
        keys[at] = before
        at -= 1
    keys[at] = key
    return wp.min(count + 1, most)


@wp.func
def finish(keys: wp.array(dtype=wp.uint64), count: wp.int32, start: wp.int32):
    """Leave indices within the cloud where keys were."""
    for j in range(count):
        keys[j] = (keys[j] & _LOW) - wp.uint64(start)
    for j in range(count, keys.shape[0]):
        keys[j] = _NONE


@wp.func
def radius_above(distance: float) -> float:
    """A radius whose computed square is above a squared distance; it is so by far more than a square root can be wrong."""
    return wp.sqrt(distance) * 1.000001 + 1.0e-18


@wp.func
def visit(
    low_cell: wp.vec3i,
    high_cell: wp.vec3i,
    seen_low: wp.vec3i,
    seen_high: wp.vec3i,
    point: wp.vec3,
    points: wp.array(dtype=wp.vec3),
    order: wp.array(dtype=wp.int32),
    begin: wp.array(dtype=wp.int32),
    size: wp.vec3i,
    first_cell: wp.int32,
    keys: wp.array(dtype=wp.uint64),
    already: wp.int32,
) -> wp.int32:
    """Insert the points of a box of cells, but for those of a box in it that was seen before; how many the row holds then."""
    most = wp.int32(keys.shape[0])
    count = wp.int32(already)
    limit = float(_LARGEST)
    if count == most:
        limit = distance_of(keys[most - 1])
    for x in range(low_cell[0], high_cell[0] + 1):
        for y in range(low_cell[1], high_cell[1] + 1):
            cell = row_of(first_cell, x, y, size)
            first_end = wp.int32(high_cell[2] + 1)
            second_begin = wp.int32(high_cell[2] + 1)
            if x >= seen_low[0] and x <= seen_high[0] and y >= seen_low[1] and y <= seen_high[1]:
                first_end = seen_low[2]
                second_begin = seen_high[2] + 1
            for part in range(2):
                i = begin[cell + low_cell[2]]
                end = begin[cell + first_end]
                if part == 1:
                    i = begin[cell + second_begin]
                    end = begin[cell + high_cell[2] + 1]
                while i < end:
                    distance = squared_length(points[i] - point)
                    if distance <= limit:
                        count = insert(keys, count, most, key_of(distance, order[i]))
                        if count == most:
                            limit = distance_of(keys[most - 1])
                    i += 1
    return count


@wp.kernel
def nearest_neighbours(
    queries: wp.array(dtype=wp.vec3),
    cloud: wp.array(dtype=wp.int32),
    sequence: wp.array(dtype=wp.int64),
    starts: wp.array(dtype=wp.int64),
    points: wp.array(dtype=wp.vec3),
    order: wp.array(dtype=wp.int32),
    begin: wp.array(dtype=wp.int32),
    low: wp.array(dtype=wp.vec3),
    inverse: wp.array(dtype=wp.vec3),
    size: wp.array(dtype=wp.vec3i),
    first_cell: wp.array(dtype=wp.int32),
    squared_distance: wp.array2d(dtype=float),
    index: wp.array2d(dtype=wp.uint64),
):
    """One thread a query: boxes of cells around it that grow until none beyond could hold a nearer point.

    Args:
        queries: all of them.
        cloud: of each query; -1 where it has no neighbours.
        sequence: numbers of the queries to answer, in an order in which neighbours are near each other.
        starts: of the clouds of points.
        points: sorted into cells, as all up to ``first_cell``; see `vla3d.pointcloud.cells.CellTable`.
        squared_distance: result, infinite at first.
        index: result, -1 at first.
    """
    row = wp.int32(sequence[wp.tid()])
    own = cloud[row]
    if own < 0:
        return
    point = queries[row]
    most = wp.int32(index.shape[1])
    keys = index[row]
    grid = size[own]
    last = grid - wp.vec3i(1, 1, 1)
    centre = cell_of(point, low[own], inverse[own], grid)
    seen_low = wp.vec3i(1, 1, 1)
    seen_high = wp.vec3i(0, 0, 0)
    ring = wp.int32(0)
    count = wp.int32(0)
    while True:
        low_cell = wp.max(centre - wp.vec3i(ring, ring, ring), wp.vec3i(0, 0, 0))
        high_cell = wp.min(centre + wp.vec3i(ring, ring, ring), last)
        ring += 1 + ring // 2
        if count == most:
            reach = radius_above(distance_of(keys[most - 1]))
            corner = wp.vec3(reach, reach, reach)
            low_cell = cell_of(point - corner, low[own], inverse[own], grid)
            high_cell = cell_of(point + corner, low[own], inverse[own], grid)
        if seen_low[0] <= seen_high[0]:
            low_cell = wp.min(low_cell, seen_low)
            high_cell = wp.max(high_cell, seen_high)
        if low_cell == seen_low and high_cell == seen_high:
            break
        count = visit(low_cell, high_cell, seen_low, seen_high, point, points, order, begin, grid, first_cell[own], keys, count)
        seen_low = low_cell
        seen_high = high_cell
    for j in range(count):
        squared_distance[row, j] = distance_of(keys[j])
    finish(keys, count, wp.int32(starts[own]))


@wp.kernel
def neighbours_within(
    queries: wp.array(dtype=wp.vec3),
    cloud: wp.array(dtype=wp.int32),
    sequence: wp.array(dtype=wp.int64),
    starts: wp.array(dtype=wp.int64),
    points: wp.array(dtype=wp.vec3),
    order: wp.array(dtype=wp.int32),
    begin: wp.array(dtype=wp.int32),
    low: wp.array(dtype=wp.vec3),
    inverse: wp.array(dtype=wp.vec3),
    size: wp.array(dtype=wp.vec3i),
    first_cell: wp.array(dtype=wp.int32),
    radius: float,
    by_distance: wp.int32,
    index: wp.array2d(dtype=wp.uint64),
    found: wp.array(dtype=wp.int64),
):
    """One thread a query; arguments as for ``nearest_neighbours``.

    Args:
        radius: in metres, exclusive.
        by_distance: 1 for the nearest points, 0 for those of lowest index.
        index: result, -1 at first.
        found: result, 0 at first.
    """
    row = wp.int32(sequence[wp.tid()])
    own = cloud[row]
    if own < 0:
        return
    point = queries[row]
    most = wp.int32(index.shape[1])
    keys = index[row]
    corner = wp.vec3(radius, radius, radius)
    low_cell = cell_of(point - corner, low[own], inverse[own], size[own])
    high_cell = cell_of(point + corner, low[own], inverse[own], size[own])
    limit = radius * radius
    count = wp.int32(0)
    for x in range(low_cell[0], high_cell[0] + 1):
        for y in range(low_cell[1], high_cell[1] + 1):
            cell = row_of(first_cell[own], x, y, size[own])
            i = begin[cell + low_cell[2]]
            end = begin[cell + high_cell[2] + 1]
            while i < end:
                distance = squared_length(points[i] - point)
                if distance < limit:
                    key = wp.uint64(order[i])
                    if by_distance == 1:
                        key = key_of(distance, order[i])
                    count = insert(keys, count, most, key)
                i += 1
    found[row] = wp.int64(count)
    finish(keys, count, wp.int32(starts[own]))
