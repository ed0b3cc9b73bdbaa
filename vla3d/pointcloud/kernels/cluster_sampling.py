"""Farthest point sampling with a cloud in the registers of one thread-block cluster; CUDA, compute capability 9.0 and later.

Every point is compared with every pick, as in the textbook. What costs time is the chain of picks, so a step has a single
cluster barrier: each warp writes its best candidate into the shared memory of every block of the cluster, and after the barrier
each warp finds the winner among all candidates by itself. Two buffers take turns: whoever writes to one of them again has
passed the barrier of the step between, at which nobody still read it.

Compiled for compute capability 9.0 (tests/kernels/test_kernels_ahead_of_time.py), and its algorithm run by fibers of a CPU in
place of the threads of a cluster (tests/kernels/test_kernels_cluster.py); never run on a GPU. `vla3d.kernels.clusters` has the
switch.
"""

from typing import Any, NamedTuple

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

# What differs between a cluster and the fibers that stand in for one in the tests.
_CUDA = """
    __shared__ uint4 keys_and_points[2][CANDIDATES];
    __shared__ unsigned indices[2][CANDIDATES];
    const unsigned thread = threadIdx.x;
    unsigned rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    auto cluster_barrier = []() {
        asm volatile("barrier.cluster.arrive.release;" ::: "memory");
        asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
    };
    auto in_block = [](const void* here, unsigned other) {
        unsigned local = (unsigned)__cvta_generic_to_shared(here), remote;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(other));
        return remote;
    };
    auto send = [](unsigned to, unsigned value) {
        asm volatile("st.shared::cluster.u32 [%0], %1;" :: "r"(to), "r"(value) : "memory");
    };
    auto send_four = [](unsigned to, unsigned a, unsigned b, unsigned c, unsigned d) {
        asm volatile("st.shared::cluster.v4.u32 [%0], {%1, %2, %3, %4};" :: "r"(to), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
    };
"""

# Point i of the cloud belongs to slot i / STRIDE of thread i % STRIDE of the cluster. A candidate is a key (0 for none, else
# the bits of its squared distance plus one: these are ordered as the distances are), an index and the point itself.
ALGORITHM = """
    const unsigned lane = thread % 32, place = rank * (THREADS / 32) + thread / 32, own = rank * THREADS + thread, ALL = ~0u;
    float x[SLOTS], y[SLOTS], z[SLOTS], nearest[SLOTS];
    #pragma unroll
    for (unsigned slot = 0; slot < SLOTS; ++slot) {
        const unsigned i = own + slot * STRIDE;
        const bool exists = i < length;
        x[slot] = exists ? cloud[3 * i] : 0.0f;
        y[slot] = exists ? cloud[3 * i + 1] : 0.0f;
        z[slot] = exists ? cloud[3 * i + 2] : 0.0f;
        const bool finite = fabsf(x[slot]) <= MOST && fabsf(y[slot]) <= MOST && fabsf(z[slot]) <= MOST;
        nearest[slot] = exists && finite ? 2.0f * MOST : -1.0f;  // -1, below every distance, is what cannot be chosen
    }
    unsigned pick = first;
    float px = cloud[3 * pick], py = cloud[3 * pick + 1], pz = cloud[3 * pick + 2];
    cluster_barrier();  // no block may write to one that has not begun
    for (unsigned step = 0; ; ++step) {
        if (own == 0) chosen[step] = pick;
        if (step + 1 == steps) break;

        const unsigned picked_slot = pick % STRIDE == own ? pick / STRIDE : ALL;
        float farthest = -1.0f;
        unsigned farthest_slot = 0;
        #pragma unroll
        for (unsigned slot = 0; slot < SLOTS; ++slot) {
            const float dx = __fsub_rn(x[slot], px), dy = __fsub_rn(y[slot], py), dz = __fsub_rn(z[slot], pz);
            const float distance = __fadd_rn(__fadd_rn(__fmul_rn(dx, dx), __fmul_rn(dy, dy)), __fmul_rn(dz, dz));
            nearest[slot] = slot == picked_slot ? -1.0f : fminf(nearest[slot], distance);
            if (nearest[slot] > farthest) { farthest = nearest[slot]; farthest_slot = slot; }
        }

        const unsigned key = farthest < 0.0f ? 0u : __float_as_uint(farthest) + 1u;
        const unsigned warp_key = __reduce_max_sync(ALL, key);
        const unsigned warp_index = __reduce_min_sync(ALL, key == warp_key ? own + farthest_slot * STRIDE : ALL);
        const unsigned buffer = step % 2;
        if (lane < CLUSTER) {
            unsigned cx = 0, cy = 0, cz = 0;
            if (warp_key > 0) {
                cx = __float_as_uint(cloud[3 * warp_index]);
                cy = __float_as_uint(cloud[3 * warp_index + 1]);
                cz = __float_as_uint(cloud[3 * warp_index + 2]);
            }
            send_four(in_block(&keys_and_points[buffer][place], lane), warp_key, cx, cy, cz);
            send(in_block(&indices[buffer][place], lane), warp_index);
        }
        cluster_barrier();

        unsigned best_key = 0, best_index = ALL, best_place = 0;
        #pragma unroll
        for (unsigned other = lane; other < CANDIDATES; other += 32) {
            const unsigned other_key = keys_and_points[buffer][other].x, other_index = indices[buffer][other];
            if (other_key > best_key || (other_key == best_key && other_index < best_index)) {
                best_key = other_key;
                best_index = other_index;
                best_place = other;
            }
        }
        const unsigned winner_key = __reduce_max_sync(ALL, best_key);
        pick = __reduce_min_sync(ALL, best_key == winner_key ? best_index : ALL);
        const unsigned finders = __ballot_sync(ALL, best_key == winner_key && best_index == pick);
        const uint4 winner = keys_and_points[buffer][__shfl_sync(ALL, best_place, __ffs(finders) - 1)];
        px = __uint_as_float(winner.y);
        py = __uint_as_float(winner.z);
        pz = __uint_as_float(winner.w);
    }
"""

# On a CPU one thread does it all, without memory of its own: slow, but the same picks, so that the way here can be tested.
_SERIAL = """
    if (block % CLUSTER != 0) return;
    for (unsigned step = 0; step < steps; ++step) {
        float farthest = -1.0f;
        unsigned pick = first;
        for (unsigned i = 0; i < length && step > 0; ++i) {
            const float* p = cloud + 3 * i;
            bool free = fabsf(p[0]) <= MOST && fabsf(p[1]) <= MOST && fabsf(p[2]) <= MOST;
            float nearest = 2.0f * MOST;
            for (unsigned before = 0; before < step && free; ++before) {
                const float* q = cloud + 3 * chosen[before];
                const float dx = p[0] - q[0], dy = p[1] - q[1], dz = p[2] - q[2];
                const float distance = (dx * dx + dy * dy) + dz * dz;
                nearest = distance < nearest ? distance : nearest;
                free = chosen[before] != i;
            }
            if (free && nearest > farthest) { farthest = nearest; pick = i; }
        }
        chosen[step] = pick;
    }
"""


class ClusterShape(NamedTuple):
    """How a cloud lies in a cluster.

    Attributes:
        blocks: of the cluster; 8 is the most that every device of compute capability 9.0 takes.
        threads: of a block.
        slots: points that each thread holds; four registers each.
    """

    blocks: int
    threads: int
    slots: int

    @property
    def capacity(self) -> int:
        """Points of the largest cloud that fits."""
        return self.blocks * self.threads * self.slots


def constants(shape: ClusterShape) -> str:
    """What the algorithm's text takes for granted."""
    return f"""
    constexpr unsigned CLUSTER = {shape.blocks}, THREADS = {shape.threads}, SLOTS = {shape.slots};
    constexpr unsigned STRIDE = CLUSTER * THREADS, CANDIDATES = STRIDE / 32;
    constexpr float MOST = 3.40282347e38f;  // the largest finite float; twice it is infinity
"""


def _make_kernel(shape: ClusterShape) -> Any:
    """The kernel for clouds of at most ``shape.capacity`` points."""
    begin = f"""{constants(shape)}
    if (steps == 0) return;
    const float* cloud = (const float*)(points.data + start);
    wp::int64* chosen = picks.data + (size_t)(block / CLUSTER) * picks.shape[1];
"""
    name = f"farthest_points_{shape.blocks}x{shape.threads}x{shape.slots}"

    def sample(
        points: wp.array(dtype=wp.vec3),
        start: wp.int64,
        length: wp.uint32,
        first: wp.uint32,
        steps: wp.uint32,
        block: wp.int32,
        picks: wp.array2d(dtype=wp.int64),
    ): ...

    # Warp knows a function by its qualified name, which would be the same for all shapes.
    sample.__qualname__ = f"sample_{shape.blocks}x{shape.threads}x{shape.slots}"
    sample = wp.func_native(f"\n#if defined(__CUDA_ARCH__)\n{begin}{_CUDA}{ALGORITHM}#else\n{begin}{_SERIAL}#endif\n")(sample)

    def farthest_points(
        points: wp.array(dtype=wp.vec3),
        starts: wp.array(dtype=wp.int64),
        lengths: wp.array(dtype=wp.int64),
        valid: wp.array(dtype=wp.int64),
        first: wp.array(dtype=wp.int64),
        chosen: wp.array2d(dtype=wp.int64),
    ):
        block, _thread = wp.tid()
        cloud = block // wp.static(shape.blocks)
        steps = wp.min(chosen.shape[1], wp.int32(valid[cloud]))
        length = wp.uint32(lengths[cloud])
        sample(points, starts[cloud], length, wp.uint32(first[cloud]), wp.uint32(steps), block, chosen)

    # A module of its own: the first call compiles what it runs, not all shapes.
    options = {"fuse_fp": False, "enable_backward": False}
    bounds = (shape.threads, 1)
    decorate = wp.kernel(
        name=name,
        module="unique",
        module_options=options,
        cluster_dim=shape.blocks,
        launch_bounds=bounds,
        grid_stride=False,
    )
    return decorate(farthest_points)


SHAPES = tuple(ClusterShape(*shape) for shape in ((2, 512, 4), (2, 1024, 8), (4, 512, 16), (8, 512, 16), (8, 512, 24)))
KERNELS = {shape: _make_kernel(shape) for shape in SHAPES}
CAPACITY = SHAPES[-1].capacity


def shape_for(longest: int) -> ClusterShape:
    """The smallest cluster that holds clouds of at most ``longest`` points."""
    return next(shape for shape in SHAPES if longest <= shape.capacity)
