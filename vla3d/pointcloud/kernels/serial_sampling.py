"""Farthest point sampling by one thread, one cloud after the other: the form for a CPU.

The method is that of ``kernels.sampling``, on two levels: boxes around leaves of 32 points that follow each other on a
space-filling curve (Morton 1966), and boxes around trees of 32 leaves.

The loops are plain C++, one source for both devices: an array access of Warp allows for negative indices, which keeps a CPU
from taking several points at once. For the same reason squared distances are kept and compared as whole numbers, whose largest
is found on all lanes; the bits of floats that are not negative are ordered as the floats are. -1, below all of them, marks what
cannot be chosen.
"""

import warp as wp

from vla3d.pointcloud.kernels.snippets import SQUARED_LENGTH, VALID

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

LEAF = 32  # points
BRANCH = 32  # leaves of a tree
ROWS = 4  # of ``numbers``
# Clouds of so few points, or of which so few are picked, stay as they are: to look at all points is faster than to sort them.
FEW_POINTS = wp.constant(512)
FEW_PICKS = wp.constant(32)

_COMMON = f"""{VALID}{SQUARED_LENGTH}
    constexpr int LEAF = {LEAF}, BRANCH = {BRANCH}, TREE = LEAF * BRANCH;
    constexpr int INFINITE = 0x7F800000, NONE = 0x7FFFFFFF;  // the bits of infinity; what lies above them
    const size_t capacity = numbers.shape[1];
    int* __restrict__ order = numbers.data;  // which point is at a position
    int* __restrict__ position = order + capacity;  // its inverse
    int* __restrict__ nearest = position + capacity;  // squared distance of the point at a position to the nearest pick
    int* __restrict__ spare = nearest + capacity;
"""


@wp.func_native(
    _COMMON
    + """
    const float* __restrict__ point = (const float*)(points.data + start);
    int count = 0;
    for (int i = 0; i < length; ++i) {
        order[count] = i;
        count += valid(point[3 * (size_t)i], point[3 * (size_t)i + 1], point[3 * (size_t)i + 2]);
    }
    return count;
"""
)
def list_valid(
    points: wp.array(dtype=wp.vec3), start: wp.int64, length: wp.int32, numbers: wp.array2d(dtype=wp.int32)
) -> wp.int32:
    """Put the indices of the points that can be chosen in rising order; how many there are."""
    ...


@wp.func_native(
    _COMMON
    + """
    constexpr int BITS = 10, CELLS = 1 << BITS, AXES = 3;
    constexpr int SAMPLE = 64, TAIL = 3;
    const float* __restrict__ point = (const float*)(points.data + start);
    // The box of most points, by a sample: stray points would put all others into a few cells.
    float low[AXES], extent = 0.0f;
    for (int axis = 0; axis < AXES; ++axis) {
        float sample[SAMPLE];
        unsigned at = 0;
        for (int i = 0; i < SAMPLE; ++i) {
            at += 0x9E3779B9u;  // steps of the golden ratio do not keep time with the rows of a depth map
            const float value = point[3 * (size_t)order[(size_t)((unsigned long long)at * (unsigned)count >> 32)] + axis];
            int place = i;
            for (; place > 0 && sample[place - 1] > value; --place)
                sample[place] = sample[place - 1];
            sample[place] = value;
        }
        const float inner = sample[SAMPLE - 1 - TAIL] - sample[TAIL];
        low[axis] = sample[TAIL] - 0.25f * inner;
        extent = inner > extent ? inner : extent;
    }
    const float scale = CELLS / (1.5f * extent);
    unsigned* key = (unsigned*)spare;
    unsigned begin[AXES][CELLS];
    for (int digit = 0; digit < CELLS; ++digit)
        begin[0][digit] = begin[1][digit] = begin[2][digit] = 0;
    for (int i = 0; i < count; ++i) {
        unsigned code = 0;
        for (int axis = 0; axis < AXES; ++axis) {
            const float cell = (point[3 * (size_t)order[i] + axis] - low[axis]) * scale;
            // An extent of 0, or beyond all numbers, makes cells that are no numbers.
            unsigned bits = cell < CELLS - 1 ? (cell > 0.0f ? (unsigned)cell : 0) : CELLS - 1;
            bits = (bits | bits << 16) & 0x030000FF;
            bits = (bits | bits << 8) & 0x0300F00F;
            bits = (bits | bits << 4) & 0x030C30C3;
            bits = (bits | bits << 2) & 0x09249249;
            code |= bits << axis;
        }
        key[order[i]] = code;
        for (int pass = 0; pass < AXES; ++pass)
            ++begin[pass][code >> BITS * pass & (CELLS - 1)];
    }
    // By the digits of the code, the lowest first.
    int* from = order;
    int* to = position;
    for (int pass = 0; pass < AXES; ++pass) {
        unsigned total = 0;
        for (int digit = 0; digit < CELLS; ++digit) {
            const unsigned size = begin[pass][digit];
            begin[pass][digit] = total;
            total += size;
        }
        for (int i = 0; i < count; ++i)
            to[begin[pass][key[from[i]] >> BITS * pass & (CELLS - 1)]++] = from[i];
        int* const other = from;
        from = to;
        to = other;
    }
    for (int i = 0; i < count; ++i)
        to[i] = from[i];
"""
)
def sort_along_curve(points: wp.array(dtype=wp.vec3), start: wp.int64, count: wp.int32, numbers: wp.array2d(dtype=wp.int32)):
    """Bring the listed points into their order on a space-filling curve."""
    ...


@wp.func_native(
    _COMMON
    + """
    const size_t nodes = farthest.shape[1];
    const float* __restrict__ point = (const float*)(points.data + start);
    const int trees = (count + TREE - 1) / TREE;
    for (int i = 0; i < trees * TREE; ++i) {
        const bool exists = i < count;
        if (exists)
            position[order[i]] = i;
        else
            order[i] = NONE;
        nearest[i] = exists ? INFINITE : -1;
        for (int axis = 0; axis < 3; ++axis)
            coordinates.data[i + axis * capacity] = exists ? point[3 * (size_t)order[i] + axis] : 0.0f;
    }
    // Nodes: all leaves, then all trees. Node n begins with entry n * size of the row below it.
    const auto enclose = [&](int node, const float* lows, const float* highs, const int* names, size_t row, int axis,
                             int entries) {
        float low = MOST, high = -MOST;
        int name = NONE;
        for (int i = 0; i < entries; ++i) {
            low = lows[i + row * axis] < low ? lows[i + row * axis] : low;
            high = highs[i + row * axis] > high ? highs[i + row * axis] : high;
            name = names[i] < name ? names[i] : name;
        }
        boxes.data[node + 2 * axis * nodes] = low;
        boxes.data[node + (2 * axis + 1) * nodes] = high;
        // Nothing is picked yet: all points are infinitely far, and the one of the lowest index is the farthest.
        farthest.data[node] = name == NONE ? -1 : INFINITE;
        farthest.data[node + nodes] = name;
    };
    for (int axis = 0; axis < 3; ++axis)
        for (int tree = 0; tree < trees; ++tree) {
            const int first = tree * BRANCH;
            for (int leaf = first; leaf < first + BRANCH; ++leaf) {
                const int begin = leaf * LEAF, left = count - begin;
                const float* from = coordinates.data + begin;
                enclose(leaf, from, from, order + begin, capacity, axis, left < LEAF ? left : LEAF);
            }
            const float* from = boxes.data + first;
            enclose(capacity / LEAF + tree, from, from + nodes, farthest.data + first + nodes, 2 * nodes, axis, BRANCH);
        }
    return trees;
"""
)
def grow_trees(
    points: wp.array(dtype=wp.vec3),
    start: wp.int64,
    count: wp.int32,
    coordinates: wp.array2d(dtype=float),
    numbers: wp.array2d(dtype=wp.int32),
    boxes: wp.array2d(dtype=float),
    farthest: wp.array2d(dtype=wp.int32),
) -> wp.int32:
    """Lay out the listed points, each coordinate by itself, and put boxes around them; how many trees there are."""
    ...


@wp.func_native(
    _COMMON
    + """
    const size_t nodes = farthest.shape[1];
    const float* __restrict__ x = coordinates.data;
    const float* __restrict__ y = x + capacity;
    const float* __restrict__ z = y + capacity;
    int* __restrict__ far = farthest.data;
    int* __restrict__ index = far + nodes;
    const int at = position[pick], roots = capacity / LEAF;
    const float px = x[at], py = y[at], pz = z[at];

    // Lists those of some boxes in which a point may be nearer to the pick than to all before.
    const auto list_reached = [&](int begin, int count, int* __restrict__ list) {
        const float* __restrict__ box = boxes.data + begin;
        int reached[BRANCH], length = 0;
        for (int i = 0; i < count; i += BRANCH) {
            for (int j = 0; j < BRANCH; ++j) {
                const int n = i + j;
                const float x0 = box[n] - px, x1 = px - box[n + nodes];
                const float y0 = box[n + 2 * nodes] - py, y1 = py - box[n + 3 * nodes];
                const float z0 = box[n + 4 * nodes] - pz, z1 = pz - box[n + 5 * nodes];
                const float xm = x0 > x1 ? x0 : x1, ym = y0 > y1 ? y0 : y1, zm = z0 > z1 ? z0 : z1;
                const float dx = xm > 0.0f ? xm : 0.0f, dy = ym > 0.0f ? ym : 0.0f, dz = zm > 0.0f ? zm : 0.0f;
                union { float value; int bits; } distance;
                distance.value = squared_length(dx, dy, dz);
                reached[j] = distance.bits < far[begin + n];
            }
            for (int j = 0; j < BRANCH && i + j < count; ++j) {
                list[length] = begin + i + j;
                length += reached[j];
            }
        }
        return length;
    };
    // The largest value, and the lowest name of those that have it.
    const auto largest = [](const int* __restrict__ values, const int* __restrict__ names, int count, int& name) {
        int most = -1, lowest = NONE;
        for (int i = 0; i < count; ++i)
            most = values[i] > most ? values[i] : most;
        for (int i = 0; i < count; ++i) {
            const int candidate = values[i] == most ? names[i] : NONE;
            lowest = candidate < lowest ? candidate : lowest;
        }
        name = lowest;
        return most;
    };

    // The pick's own boxes change even where all their points coincide.
    nearest[at] = -1;
    far[at / LEAF] = far[roots + at / TREE] = NONE;
    int leaves[BRANCH + 1];
    const int reached_trees = list_reached(roots, trees, spare);
    for (int t = 0; t < reached_trees; ++t) {
        const int tree = spare[t], first = (tree - roots) * BRANCH;
        const int reached_leaves = list_reached(first, BRANCH, leaves);
        for (int l = 0; l < reached_leaves; ++l) {
            const int leaf = leaves[l], begin = leaf * LEAF;
            for (int i = begin; i < begin + LEAF; ++i) {
                union { float value; int bits; } distance;
                distance.value = squared_length(x[i] - px, y[i] - py, z[i] - pz);
                nearest[i] = distance.bits < nearest[i] ? distance.bits : nearest[i];
            }
            far[leaf] = largest(nearest + begin, order + begin, LEAF, index[leaf]);
        }
        far[tree] = largest(far + first, index + first, BRANCH, index[tree]);
    }
    int next;
    largest(far + roots, index + roots, trees, next);
    return next;
"""
)
def next_farthest(
    pick: wp.int32,
    trees: wp.int32,
    coordinates: wp.array2d(dtype=float),
    numbers: wp.array2d(dtype=wp.int32),
    boxes: wp.array2d(dtype=float),
    farthest: wp.array2d(dtype=wp.int32),
) -> wp.int32:
    """Take a pick into account; what is the farthest then."""
    ...


@wp.func
def first_pick(
    points: wp.array(dtype=wp.vec3),
    start: wp.int64,
    length: wp.int64,
    wanted: wp.int64,
    numbers: wp.array2d(dtype=wp.int32),
) -> wp.int32:
    """The point asked for where that can be chosen, else the first that can."""
    inside = wanted >= wp.int64(0) and wanted < length
    if inside and wp.isfinite(points[start + wp.where(inside, wanted, wp.int64(0))]):
        return wp.int32(wanted)
    return numbers[0, 0]


@wp.kernel
def farthest_points(
    points: wp.array(dtype=wp.vec3),
    starts: wp.array(dtype=wp.int64),
    lengths: wp.array(dtype=wp.int64),
    first: wp.array(dtype=wp.int64),
    begin: wp.int32,
    end: wp.int32,
    coordinates: wp.array2d(dtype=float),
    numbers: wp.array2d(dtype=wp.int32),
    boxes: wp.array2d(dtype=float),
    farthest: wp.array2d(dtype=wp.int32),
    chosen: wp.array2d(dtype=wp.int64),
):
    """One thread for clouds ``begin`` to ``end``.

    Args:
        points: of all clouds.
        starts: of the clouds.
        lengths: of the clouds.
        first: index of the first pick within each cloud, where that can be chosen.
        begin: first cloud.
        end: after the last.
        coordinates: room for those of one cloud; see `workspace` for it and the next three.
        numbers: room for four whole numbers a point: order, position, nearest and a spare one.
        boxes: room for the lower and upper bounds of leaves and trees along x, y and z.
        farthest: room for squared distance and index of their farthest points.
        chosen: result, -1 at first.
    """
    for cloud in range(begin, end):
        start = starts[cloud]
        count = list_valid(points, start, wp.int32(lengths[cloud]), numbers)
        steps = wp.min(count, wp.int32(chosen.shape[1]))
        if steps > 0:
            pick = first_pick(points, start, lengths[cloud], first[cloud], numbers)
            if count > FEW_POINTS and steps > FEW_PICKS:
                sort_along_curve(points, start, count, numbers)
            trees = grow_trees(points, start, count, coordinates, numbers, boxes, farthest)
            chosen[cloud, 0] = wp.int64(pick)
            for step in range(1, steps):
                pick = next_farthest(pick, trees, coordinates, numbers, boxes, farthest)
                chosen[cloud, step] = wp.int64(pick)
