"""Voxels by one thread, one cloud after the other: the form for a CPU.

Nothing is sorted. Points are told apart by more and more of the bits of their voxel's key, from the highest on: a bitmap says
which values of these bits occur, and counting the ones below a value gives its number among them. With 64 bits for each point,
few rounds are needed, for most clouds one.

The loops are plain C++, one source for both devices: an array access of Warp allows for negative indices, which keeps a CPU
from taking several points at once.
"""

import warp as wp

from vla3d.pointcloud.kernels.serial_gathering import add_up
from vla3d.pointcloud.kernels.snippets import VALID

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

WIDTH = 4  # of the workspace: sums along x, y and z, and how many points
COUNT = wp.constant(3)


@wp.func_native(
    VALID
    + """
    constexpr double BEYOND = 2305843009213693952.0;  // 2^61, as in the reference
    const auto place = [=](float coordinate) {
        const double at = floor((double)coordinate / size);
        const double bounded = at > -BEYOND ? at : -BEYOND;
        return bounded < BEYOND ? bounded : BEYOND;
    };
    const long long length = end - start;
    const float* __restrict__ point = points.data + 3 * start;
    long long* __restrict__ key = (long long*)row.data + start;
    double low[3] = {BEYOND, BEYOND, BEYOND}, high[3] = {-BEYOND, -BEYOND, -BEYOND};
    for (long long i = 0; i < length; ++i) {
        const bool use = valid(point[3 * i], point[3 * i + 1], point[3 * i + 2]);
        for (int axis = 0; axis < 3; ++axis) {
            const double at = place(point[3 * i + axis]);
            low[axis] = (use & (at < low[axis])) ? at : low[axis];
            high[axis] = (use & (at > high[axis])) ? at : high[axis];
        }
    }
    if (low[0] > high[0])
        return 0;  // not one valid point
    long long extent[3], widest = 0;
    for (int axis = 0; axis < 3; ++axis) {
        extent[axis] = (long long)high[axis] - (long long)low[axis] + 1;
        widest = extent[axis] > widest ? extent[axis] : widest;
    }
    if (widest > most)
        return -widest;
    for (long long i = 0; i < length; ++i) {
        const bool use = valid(point[3 * i], point[3 * i + 1], point[3 * i + 2]);
        int at[3];
        for (int axis = 0; axis < 3; ++axis)
            at[axis] = (int)(use ? place(point[3 * i + axis]) - low[axis] : 0.0);
        key[i] = use ? (at[0] * extent[1] + at[1]) * extent[2] + at[2] : -1;
    }
    long long bits = 0;
    for (unsigned long long last = (unsigned long long)extent[0] * extent[1] * extent[2] - 1; last > 0; last >>= 1)
        ++bits;
    return bits;
"""
)
def find_keys(
    points: wp.array2d(dtype=float),
    start: wp.int64,
    end: wp.int64,
    size: wp.float64,
    most: wp.int64,
    row: wp.array(dtype=wp.int64),
) -> wp.int64:
    """Keys of the voxels of a cloud's points, which rise by x, then y, then z; -1 for invalid points.

    Returns:
        Bits of the keys. Where there are more than ``most`` voxels along an axis, how many there are, below 0.
    """
    ...


@wp.func_native(
    f"""
    constexpr long long WIDTH = {WIDTH};
    """
    """
    typedef unsigned long long Word;
    const auto ones = [](Word bits) {
        bits -= bits >> 1 & 0x5555555555555555;
        bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
        bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F;
        return (int)(bits * 0x0101010101010101 >> 56);
    };
    const long long length = end - start;
    long long* __restrict__ key = (long long*)row.data + start;
    Word* __restrict__ bitmap = (Word*)(workspace.data + WIDTH * start);  // as many words as points
    int* __restrict__ below = (int*)(bitmap + length);  // how many ones there are below each word
    int* __restrict__ number = below + length;  // of each point, by the bits looked at so far
    for (long long i = 0; i < length; ++i)
        number[i] = 0;
    long long numbers = 1;
    do {
        int more = 0;
        while (more < bits && numbers << (more + 1) <= length * 64)
            ++more;
        bits -= more;
        const long long words = ((numbers << more) + 63) / 64, mask = (1ll << more) - 1;
        const auto bit_of = [=](long long i) { return (Word)number[i] << more | (Word)(key[i] >> bits & mask); };
        for (long long i = 0; i < words; ++i)
            bitmap[i] = 0;
        for (long long i = 0; i < length; ++i)
            bitmap[bit_of(i) / 64] |= (Word)(key[i] >= 0) << bit_of(i) % 64;
        numbers = 0;
        for (long long i = 0; i < words; ++i) {
            below[i] = (int)numbers;
            numbers += ones(bitmap[i]);
        }
        for (long long i = 0; i < length; ++i) {
            const Word bit = bit_of(i);
            number[i] = key[i] < 0 ? 0 : below[bit / 64] + ones(bitmap[bit / 64] & (((Word)1 << bit % 64) - 1));
        }
    } while (bits > 0);
    for (long long i = 0; i < length; ++i)
        key[i] = key[i] < 0 ? -1 : first + number[i];
    return numbers;
"""
)
def number_keys(
    start: wp.int64,
    end: wp.int64,
    bits: wp.int64,
    first: wp.int64,
    workspace: wp.array2d(dtype=wp.float64),
    row: wp.array(dtype=wp.int64),
) -> wp.int64:
    """Replace the keys of a cloud by their numbers, counted from ``first``; how many different ones there are."""
    ...


@wp.kernel
def downsample(
    points: wp.array2d(dtype=float),
    starts: wp.array(dtype=wp.int64),
    lengths: wp.array(dtype=wp.int64),
    size: wp.float64,
    most: wp.int64,
    packed: wp.int32,
    begin: wp.int32,
    end: wp.int32,
    workspace: wp.array2d(dtype=wp.float64),
    row: wp.array(dtype=wp.int64),
    voxels: wp.array(dtype=wp.int64),
    count: wp.array(dtype=wp.int64),
    means: wp.array2d(dtype=float),
):
    """One thread for clouds ``begin`` to ``end``.

    Args:
        points: of all clouds.
        starts: of the clouds.
        lengths: of the clouds.
        size: edge of a voxel.
        most: voxels that a cloud may have along an axis.
        packed: 1 where the voxels of a cloud follow those of the one before; else they begin where its points do.
        begin: first cloud.
        end: after the last.
        workspace: ``WIDTH`` numbers a point.
        row: result, row of each point's voxel, -1 at first.
        voxels: result, how many each cloud has; below 0 where ``find_keys`` says so.
        count: result, points of each voxel, 0 at first.
        means: result, mean point of each voxel, 0 at first.
    """
    done = wp.int64(0)
    found = wp.int64(0)
    for cloud in range(begin, end):
        # A traced program does not check borders. Where they fall, clouds must not write over each other.
        start = wp.max(starts[cloud], done)
        done = wp.clamp(starts[cloud] + lengths[cloud], start, wp.int64(points.shape[0]))
        first = wp.where(packed == 1, found, start)
        some = find_keys(points, start, done, size, most, row)
        if some >= wp.int64(0):
            some = number_keys(start, done, some, first, workspace, row)
        voxels[cloud] = some
        if some > wp.int64(0):
            add_up(points, row, start, done, first, some, 1, workspace, means)
            for i in range(wp.int32(some)):
                voxel = first + wp.int64(i)
                count[voxel] = wp.int64(workspace[voxel, COUNT])
            found += some
