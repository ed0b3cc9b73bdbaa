"""Nearest neighbours and neighbours within a radius, over the cells of a grid.

A neighbour is kept as one number, its squared distance in the upper half and its index in the lower, so that comparing numbers
compares by distance, then by index; or as its index alone.

The inner loops are plain C++, one source for both devices: an array access of Warp allows for negative indices, which keeps a
CPU from taking several points at once. There a run of points is read in blocks, past its end too, so behind the last point
there has to be room for a block (`vla3d.pointcloud.cells`).

No cell is left out that could matter, whatever the rounding, because rounding keeps order. A point whose computed squared
distance is below ``radius * radius`` has computed differences below ``radius`` along each axis, so exact ones below it too, so
it lies between the rounded ``query - radius`` and ``query + radius``. The cells of these two corners bound its own (see
``kernels.cells``).
"""

import warp as wp

from vla3d.pointcloud.kernels.cells import cell_of
from vla3d.pointcloud.kernels.snippets import SQUARED_LENGTH, distance_of

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

_INFINITE = wp.constant(float("inf"))


@wp.func
def radius_above(distance: float) -> float:
    """A radius whose computed square is above a squared distance; it is so by far more than a square root can be wrong."""
    return wp.sqrt(distance) * 1.000001 + 1.0e-18


@wp.func
def cells_around(point: wp.vec3, radius: float, low: wp.vec3, inverse: wp.vec3, size: wp.vec3i):
    """The lowest and the highest cell that a point within a radius may lie in."""
    corner = wp.vec3(radius, radius, radius)
    return cell_of(point - corner, low, inverse, size), cell_of(point + corner, low, inverse, size)


@wp.func_native(
    SQUARED_LENGTH
    + """
#ifdef __CUDA_ARCH__
    constexpr int BLOCK = 1, SEEN = 1, RANKED = 1;
#else
    constexpr int BLOCK = 16, SEEN = 256, RANKED = 64;
#endif
    union Bits { float value; unsigned bits; };
    const float* __restrict__ all = (const float*)points.data;
    long long* __restrict__ row = (long long*)keys.data;
    const int most = keys.shape[0];
    const float px = point[0], py = point[1], pz = point[2];
    Bits limit;
    limit.value = below;
    int seen = 0;
    int places[SEEN];
    Bits distances[SEEN];
    long long ranked[RANKED];
    const auto tighten = [&]() {
        if (by_distance && count == most) {
            // The next float: a point as far as the last may have a lower index.
            const unsigned next = (unsigned)(row[most - 1] >> 32) + 1;
            limit.bits = next < limit.bits ? next : limit.bits;
        }
    };
    const auto key_of = [&](int i) {
        const long long distance = by_distance ? (long long)distances[i].bits << 32 : 0;
        return distance | (unsigned)order.data[places[i]];
    };
    const auto settle = [&]() {
        size_t near = 0;
        for (int i = 0; i < seen; ++i) {
            const unsigned bits = distances[i].bits;
            places[near] = places[i];
            distances[near].bits = bits;
            // Bits of floats that are not negative are ordered as those are, and those of NaN above.
            near += bits < limit.bits;
        }
        seen = 0;
        const int waiting = (int)near;
        if (waiting == 0)
            return;
        int done = 0;
        if (count == 0) {
            // Each goes where as many as are smaller leave room for it, found without a branch.
            done = waiting < RANKED ? waiting : RANKED;
            for (int i = 0; i < done; ++i)
                ranked[i] = key_of(i);
            const int blocks = (done + BLOCK - 1) / BLOCK * BLOCK;
            for (int i = done; i < blocks; ++i)
                ranked[i] = 0x7FFFFFFFFFFFFFFFll;
            for (int i = 0; i < done; ++i) {
                long long rank = 0;
                for (int j = 0; j < blocks; ++j)
                    rank += ranked[j] < ranked[i];
                if (rank < most)
                    row[rank] = ranked[i];
            }
            count = done < most ? done : most;
        }
        for (int i = done; i < waiting; ++i) {
            const long long key = key_of(i);
            if (count == most && key > row[most - 1])
                continue;
            int at = count < most ? count++ : most - 1;
            for (; at > 0 && row[at - 1] > key; --at)
                row[at] = row[at - 1];
            row[at] = key;
        }
        tighten();
    };
    tighten();
    for (int x = low_cell[0]; x <= high_cell[0]; ++x)
        for (int y = low_cell[1]; y <= high_cell[1]; ++y) {
            const int* __restrict__ cell = begin.data + first_cell + (x * size[1] + y) * size[2];
            const bool passes = x >= seen_low[0] && x <= seen_high[0] && y >= seen_low[1] && y <= seen_high[1];
            for (int part = 0; part <= passes; ++part) {
                const int end = cell[passes && part == 0 ? seen_low[2] : high_cell[2] + 1];
                for (int start = cell[part == 0 ? low_cell[2] : seen_high[2] + 1]; start < end; start += BLOCK) {
                    const float* __restrict__ other = all + 3 * (size_t)start;
                    for (int i = 0; i < BLOCK; ++i) {
                        const float dx = other[3 * i] - px, dy = other[3 * i + 1] - py, dz = other[3 * i + 2] - pz;
                        distances[seen + i].value = squared_length(dx, dy, dz);
                        places[seen + i] = start + i;
                    }
                    seen += end - start < BLOCK ? end - start : BLOCK;
                    if (seen > SEEN - BLOCK)
                        settle();
                }
            }
        }
    settle();
    return count;
"""
)
def collect(
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
    below: float,
    by_distance: wp.int32,
    keys: wp.array(dtype=wp.uint64),
    count: wp.int32,
) -> wp.int32:
    """Insert the points of a box of cells, but for those of a box in it that was seen before, into a row of sorted keys.

    Only those whose squared distance is below a limit; the largest drop out of a full row.

    Args:
        low_cell: lowest cell of the box.
        high_cell: highest.
        seen_low: lowest cell of the box that was seen before.
        seen_high: highest, below the lowest where there is none.
        point: the query.
        points: see ``nearest_neighbours``, as the next four.
        order: flat index of each point.
        begin: where each cell begins.
        size: cells along each axis.
        first_cell: number of the first.
        below: the limit.
        by_distance: 1 for keys of distance and index, 0 for those of the index alone.
        keys: the row.
        count: how many it holds.

    Returns:
        How many it holds then.
    """
    ...


@wp.func_native("""
    long long* __restrict__ row = (long long*)keys.data;
    const int most = keys.shape[0];
    for (int i = 0; i < count; ++i)
        row[i] = (row[i] & 0xFFFFFFFFll) - start;
    for (int i = count; i < most; ++i)
        row[i] = -1;
""")
def finish(keys: wp.array(dtype=wp.uint64), count: wp.int32, start: wp.int64):
    """Leave indices within the cloud where keys were, and -1 where there are none."""
    ...


@wp.func
def write(keys: wp.array(dtype=wp.uint64), squared_distance: wp.array(dtype=float), count: wp.int32, start: wp.int64):
    """Distances of a row of keys, infinite where there are none, and indices as by ``finish``."""
    for j in range(count):
        squared_distance[j] = distance_of(keys[j])
    for j in range(count, squared_distance.shape[0]):
        squared_distance[j] = _INFINITE
    finish(keys, count, start)


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
        squared_distance: result.
        index: result.
    """
    row = wp.int32(sequence[wp.tid()])
    own = cloud[row]
    most = wp.int32(index.shape[1])
    keys = index[row]
    if own < 0:
        write(keys, squared_distance[row], 0, wp.int64(0))
        return
    point = queries[row]
    grid = size[own]
    first = first_cell[own]
    centre = cell_of(point, low[own], inverse[own], grid)
    seen_low = wp.vec3i(1, 1, 1)
    seen_high = wp.vec3i(0, 0, 0)
    # A query that is one of the points finds itself in its own cell.
    ring = wp.where(most > 2, wp.int32(1), wp.int32(0))
    count = wp.int32(0)
    while True:
        low_cell = wp.max(centre - wp.vec3i(ring, ring, ring), wp.vec3i(0, 0, 0))
        high_cell = wp.min(centre + wp.vec3i(ring, ring, ring), grid - wp.vec3i(1, 1, 1))
        ring += 1 + ring // 2
        if count == most:
            low_cell, high_cell = cells_around(point, radius_above(distance_of(keys[most - 1])), low[own], inverse[own], grid)
        if seen_low[0] <= seen_high[0]:
            low_cell = wp.min(low_cell, seen_low)
            high_cell = wp.max(high_cell, seen_high)
        if low_cell == seen_low and high_cell == seen_high:
            break
        count = collect(
            low_cell, high_cell, seen_low, seen_high, point, points, order, begin, grid, first, _INFINITE, 1, keys, count
        )
        seen_low = low_cell
        seen_high = high_cell
    write(keys, squared_distance[row], count, starts[own])


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
        index: result.
        found: result.
    """
    row = wp.int32(sequence[wp.tid()])
    own = cloud[row]
    keys = index[row]
    if own < 0:
        finish(keys, 0, wp.int64(0))
        found[row] = wp.int64(0)
        return
    point = queries[row]
    low_cell, high_cell = cells_around(point, radius, low[own], inverse[own], size[own])
    nothing = wp.vec3i(0, 0, 0)
    count = collect(
        low_cell,
        high_cell,
        nothing,
        wp.vec3i(-1, -1, -1),
        point,
        points,
        order,
        begin,
        size[own],
        first_cell[own],
        radius * radius,
        by_distance,
        keys,
        wp.int32(0),
    )
    found[row] = wp.int64(count)
    finish(keys, count, starts[own])
