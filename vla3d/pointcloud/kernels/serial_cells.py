"""The table of cells made by one thread for some clouds, one cloud after the other: the form for a CPU.

Each point goes to its place as in a counting sort: count the points of each cell, add up, place them as they come.

The loops are plain C++, one source for both devices: an array access of Warp allows for negative indices, which keeps a CPU
from taking several points at once.
"""

import warp as wp

from vla3d.pointcloud.kernels.cells import CELLS_PER_POINT, divide, inverse_of
from vla3d.pointcloud.kernels.snippets import VALID

wp.set_module_options({"fuse_fp": False, "enable_backward": False})


@wp.func_native(
    VALID
    + """
    const float* __restrict__ point = (const float*)points.data + 3 * start;
    int* __restrict__ listed = places.data + start;
    long long count = 0;
    for (long long i = 0; i < length; ++i)
        count += valid(point[3 * i], point[3 * i + 1], point[3 * i + 2]);
    if (count == length)
        return count;
    count = 0;
    for (long long i = 0; i < length; ++i) {
        listed[count] = (int)i;
        count += valid(point[3 * i], point[3 * i + 1], point[3 * i + 2]);
    }
    return count;
"""
)
def list_valid(
    points: wp.array(dtype=wp.vec3), start: wp.int64, length: wp.int64, places: wp.array(dtype=wp.int32)
) -> wp.int64:
    """Count the valid points of a cloud, and list them from ``start`` where not all are."""
    ...


@wp.func_native("""
    constexpr int SAMPLE = 256, TAIL = 5;  // as in vla3d.pointcloud.cells
    const float* __restrict__ point = (const float*)points.data + 3 * start;
    const int* __restrict__ listed = places.data + start;
    // The lowest and the highest few, sorted.
    float low[TAIL + 1], high[TAIL + 1];
    for (int i = 0; i <= TAIL; ++i) {
        low[i] = 3.40282347e38f;
        high[i] = -3.40282347e38f;
    }
    for (int i = 0; i < SAMPLE; ++i) {
        const double place = i * 0.6180339887498949;
        const long long wanted = (long long)((place - (long long)place) * count);
        const float value = point[3 * (count < length ? listed[wanted] : wanted) + axis];
        if (value < low[TAIL]) {
            int at = TAIL;
            for (; at > 0 && low[at - 1] > value; --at)
                low[at] = low[at - 1];
            low[at] = value;
        }
        if (value > high[TAIL]) {
            int at = TAIL;
            for (; at > 0 && high[at - 1] < value; --at)
                high[at] = high[at - 1];
            high[at] = value;
        }
    }
    const double margin = ((double)high[TAIL] - low[TAIL]) * 0.03;
    const double lower = low[TAIL] - margin, upper = high[TAIL] + margin;
    return wp::vec_t<2, float>((float)(lower > low[0] ? lower : low[0]), (float)(upper < high[0] ? upper : high[0]));
""")
def range_along(
    points: wp.array(dtype=wp.vec3),
    places: wp.array(dtype=wp.int32),
    start: wp.int64,
    length: wp.int64,
    count: wp.int64,
    axis: wp.int32,
) -> wp.vec2:
    """A range along an axis that holds nearly all of the valid points of a cloud, by a sample of them."""
    ...


@wp.kernel
def fit_grids(
    points: wp.array(dtype=wp.vec3),
    starts: wp.array(dtype=wp.int64),
    lengths: wp.array(dtype=wp.int64),
    cells_per_point: float,
    smallest: float,
    places: wp.array(dtype=wp.int32),
    low: wp.array(dtype=wp.vec3),
    inverse: wp.array(dtype=wp.vec3),
    size: wp.array(dtype=wp.vec3i),
    first_cell: wp.array(dtype=wp.int32),
    valid: wp.array(dtype=wp.int64),
):
    """A grid for each cloud, one thread a cloud.

    Args:
        points: all of them.
        starts: of the clouds.
        lengths: of the clouds.
        cells_per_point: see ``kernels.cells.divide``.
        smallest: see there.
        places: workspace, one number a point.
        low: result, see `vla3d.pointcloud.cells.CellTable`.
        inverse: result, as low.
        size: result, as low.
        first_cell: result, as low.
        valid: result, how many points are valid.
    """
    own = wp.tid()
    start = starts[own]
    length = lengths[own]
    count = list_valid(points, start, length, places)
    lower = wp.vec3()
    upper = wp.vec3()
    if count > wp.int64(0):
        for axis in range(3):
            ends = range_along(points, places, start, length, count, axis)
            lower[axis] = ends[0]
            upper[axis] = ends[1]
    cells = divide(lower, upper, length, cells_per_point, smallest)
    low[own] = lower
    size[own] = cells
    inverse[own] = inverse_of(lower, upper, cells)
    first_cell[own] = wp.int32(start) * CELLS_PER_POINT + own
    valid[own] = count


@wp.func_native(
    VALID
    + """
    const float* __restrict__ point = (const float*)points.data + 3 * start;
    float* __restrict__ sorted_point = (float*)sorted_points.data;
    int* __restrict__ cell = number.data + start;
    int* __restrict__ placed = order.data;
    // The place of the next point of cell i is end[i + 1], and of the next one that is not valid end[0].
    int* __restrict__ end = begin.data + first_cell;
    const int last[3] = {size[0] - 1, size[1] - 1, size[2] - 1};
    // Where there is no room for a point there is none for a cell: what follows is the next cloud's, maybe another thread's.
    const int cells = room > 0 ? size[0] * size[1] * size[2] : 0;
    const float low0 = low[0], low1 = low[1], low2 = low[2];
    const float inverse0 = inverse[0], inverse1 = inverse[1], inverse2 = inverse[2];
    // What kernels.cells.cell_along computes.
    const auto along = [](float coordinate, float low, float inverse, int last) {
        const float at = (coordinate - low) * inverse;
        const float inside = at > 0.0f ? at : 0.0f;
        return inside < (float)last ? (int)inside : last;
    };
    for (int i = 0; i < length; ++i) {
        const float x = point[3 * i], y = point[3 * i + 1], z = point[3 * i + 2];
        const int row = along(x, low0, inverse0, last[0]) * (last[1] + 1) + along(y, low1, inverse1, last[1]);
        cell[i] = valid(x, y, z) ? row * (last[2] + 1) + along(z, low2, inverse2, last[2]) : -1;
    }
    for (int i = 0; i <= cells; ++i)
        end[i] = 0;
    for (int i = 0; i < length; ++i)
        ++end[cell[i] + 1];
    int total = place;
    for (int i = 1; i <= cells; ++i) {
        const int count = end[i];
        end[i] = total;
        total += count;
    }
    end[0] = invalid_place;
    for (int i = 0; i < length; ++i) {
        const int at = end[cell[i] + 1]++;
        placed[at] = (int)start + i;
        for (int axis = 0; axis < 3; ++axis)
            sorted_point[3 * (size_t)at + axis] = point[3 * i + axis];
    }
    for (int i = length; i < room; ++i) {
        const int at = end[0]++;
        placed[at] = (int)start + i;
        for (int axis = 0; axis < 3; ++axis)
            sorted_point[3 * (size_t)at + axis] = point[3 * i + axis];
    }
    end[0] = place;
    for (int i = cells + 1; i < next_cell - first_cell; ++i)
        end[i] = total;
"""
)
def sort_cloud(
    points: wp.array(dtype=wp.vec3),
    start: wp.int64,
    length: wp.int32,
    room: wp.int32,
    place: wp.int32,
    invalid_place: wp.int32,
    low: wp.vec3,
    inverse: wp.vec3,
    size: wp.vec3i,
    first_cell: wp.int32,
    next_cell: wp.int32,
    number: wp.array(dtype=wp.int32),
    sorted_points: wp.array(dtype=wp.vec3),
    order: wp.array(dtype=wp.int32),
    begin: wp.array(dtype=wp.int32),
):
    """Sort the points of one cloud; what is no point of it, up to ``room``, goes with those that are not valid."""
    ...


@wp.kernel
def sort_clouds(
    points: wp.array(dtype=wp.vec3),
    starts: wp.array(dtype=wp.int64),
    lengths: wp.array(dtype=wp.int64),
    valid_up_to: wp.array(dtype=wp.int64),
    low: wp.array(dtype=wp.vec3),
    inverse: wp.array(dtype=wp.vec3),
    size: wp.array(dtype=wp.vec3i),
    first_cell: wp.array(dtype=wp.int32),
    first: wp.int32,
    number: wp.array(dtype=wp.int32),
    sorted_points: wp.array(dtype=wp.vec3),
    order: wp.array(dtype=wp.int32),
    begin: wp.array(dtype=wp.int32),
):
    """Sort the points of each cloud, one thread a cloud.

    Args:
        points: all of them.
        starts: of all clouds.
        lengths: of all clouds.
        valid_up_to: valid points in the clouds up to each, itself included.
        low: see `vla3d.pointcloud.cells.CellTable`, as the next three.
        inverse: see there.
        size: see there.
        first_cell: see there.
        first: cloud of the first thread.
        number: workspace, one number a point.
        sorted_points: result.
        order: result.
        begin: result.
    """
    own = wp.tid() + first
    clouds = starts.shape[0]
    start = wp.int32(starts[own])
    place = wp.int32(0)
    if own > 0:
        place = wp.int32(valid_up_to[own - 1])
    room = points.shape[0] - start
    next_cell = begin.shape[0]
    if own + 1 < clouds:
        room = wp.int32(starts[own + 1]) - start
        next_cell = first_cell[own + 1]
    sort_cloud(
        points,
        starts[own],
        wp.int32(lengths[own]),
        room,
        place,
        wp.int32(valid_up_to[clouds - 1]) + start - place,
        low[own],
        inverse[own],
        size[own],
        first_cell[own],
        next_cell,
        number,
        sorted_points,
        order,
        begin,
    )
