"""Views as the renderer of RVT-2 draws them: fill the z-buffer, then resolve it into images.

Like the kernels in ``splat``, and with the same keys, but depth is cut to thousandths, nothing is culled behind a camera, and
the neighbours of a pixel are compared by depth alone, in a fixed order.
"""

import warp as wp

from vla3d.views.kernels.z_buffer import fill_kernel, resolve_kernel

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

_PROJECT = """
            constexpr float LARGEST = 3.402823466e38f, UNITS = 1000.0f, FARTHEST = 4000000.0f;
            const float size = (float)side;
            const float across = ((x * r0 + y * r1) + z * r2) * half + half;
            const float down = ((x * d0 + y * d1) + z * d2) * half + half;
            const float steps = (((x * f0 + y * f1) + z * f2) + offset) * UNITS;
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
"""
fill = fill_kernel(__name__, _PROJECT)


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
    squared_radius: wp.int32,
    reach: wp.int32,
):
    """Key that each pixel from ``begin`` to ``end`` of a row shows, into ``index``.

    It is the nearest of left, up, the pixel itself, down and right, the last of these when several are equally near. A
    neighbour of depth 0 does not count. The radius of this disc is always one pixel.
    """
    ...


resolve = resolve_kernel(__name__, nearest_of_five)
