"""Z-buffered point splatting: fill the z-buffer, resolve it into images, and bring gradients of images back to points.

Keys and loops are those of ``z_buffer``.
"""

import warp as wp

from vla3d.views.kernels.z_buffer import fill_kernel, resolve_kernel

wp.set_module_options({"fuse_fp": False, "enable_backward": False})


@wp.struct
class Camera:
    right: wp.vec3
    down: wp.vec3
    forward: wp.vec3
    near: float


@wp.func
def camera_of(cameras: wp.array(dtype=float), view: wp.int32) -> Camera:
    """Ten numbers for each view: right, down, forward, near."""
    camera = Camera()
    at = view * 10
    camera.right = wp.vec3(cameras[at], cameras[at + 1], cameras[at + 2])
    camera.down = wp.vec3(cameras[at + 3], cameras[at + 4], cameras[at + 5])
    camera.forward = wp.vec3(cameras[at + 6], cameras[at + 7], cameras[at + 8])
    camera.near = cameras[at + 9]
    return camera


@wp.func
def along(point: wp.vec3, axis: wp.vec3) -> float:
    return (point[0] * axis[0] + point[1] * axis[1]) + point[2] * axis[2]


@wp.func
def in_cube(point: wp.vec3) -> bool:
    """False for NaN as well."""
    return wp.abs(point[0]) <= 1.0 and wp.abs(point[1]) <= 1.0 and wp.abs(point[2]) <= 1.0


@wp.func
def pixel(coordinate: float, half: float, last: wp.int32) -> wp.int32:
    """Pixel of a coordinate in [-1, 1] along an image axis; it is not negative, so cutting it off rounds it down."""
    return wp.min(wp.int32((coordinate + 1.0) * half), last)


@wp.func
def cell_of(point: wp.vec3, camera: Camera, resolution: wp.int32, half: float) -> wp.int32:
    """Flat pixel of a point in the cube; -1 outside the image, which the cube's corners are in an oblique view."""
    right = along(point, camera.right)
    down = along(point, camera.down)
    if wp.abs(right) <= 1.0 and wp.abs(down) <= 1.0:
        return pixel(down, half, resolution - 1) * resolution + pixel(right, half, resolution - 1)
    return wp.int32(-1)


_PROJECT = """
            const float right = (x * r0 + y * r1) + z * r2;
            const float down = (x * d0 + y * d1) + z * d2;
            const float depth = ((x * f0 + y * f1) + z * f2) + offset;
            // False for NaN as well. The corners of the cube reach beyond the image of an oblique view.
            const bool seen = (x <= 1.0f) & (x >= -1.0f) & (y <= 1.0f) & (y >= -1.0f) & (z <= 1.0f) & (z >= -1.0f)
                & (right <= 1.0f) & (right >= -1.0f) & (down <= 1.0f) & (down >= -1.0f);
            const int last = side - 1;
            const int column = seen ? (int)((right + 1.0f) * half) : 0;
            const int row = seen ? (int)((down + 1.0f) * half) : 0;
            cells[i] = seen ? (row < last ? row : last) * side + (column < last ? column : last) : -1;
            // A point on the near plane may be rounded to a hair before it.
            depths[i].value = depth > 0.0f ? depth : 0.0f;
"""
fill = fill_kernel(__name__, _PROJECT)


@wp.func_native("""
    constexpr unsigned long long EMPTY = 0x7FFFFFFFFFFFFFFFull;
    const int area = side * side;
    const int line = image * area + row * side;
    const unsigned long long* __restrict__ buffer = (const unsigned long long*)keys.data + image * area;
    unsigned long long* __restrict__ found = (unsigned long long*)index.data + line;
    for (int x = begin; x < end; ++x)
        found[x] = EMPTY;
    for (int y = row > reach ? row - reach : 0; y <= row + reach && y < side; ++y) {
        const int rest = squared_radius - (y - row) * (y - row);
        int width = reach;
        while (width * width > rest)
            --width;
        for (int shift = -width; shift <= width; ++shift) {
            const int first = begin + shift < 0 ? -shift : begin;
            const int stop = end + shift > side ? side - shift : end;
            const unsigned long long* __restrict__ from = buffer + y * side + shift;
            for (int x = first; x < stop; ++x)
                found[x] = from[x] < found[x] ? from[x] : found[x];
        }
    }
""")
def nearest_in_disc(
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
    """Smallest key around each pixel from ``begin`` to ``end`` of a row, into ``index``."""
    ...


resolve = resolve_kernel(__name__, nearest_in_disc)


@wp.kernel
def pull_back(
    image_gradient: wp.array(dtype=float),
    depth_gradient: wp.array(dtype=float),
    points: wp.array(dtype=wp.vec3),
    index: wp.array(dtype=wp.int64),
    cameras: wp.array(dtype=float),
    size: wp.int32,
    views: wp.int32,
    resolution: wp.int32,
    half: float,
    squared_radius: wp.int32,
    reach: wp.int32,
    with_depth: wp.int32,
    gradient: wp.array(dtype=wp.vec3),
):
    """Sum of the gradients of the pixels that show a point, one thread a point: the form for CUDA.

    A point is shown only within the disc around its own pixel, so it looks there for itself: always in the order of views, rows
    and columns, and no two threads write to one place.

    Args:
        image_gradient: of three channels, planes ``(cloud, view, channel)``.
        depth_gradient: of the depth images; read when ``with_depth`` is not 0.
        points: coordinates.
        index: which point each pixel shows.
        cameras: ten numbers for each view.
        size: points of a cloud.
        views: how many.
        resolution: image side.
        half: half of it.
        squared_radius: of the disc, in pixels.
        reach: largest whole number whose square is not larger.
        with_depth: whether depth has a gradient; it runs along the viewing direction.
        gradient: result.
    """
    cloud, i = wp.tid()
    area = resolution * resolution
    point = points[cloud * size + i]
    total = wp.vec3(0.0, 0.0, 0.0)
    if in_cube(point):
        for view in range(views):
            camera = camera_of(cameras, view)
            image = cloud * views + view
            cell = cell_of(point, camera, resolution, half)
            if cell >= 0:
                row = cell // resolution
                column = cell - row * resolution
                for y in range(wp.max(row - reach, 0), wp.min(row + reach + 1, resolution)):
                    rest = squared_radius - (y - row) * (y - row)
                    for x in range(wp.max(column - reach, 0), wp.min(column + reach + 1, resolution)):
                        at = y * resolution + x
                        if (x - column) * (x - column) <= rest and index[image * area + at] == wp.int64(i):
                            plane = image * 3 * area + at
                            part = wp.vec3(
                                image_gradient[plane], image_gradient[plane + area], image_gradient[plane + 2 * area]
                            )
                            if with_depth != 0:
                                part = part + depth_gradient[image * area + at] * camera.forward
                            total = total + part
    gradient[cloud * size + i] = total


@wp.kernel
def push_back(
    image_gradient: wp.array(dtype=float),
    depth_gradient: wp.array(dtype=float),
    index: wp.array(dtype=wp.int64),
    cameras: wp.array(dtype=float),
    size: wp.int32,
    views: wp.int32,
    resolution: wp.int32,
    with_depth: wp.int32,
    gradient: wp.array(dtype=wp.vec3),
):
    """What ``pull_back`` computes, in the same order, by one thread a cloud that walks over the pixels: the form for a CPU.

    Args:
        image_gradient: see ``pull_back``, as the others.
        depth_gradient: of the depth images.
        index: which point each pixel shows.
        cameras: ten numbers for each view.
        size: points of a cloud.
        views: how many.
        resolution: image side.
        with_depth: whether depth has a gradient.
        gradient: result, 0 at first.
    """
    cloud = wp.tid()
    area = resolution * resolution
    for view in range(views):
        image = cloud * views + view
        forward = camera_of(cameras, view).forward
        for cell in range(area):
            i = wp.int32(index[image * area + cell])
            if i >= 0:
                plane = image * 3 * area + cell
                part = wp.vec3(image_gradient[plane], image_gradient[plane + area], image_gradient[plane + 2 * area])
                if with_depth != 0:
                    part = part + depth_gradient[image * area + cell] * forward
                gradient[cloud * size + i] = gradient[cloud * size + i] + part
