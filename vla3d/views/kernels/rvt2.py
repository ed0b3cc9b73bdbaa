"""Views as the renderer of RVT-2 draws them: fill the z-buffer, then resolve it into images.

Like the kernels in ``splat``, and with the same keys, but depth is cut to thousandths, nothing is culled behind a camera, and
the neighbours of a pixel are compared by depth alone, in a fixed order.
"""

import warp as wp

from vla3d.views.kernels.splat import write_pixels

wp.set_module_options({"fuse_fp": False, "enable_backward": False})


@wp.func_native("""
#ifdef __CUDA_ARCH__
    constexpr int BLOCK = 1;
#else
    constexpr int BLOCK = 256;  // projected together, then drawn one after the other
#endif
    constexpr float LARGEST = 3.402823466e38f, UNITS = 1000.0f, FARTHEST = 4000000.0f;
    const float* __restrict__ camera = cameras.data + 10 * view;
    const float r0 = camera[0], r1 = camera[1], r2 = camera[2];
    const float d0 = camera[3], d1 = camera[4], d2 = camera[5];
    const float f0 = camera[6], f1 = camera[7], f2 = camera[8], eye = camera[9];
    unsigned long long* buffer = (unsigned long long*)keys.data + image * side * side;
    const float size = (float)side;
    int cells[BLOCK];
    union { float value; unsigned bits; } depths[BLOCK];
    for (int start = begin; start < end; start += BLOCK) {
        const int count = end - start < BLOCK ? end - start : BLOCK;
        const float* __restrict__ point = (const float*)points.data + 3 * (base + start);
        for (int i = 0; i < count; ++i) {
            const float x = point[3 * i], y = point[3 * i + 1], z = point[3 * i + 2];
            const float across = ((x * r0 + y * r1) + z * r2) * half + half;
            const float down = ((x * d0 + y * d1) + z * d2) * half + half;
            const float steps = (((x * f0 + y * f1) + z * f2) + eye) * UNITS;
            // False for NaN as well.
            const bool seen = (x <= LARGEST) & (x >= -LARGEST) & (y <= LARGEST) & (y >= -LARGEST) & (z <= LARGEST)
                & (z >= -LARGEST) & (across >= 0.0f) & (across < size) & (down >= 0.0f) & (down < size);
            const int column = seen ? (int)across : 0;
            const int row = seen ? (int)down : 0;
            cells[i] = seen ? row * side + column : -1;
            // What is behind the camera gets depth 0, as of a conversion to unsigned numbers that saturates.
            const float behind = (seen & (steps > 0.0f)) ? steps : 0.0f;
            const int whole = (int)(behind < FARTHEST ? behind : FARTHEST);
            depths[i].value = (float)whole * (1.0f / UNITS);
        }
        for (int i = 0; i < count; ++i) {
            if (cells[i] < 0)
                continue;
            const unsigned long long key = (unsigned long long)depths[i].bits << 32 | (unsigned)(start + i);
            unsigned long long* at = buffer + cells[i];
#ifdef __CUDA_ARCH__
            // Most points are hidden, and a look costs less than an atomic operation.
            if (key < *at)
                atomicMin(at, key);
#else
            const unsigned long long before = *at;
            *at = key < before ? key : before;
#endif
        }
    }
""")
def draw_points(
    points: wp.array(dtype=wp.vec3),
    cameras: wp.array(dtype=float),
    keys: wp.array(dtype=wp.uint64),
    base: wp.int32,
    begin: wp.int32,
    end: wp.int32,
    view: wp.int32,
    image: wp.int32,
    side: wp.int32,
    half: float,
):
    """Take points ``begin`` to ``end`` of the cloud that starts at ``base`` into one image of the z-buffer."""
    ...


@wp.kernel
def fill(
    points: wp.array(dtype=wp.vec3),
    lengths: wp.array(dtype=wp.int64),
    cameras: wp.array(dtype=float),
    size: wp.int32,
    views: wp.int32,
    resolution: wp.int32,
    half: float,
    share: wp.int32,
    keys: wp.array(dtype=wp.uint64),
):
    """Smallest key of each pixel; each thread takes ``share`` points of a cloud.

    Args:
        points: of clouds of ``size`` points, one after the other.
        lengths: real points of each.
        cameras: ten numbers for each view: right, down, forward, and the camera's distance from the cube's centre.
        size: points of a cloud.
        views: how many.
        resolution: image side.
        half: half of it.
        share: points of a thread; 1 on CUDA, all on a CPU.
        keys: result; larger than any key at first.
    """
    cloud, lane = wp.tid()
    begin = lane * share
    end = wp.min(begin + share, wp.int32(lengths[cloud]))
    for view in range(views):
        draw_points(points, cameras, keys, cloud * size, begin, end, view, cloud * views + view, resolution, half)


@wp.func_native("""
    constexpr unsigned long long EMPTY = 0x7FFFFFFFFFFFFFFFull;
    const unsigned long long* __restrict__ buffer = (const unsigned long long*)keys.data + image * side * side;
    unsigned long long* __restrict__ found = (unsigned long long*)index.data + image * side * side + row * side;
    for (int x = begin; x < end; ++x)
        found[x] = EMPTY;
    for (int turn = 0; turn < 5; ++turn) {
        // Left, up, here, down, right.
        const int y = row + (turn == 3) - (turn == 1), shift = (turn == 4) - (turn == 0);
        if (y < 0 || y >= side)
            continue;
        const unsigned least = turn == 2 ? 0u : 1u;
        const int first = begin + shift < 0 ? -shift : begin;
        const int stop = end + shift > side ? side - shift : end;
        const unsigned long long* __restrict__ from = buffer + y * side + shift;
        for (int x = first; x < stop; ++x) {
            const unsigned depth = (unsigned)(from[x] >> 32);
            found[x] = ((depth <= (unsigned)(found[x] >> 32)) & (depth >= least)) ? from[x] : found[x];
        }
    }
""")
def nearest_of_five(
    keys: wp.array(dtype=wp.uint64),
    index: wp.array(dtype=wp.int64),
    image: wp.int32,
    row: wp.int32,
    begin: wp.int32,
    end: wp.int32,
    side: wp.int32,
):
    """Key that each pixel from ``begin`` to ``end`` of a row shows, into ``index``.

    It is the nearest of left, up, the pixel itself, down and right, the last of these when several are equally near. A
    neighbour of depth 0 does not count.
    """
    ...


@wp.kernel
def resolve(
    keys: wp.array(dtype=wp.uint64),
    points: wp.array(dtype=wp.vec3),
    colors: wp.array(dtype=wp.vec3),
    size: wp.int32,
    views: wp.int32,
    resolution: wp.int32,
    share: wp.int32,
    rgb: wp.array(dtype=float),
    depth: wp.array(dtype=float),
    xyz: wp.array(dtype=float),
    index: wp.array(dtype=wp.int64),
):
    """Images of a filled z-buffer; each thread takes ``share`` pixels of an image row.

    Args:
        keys: the z-buffer.
        points: coordinates.
        colors: of the points.
        size: points of a cloud.
        views: how many.
        resolution: image side.
        share: pixels of a thread; 1 on CUDA, a row on a CPU.
        rgb: result, planes ``(cloud, view, channel)``.
        depth: result.
        xyz: result, as ``rgb``.
        index: result.
    """
    image, row, lane = wp.tid()
    begin = lane * share
    end = begin + share
    nearest_of_five(keys, index, image, row, begin, end, resolution)
    write_pixels(points, colors, rgb, depth, xyz, index, (image // views) * size, image, row, begin, end, resolution)
