"""Scoring all voxels of the cube without ever storing them.

Scores are compared as whole numbers of the same order as the floats: a loop over those runs on all lanes of a CPU, one over
floats does not. Two zeros of different sign do not occur: a sum that begins with +0 is never -0.
"""

import warp as wp

from vla3d.views.kernels.splat import along

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

LEAST = wp.constant(wp.int32(-2139095041))  # minus infinity, as ``ordered`` gives it
_LOW = wp.constant(wp.int64(0xFFFFFFFF))
_HIGH = wp.constant(wp.int64(0x100000000))


@wp.func
def ordered(value: float) -> wp.int32:
    bits = wp.cast(value, wp.int32)
    return bits ^ ((bits >> 31) & wp.int32(0x7FFFFFFF))


@wp.func
def unordered(number: wp.int32) -> float:
    return wp.cast(number ^ ((number >> 31) & wp.int32(0x7FFFFFFF)), wp.float32)


@wp.func
def center(cell: wp.int32, grid: wp.int32) -> float:
    return float(2 * cell + 1) / float(grid) - 1.0


@wp.func
def low_pixel(position: float) -> wp.int32:
    return wp.int32(wp.floor(position))


@wp.func
def position_of(pixel: float, resolution: wp.int32) -> float:
    """Place of a pixel coordinate among the pixel centres, held between the outermost ones."""
    return wp.clamp(pixel - 0.5, 0.0, float(resolution - 1))


@wp.func
def between(first: float, second: float, share: float) -> float:
    return first * (1.0 - share) + second * share


@wp.func
def near(x: wp.int32, y: wp.int32, z: wp.int32, voxel: wp.int32, grid: wp.int32, radius: wp.int32) -> bool:
    """Whether a place is at most ``radius`` voxels from a chosen one along every axis; -1 stands for any place on an axis."""
    return (
        voxel >= 0
        and (x < 0 or wp.abs(x - voxel // (grid * grid)) <= radius)
        and (y < 0 or wp.abs(y - (voxel // grid) % grid) <= radius)
        and (z < 0 or wp.abs(z - voxel % grid) <= radius)
    )


@wp.func
def suppressed(
    x: wp.int32,
    y: wp.int32,
    z: wp.int32,
    chosen: wp.array2d(dtype=wp.int64),
    sample: wp.int32,
    grid: wp.int32,
    radius: wp.int32,
) -> bool:
    """Whether a place is near any of the chosen voxels."""
    hit = bool(False)
    for k in range(chosen.shape[1]):
        hit = hit or near(x, y, z, wp.int32(chosen[sample, k]), grid, radius)
    return hit


@wp.kernel
def plane_maps(
    heat: wp.array(dtype=float),
    layout: wp.array2d(dtype=wp.int32),
    views: wp.int32,
    side: wp.int32,
    grid: wp.int32,
    half: float,
    planes: wp.array4d(dtype=float),
):
    """Heat of axis-aligned views summed onto the planes xy, xz and yz at voxel centres, one thread a row of a plane.

    Args:
        heat: of all samples and views.
        layout: for each view its plane, whether its rows run along the plane's second axis, and whether its image is mirrored
            along the plane's first and second axis.
        views: how many.
        side: image side.
        grid: voxels per edge.
        half: half the image side.
        planes: result.
    """
    plane, sample, i = wp.tid()
    for j in range(grid):
        planes[plane, sample, i, j] = 0.0
    for view in range(views):
        if layout[view, 0] == plane:
            # Where pixel (i, j) of the plane lies in the image: ``corner + i * down + j * along``.
            across = layout[view, 1] != 0
            down = wp.where(across, 1, side)
            along = wp.where(across, side, 1)
            corner = (sample * views + view) * side * side
            if layout[view, 2] != 0:
                corner += (side - 1) * down
                down = -down
            if layout[view, 3] != 0:
                corner += (side - 1) * along
                along = -along
            if grid == side:
                for j in range(grid):
                    planes[plane, sample, i, j] += heat[corner + i * down + j * along]
            else:
                row = position_of((center(i, grid) + 1.0) * half, side)
                upper = corner + low_pixel(row) * down
                lower = corner + wp.min(low_pixel(row) + 1, side - 1) * down
                share = row - float(low_pixel(row))
                for j in range(grid):
                    column = position_of((center(j, grid) + 1.0) * half, side)
                    left = low_pixel(column) * along
                    right = wp.min(low_pixel(column) + 1, side - 1) * along
                    before = between(heat[upper + left], heat[lower + left], share)
                    after = between(heat[upper + right], heat[lower + right], share)
                    planes[plane, sample, i, j] += between(before, after, column - float(low_pixel(column)))


# Plain C++: an array access of Warp allows for negative indices, which keeps a CPU from taking several numbers at once.
@wp.func_native("""
    for (int row = 0; row < rows; ++row) {
        const float added = planes.data[xy + row];
        const float* __restrict__ first = planes.data + xz;
        const float* __restrict__ second = planes.data + yz + row * grid;
        for (int i = 0; i < count; ++i) {
            union { float value; int bits; } sum;
            sum.value = (added + first[i]) + second[i];
            const int number = sum.bits ^ ((sum.bits >> 31) & 0x7FFFFFFF);
            best = number > best ? number : best;
        }
    }
    return best;
""")
def largest_sum(
    planes: wp.array(dtype=float),
    xy: wp.int32,
    xz: wp.int32,
    yz: wp.int32,
    grid: wp.int32,
    rows: wp.int32,
    count: wp.int32,
    best: wp.int32,
) -> wp.int32:
    """The larger one of ``best`` and every ``ordered((planes[xy + y] + planes[xz + z]) + planes[yz + y * grid + z])``."""
    ...


@wp.kernel
def slab_maxima(
    planes: wp.array(dtype=float),
    samples: wp.int32,
    grid: wp.int32,
    chosen: wp.array2d(dtype=wp.int64),
    radius: wp.int32,
    share: wp.int32,
    maxima: wp.array3d(dtype=float),
):
    """Largest ``xy(x, y) + xz(x, z) + yz(y, z)`` over ``y`` and a share of ``z``: a max-plus matrix product.

    Args:
        planes: from ``plane_maps``.
        samples: of the batch.
        grid: voxels per edge.
        chosen: voxels whose neighbourhood is left out, -1 for none.
        radius: of the neighbourhood.
        share: values of ``z`` of a thread; 1 on CUDA, all on a CPU.
        maxima: result, for each sample, ``x`` and share.
    """
    sample, x, lane = wp.tid()
    area = grid * grid
    xy = sample * area + x * grid
    xz = samples * area + xy
    begin = lane * share
    end = wp.min(begin + share, grid)
    best = wp.int32(LEAST)
    yz = (2 * samples + sample) * area
    if not suppressed(x, wp.int32(-1), wp.int32(-1), chosen, sample, grid, radius):
        best = largest_sum(planes, xy, xz + begin, yz + begin, grid, grid, end - begin, best)
    else:
        for y in range(grid):
            if not suppressed(x, y, wp.int32(-1), chosen, sample, grid, radius):
                best = largest_sum(planes, xy + y, xz + begin, yz + y * grid + begin, grid, 1, end - begin, best)
            else:
                for z in range(begin, end):
                    if not suppressed(x, y, z, chosen, sample, grid, radius):
                        best = wp.max(best, ordered((planes[xy + y] + planes[xz + z]) + planes[yz + y * grid + z]))
    maxima[sample, x, lane] = unordered(best)


@wp.func
def heat_at(
    heatmaps: wp.array4d(dtype=float), sample: wp.int32, view: wp.int32, x: float, y: float, lowest: wp.array2d(dtype=float)
) -> float:
    """Bilinear between pixel centres; the view's lowest heat where it does not show the pixel."""
    side = heatmaps.shape[2]
    if not (x >= 0.0 and x <= float(side) and y >= 0.0 and y <= float(side)):
        return lowest[sample, view]
    column = position_of(x, side)
    row = position_of(y, side)
    x0 = low_pixel(column)
    x1 = wp.min(x0 + 1, side - 1)
    y0 = low_pixel(row)
    y1 = wp.min(y0 + 1, side - 1)
    share = row - float(y0)
    left = between(heatmaps[sample, view, y0, x0], heatmaps[sample, view, y1, x0], share)
    right = between(heatmaps[sample, view, y0, x1], heatmaps[sample, view, y1, x1], share)
    return between(left, right, column - float(x0))


@wp.kernel
def best_keys(
    heatmaps: wp.array4d(dtype=float),
    lowest: wp.array2d(dtype=float),
    axes: wp.array2d(dtype=wp.vec3),
    grid: wp.int32,
    half: float,
    chosen: wp.array2d(dtype=wp.int64),
    radius: wp.int32,
    lanes: wp.int32,
    keys: wp.array2d(dtype=wp.int64),
):
    """Largest key of every ``lanes``-th voxel: its score, ordered as a whole number, above 2^32 - 1 less its number.

    Args:
        heatmaps: of all views.
        lowest: lowest heat of each view.
        axes: right, down and forward of each view.
        grid: voxels per edge.
        half: half the image side.
        chosen: voxels whose neighbourhood is left out, -1 for none.
        radius: of the neighbourhood.
        lanes: how many threads share a sample.
        keys: result; that of voxel 0 at minus infinity where all are left out.
    """
    sample, lane = wp.tid()
    views = heatmaps.shape[1]
    best = wp.int64(LEAST) * _HIGH + _LOW
    for voxel in range(lane, grid * grid * grid, lanes):
        x = voxel // (grid * grid)
        y = (voxel // grid) % grid
        z = voxel % grid
        if not suppressed(x, y, z, chosen, sample, grid, radius):
            point = wp.vec3(center(x, grid), center(y, grid), center(z, grid))
            total = float(0.0)
            for view in range(views):
                column = (along(point, axes[view, 0]) + 1.0) * half
                row = (along(point, axes[view, 1]) + 1.0) * half
                total += heat_at(heatmaps, sample, view, column, row, lowest)
            score = ordered(total / float(views))
            best = wp.max(best, wp.int64(score) * _HIGH + (_LOW - wp.int64(voxel)))
    keys[sample, lane] = best
