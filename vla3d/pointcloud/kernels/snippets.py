"""What several kernels share: pieces of C++ that native functions begin with, and what a key says.

Every piece is computed without branches, so that a CPU takes several points at once.
"""

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

VALID = """
    constexpr float MOST = 3.40282347e38f;  // the largest finite float
    // False for NaN as well.
    const auto valid = [](float x, float y, float z) {
        return (x <= MOST) & (x >= -MOST) & (y <= MOST) & (y >= -MOST) & (z <= MOST) & (z >= -MOST);
    };
"""
SQUARED_LENGTH = """
    // In this order everywhere: another one rounds otherwise.
    const auto squared_length = [](float x, float y, float z) { return (x * x + y * y) + z * z; };
"""


@wp.func
def distance_of(key: wp.uint64) -> float:
    """The squared distance in the upper half of a key."""
    return wp.cast(wp.uint32(key >> wp.uint64(32)), wp.float32)
