"""What every way to draw a cloud of points shares: the z-buffer is filled, then resolved into images.

A key of the z-buffer holds the bits of a depth (not negative, so they are ordered as the number is) above the point's index.
The smallest key wins, which does not depend on the order in which points arrive.

Ways differ in how a point falls into a pixel, and in which of the keys around it a pixel shows. The first is a piece of C++
that goes between two others here, the second a function; `fill_kernel` and `resolve_kernel` make kernels of them.

The inner loops are plain C++, one source for both devices: an array access of Warp allows for negative indices, which keeps a
CPU from taking several points at once.
"""

from typing import Any

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

# Before the piece of C++ that projects a point. It gets the point (x, y, z) and the camera's numbers (r0 to r2 right, d0 to d2
# down, f0 to f2 forward, and offset), the image's side and half of it. It leaves the pixel of the point, or -1, in cells[i] and
# its depth in depths[i].value.
_FOR_EACH_POINT = """
#ifdef __CUDA_ARCH__
    constexpr int BLOCK = 1;
#else
    constexpr int BLOCK = 256;  // projected together, then drawn one after the other
#endif
    const float* __restrict__ camera = cameras.data + 10 * view;
    const float r0 = camera[0], r1 = camera[1], r2 = camera[2];
    const float d0 = camera[3], d1 = camera[4], d2 = camera[5];
    const float f0 = camera[6], f1 = camera[7], f2 = camera[8], offset = camera[9];
    unsigned long long* buffer = (unsigned long long*)keys.data + image * side * side;
    int cells[BLOCK];
    union { float value; unsigned bits; } depths[BLOCK];
    for (int start = begin; start < end; start += BLOCK) {
        const int count = end - start < BLOCK ? end - start : BLOCK;
        const float* __restrict__ point = (const float*)points.data + 3 * (base + start);
        for (int i = 0; i < count; ++i) {
            const float x = point[3 * i], y = point[3 * i + 1], z = point[3 * i + 2];
"""
_DRAW = """
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
"""


def fill_kernel(module: str, project: str) -> Any:
    """The kernel that takes clouds into a z-buffer.

    Args:
        module: name of the file that the kernel belongs to.
        project: C++ that finds the pixel and the depth of a point.
    """

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

    # Warp knows a function by its file and its name, which would be the same for all ways.
    draw_points.__module__ = module
    draw_points = wp.func_native(_FOR_EACH_POINT + project + _DRAW)(draw_points)

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
            cameras: ten numbers for each view: right, down, forward, and an offset of its depths.
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

    return wp.kernel(name="fill", module=module)(fill)


@wp.func_native("""
    constexpr unsigned long long EMPTY = 0x7FFFFFFFFFFFFFFFull;
    const int area = side * side;
    const int line = image * area + row * side;
    unsigned long long* __restrict__ found = (unsigned long long*)index.data + line;
    const float* __restrict__ point = (const float*)points.data + 3 * base;
    const float* __restrict__ color = (const float*)colors.data + 3 * base;
    float* __restrict__ x0 = xyz.data + 3 * image * area + row * side;
    float* __restrict__ c0 = rgb.data + 3 * image * area + row * side;
    for (int x = begin; x < end; ++x) {
        const bool empty = found[x] == EMPTY;
        const unsigned at = empty ? 0u : (unsigned)found[x];
        c0[x] = empty ? 0.0f : color[3 * at];
        c0[x + area] = empty ? 0.0f : color[3 * at + 1];
        c0[x + 2 * area] = empty ? 0.0f : color[3 * at + 2];
        x0[x] = empty ? 0.0f : point[3 * at];
        x0[x + area] = empty ? 0.0f : point[3 * at + 1];
        x0[x + 2 * area] = empty ? 0.0f : point[3 * at + 2];
    }
    float* __restrict__ distance = depth.data + line;
    for (int x = begin; x < end; ++x) {
        const bool empty = found[x] == EMPTY;
        union { float value; unsigned bits; } nearest;
        nearest.bits = (unsigned)(found[x] >> 32);
        distance[x] = empty ? -1.0f : nearest.value;
        found[x] = empty ? ~0ull : found[x] & 0xFFFFFFFFull;
    }
""")
def write_pixels(
    points: wp.array(dtype=wp.vec3),
    colors: wp.array(dtype=wp.vec3),
    rgb: wp.array(dtype=float),
    depth: wp.array(dtype=float),
    xyz: wp.array(dtype=float),
    index: wp.array(dtype=wp.int64),
    base: wp.int32,
    image: wp.int32,
    row: wp.int32,
    begin: wp.int32,
    end: wp.int32,
    side: wp.int32,
):
    """Write pixels ``begin`` to ``end`` of one row of all images, from the keys that ``index`` holds."""
    ...


def resolve_kernel(module: str, find_shown: Any) -> Any:
    """The kernel that makes images of a filled z-buffer.

    Args:
        module: name of the file that the kernel belongs to.
        find_shown: Warp function that finds the keys which some pixels of a row show; see ``splat.nearest_in_disc``.
    """

    def resolve(
        keys: wp.array(dtype=wp.uint64),
        points: wp.array(dtype=wp.vec3),
        colors: wp.array(dtype=wp.vec3),
        size: wp.int32,
        views: wp.int32,
        resolution: wp.int32,
        squared_radius: wp.int32,
        reach: wp.int32,
        share: wp.int32,
        rgb: wp.array(dtype=float),
        depth: wp.array(dtype=float),
        xyz: wp.array(dtype=float),
        index: wp.array(dtype=wp.int64),
    ):
        """Images of a filled z-buffer; each thread takes ``share`` pixels of an image row.

        Equal to drawing each point over a disc of pixels: those are the pixels that find the point in a disc around them.

        Args:
            keys: the z-buffer.
            points: coordinates.
            colors: of the points.
            size: points of a cloud.
            views: how many.
            resolution: image side.
            squared_radius: of the disc, in pixels.
            reach: largest whole number whose square is not larger.
            share: pixels of a thread; 1 on CUDA, a row on a CPU.
            rgb: result, planes ``(cloud, view, channel)``.
            depth: result.
            xyz: result, as ``rgb``.
            index: result.
        """
        image, row, lane = wp.tid()
        base = (image // views) * size
        begin = lane * share
        end = begin + share
        find_shown(keys, index, image, row, begin, end, resolution, squared_radius, reach)
        write_pixels(points, colors, rgb, depth, xyz, index, base, image, row, begin, end, resolution)

    return wp.kernel(name="resolve", module=module)(resolve)
