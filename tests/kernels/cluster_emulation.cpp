// A thread-block cluster on one CPU thread: each CUDA thread is a fiber, and which of them goes on is drawn at random, so that
// an exchange that needs a barrier and has none goes wrong. The constants and the algorithm are put in by the test.
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <ucontext.h>
#include <vector>

namespace {

struct uint4 { unsigned x, y, z, w; };

//CONSTANTS//

constexpr unsigned FIBERS = CLUSTER * THREADS, STACK = 1 << 16, WARP = 32;

// Fibers that wait for each other, and what they show to each other meanwhile.
struct Group {
    unsigned size = 0, arrived = 0, generation = 0;
    unsigned shown[WARP] = {};
};

struct BlockMemory {
    uint4 keys_and_points[2][CANDIDATES];
    unsigned indices[2][CANDIDATES];
};

struct Request { const float* cloud; unsigned length, first, steps; long long* chosen; } request;
BlockMemory memory[CLUSTER];
Group warps[FIBERS / WARP], cluster;
ucontext_t contexts[FIBERS + 1];  // the last one is the caller's
bool ended[FIBERS];
unsigned current;
std::mt19937 random_numbers;

void go_on_with_another() {
    std::vector<unsigned> able;
    for (unsigned fiber = 0; fiber < FIBERS; ++fiber) if (!ended[fiber]) able.push_back(fiber);
    const unsigned before = current, next = able.empty() ? FIBERS : able[random_numbers() % able.size()];
    if (next == before) return;
    current = next;
    swapcontext(&contexts[before], &contexts[next]);
}

void wait(Group& group) {
    const unsigned generation = group.generation;
    if (++group.arrived == group.size) {
        group.arrived = 0;
        ++group.generation;
    }
    while (group.generation == generation) go_on_with_another();
}

template <class Combine> unsigned together(unsigned value, Combine combine) {
    Group& warp = warps[current / WARP];
    warp.shown[current % WARP] = value;
    wait(warp);
    const unsigned result = combine(warp.shown);
    wait(warp);
    return result;
}

unsigned __reduce_max_sync(unsigned, unsigned value) {
    return together(value, [](unsigned* all) { unsigned r = 0; for (unsigned i = 0; i < WARP; ++i) r = std::max(r, all[i]); return r; });
}
unsigned __reduce_min_sync(unsigned, unsigned value) {
    return together(value, [](unsigned* all) { unsigned r = ~0u; for (unsigned i = 0; i < WARP; ++i) r = std::min(r, all[i]); return r; });
}
unsigned __ballot_sync(unsigned, bool value) {
    return together(value, [](unsigned* all) { unsigned r = 0; for (unsigned i = 0; i < WARP; ++i) r |= all[i] << i; return r; });
}
unsigned __shfl_sync(unsigned, unsigned value, int from) {
    return together(value, [from](unsigned* all) { return all[from]; });
}
int __ffs(unsigned bits) { return __builtin_ffs(bits); }
float __fsub_rn(float a, float b) { return a - b; }
float __fadd_rn(float a, float b) { return a + b; }
float __fmul_rn(float a, float b) { return a * b; }
unsigned __float_as_uint(float value) { unsigned bits; std::memcpy(&bits, &value, 4); return bits; }
float __uint_as_float(unsigned bits) { float value; std::memcpy(&value, &bits, 4); return value; }

void thread_of_the_cluster() {
    const float* cloud = request.cloud;
    const unsigned length = request.length, first = request.first, steps = request.steps;
    long long* chosen = request.chosen;
    const unsigned rank = current / THREADS, thread = current % THREADS;
    auto& keys_and_points = memory[rank].keys_and_points;
    auto& indices = memory[rank].indices;
    auto cluster_barrier = []() { wait(cluster); };
    auto in_block = [rank](const void* here, unsigned other) {
        return (char*)&memory[other] + ((const char*)here - (const char*)&memory[rank]);
    };
    auto send = [](char* to, unsigned value) { go_on_with_another(); std::memcpy(to, &value, 4); };
    auto send_four = [](char* to, unsigned a, unsigned b, unsigned c, unsigned d) {
        go_on_with_another();
        const uint4 four = {a, b, c, d};
        std::memcpy(to, &four, 16);
    };

    //ALGORITHM//
}

void fiber() {
    thread_of_the_cluster();
    ended[current] = true;
    go_on_with_another();
}

}  // namespace

extern "C" void emulate(const float* cloud, unsigned length, unsigned first, unsigned steps, long long* chosen, unsigned seed) {
    request = {cloud, length, first, steps, chosen};
    random_numbers.seed(seed);
    cluster = Group();
    cluster.size = FIBERS;
    std::unique_ptr<char[]> stacks(new char[(size_t)FIBERS * STACK]);
    for (unsigned i = 0; i < FIBERS; ++i) {
        if (i % WARP == 0) { warps[i / WARP] = Group(); warps[i / WARP].size = WARP; }
        ended[i] = false;
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks.get() + (size_t)i * STACK;
        contexts[i].uc_stack.ss_size = STACK;
        makecontext(&contexts[i], fiber, 0);
    }
    current = FIBERS;
    go_on_with_another();
}
