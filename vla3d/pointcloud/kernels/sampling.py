"""Farthest point sampling over buckets of neighbouring points.

Exact, and yet it looks at few points: a bucket whose box is farther from the last pick than all its points are from earlier
picks cannot change, so it is passed over (M. Han et al. 2023, "QuickFPS", section 3). Rounding cannot break this: each
operation of the distance to the box rounds a number that is not larger than its counterpart in the distance to a point of the
bucket, and rounding keeps order, so the one is never larger than the other.
"""

import warp as wp

from vla3d.pointcloud.kernels.snippets import distance_of

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

BUCKET = wp.constant(32)
_LOW = wp.constant(wp.uint64(0xFFFFFFFF))


@wp.func
def squared_length(difference: wp.vec3) -> float:
    return (difference[0] * difference[0] + difference[1] * difference[1]) + difference[2] * difference[2]


@wp.func
def squared_distance_to_box(point: wp.vec3, low: wp.vec3, high: wp.vec3) -> float:
    x = wp.max(wp.max(low[0] - point[0], point[0] - high[0]), 0.0)
    y = wp.max(wp.max(low[1] - point[1], point[1] - high[1]), 0.0)
    z = wp.max(wp.max(low[2] - point[2], point[2] - high[2]), 0.0)
    return squared_length(wp.vec3(x, y, z))


@wp.func
def candidate(distance: float, index: wp.int32) -> wp.uint64:
    """Larger for a larger distance, then for a lower index; never 0, which stands for no candidate."""
    bits = wp.uint64(wp.cast(distance, wp.uint32))
    return (bits << wp.uint64(32)) | (_LOW - wp.uint64(index))


@wp.func
def bucket_begin(start: wp.int32, bucket: wp.int32) -> wp.int32:
    return start + bucket * BUCKET


@wp.func
def first_slot(start: wp.int32, cloud: wp.int32) -> wp.int32:
    """Where the buckets of a cloud lie among those of all: clouds begin anywhere, and yet no two share a slot."""
    return start // BUCKET + cloud


@wp.kernel
def bound_buckets(
    sorted_points: wp.array(dtype=wp.vec3),
    original: wp.array(dtype=wp.int64),
    starts: wp.array(dtype=wp.int64),
    valid: wp.array(dtype=wp.int64),
    box_low: wp.array(dtype=wp.vec3),
    box_high: wp.array(dtype=wp.vec3),
    best: wp.array(dtype=wp.uint64),
):
    """Boxes around the buckets of each cloud, one block a cloud. Nothing is picked yet: every bucket is infinitely far."""
    cloud, lane = wp.tid()
    start = wp.int32(starts[cloud])
    end = start + wp.int32(valid[cloud])
    for bucket in range(lane, (end - start + BUCKET - 1) // BUCKET, wp.block_dim()):
        low = wp.vec3(wp.inf, wp.inf, wp.inf)
        high = wp.vec3(-wp.inf, -wp.inf, -wp.inf)
        lowest = wp.int32(0x7FFFFFFF)
        for i in range(bucket_begin(start, bucket), wp.min(bucket_begin(start, bucket + 1), end)):
            low = wp.min(low, sorted_points[i])
            high = wp.max(high, sorted_points[i])
            lowest = wp.min(lowest, wp.int32(original[i]) - start)
        slot = first_slot(start, cloud) + bucket
        box_low[slot] = low
        box_high[slot] = high
        best[slot] = candidate(wp.inf, lowest)


@wp.func
def visit(
    point: wp.vec3,
    at: wp.int32,
    begin: wp.int32,
    end: wp.int32,
    start: wp.int32,
    sorted_points: wp.array(dtype=wp.vec3),
    original: wp.array(dtype=wp.int64),
    nearest: wp.array(dtype=float),
) -> wp.uint64:
    """Take the pick ``point`` (at sorted position ``at``) into account in one bucket; its best candidate then."""
    best = wp.uint64(0)
    for i in range(begin, end):
        distance = wp.min(nearest[i], squared_length(sorted_points[i] - point))
        if i == at:
            distance = float(-1.0)
        nearest[i] = distance
        if distance >= 0.0:
            best = wp.max(best, candidate(distance, wp.int32(original[i]) - start))
    return best


@wp.kernel
def farthest_points(
    sorted_points: wp.array(dtype=wp.vec3),
    original: wp.array(dtype=wp.int64),
    position: wp.array(dtype=wp.int64),
    starts: wp.array(dtype=wp.int64),
    valid: wp.array(dtype=wp.int64),
    first: wp.array(dtype=wp.int64),
    nearest: wp.array(dtype=float),
    box_low: wp.array(dtype=wp.vec3),
    box_high: wp.array(dtype=wp.vec3),
    best: wp.array(dtype=wp.uint64),
    chosen: wp.array2d(dtype=wp.int64),
):
    """One block a cloud; each of its threads owns every ``block_dim``-th bucket.

    Args:
        sorted_points: of each cloud, neighbours near each other, those that cannot be chosen last.
        original: flat index of each sorted point before sorting.
        position: where each point went.
        starts: of the clouds.
        valid: how many points of each cloud can be chosen.
        first: index of the first pick within each cloud; a point that can be chosen.
        nearest: squared distance of each sorted point to the nearest pick, infinite at first; becomes -1 for a pick.
        box_low: from ``bound_buckets``.
        box_high: from ``bound_buckets``.
        best: best candidate of each bucket, from ``bound_buckets`` at first.
        chosen: result, -1 at first.
    """
    cloud, lane = wp.tid()
    start = wp.int32(starts[cloud])
    end = start + wp.int32(valid[cloud])
    pick = wp.int32(first[cloud])
    for step in range(wp.min(wp.int32(chosen.shape[1]), end - start)):
        at = wp.int32(position[start + pick])
        point = sorted_points[at]
        if lane == 0:
            chosen[cloud, step] = wp.int64(pick)
        overall = wp.uint64(0)
        for bucket in range(lane, (end - start + BUCKET - 1) // BUCKET, wp.block_dim()):
            slot = first_slot(start, cloud) + bucket
            farthest = distance_of(best[slot])
            # The bucket of the pick itself changes even when all its points coincide.
            own = bucket == (at - start) // BUCKET
            if own or squared_distance_to_box(point, box_low[slot], box_high[slot]) < farthest:
                begin = bucket_begin(start, bucket)
                best[slot] = visit(point, at, begin, wp.min(begin + BUCKET, end), start, sorted_points, original, nearest)
            overall = wp.max(overall, best[slot])
        winner = wp.tile_extract(wp.tile_max(wp.tile(overall)), 0)
        pick = wp.int32(_LOW - (winner & _LOW))
