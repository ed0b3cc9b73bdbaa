"""Adding up rows that belong together, in a fixed order."""

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})


@wp.kernel
def sum_rows(
    values: wp.array2d(dtype=float),
    order: wp.array(dtype=wp.int64),
    begin: wp.array(dtype=wp.int32),
    mean: wp.int32,
    total: wp.array2d(dtype=float),
):
    """One thread a row and channel of the result.

    Args:
        values: rows to add up.
        order: rows in which those of one sum follow each other.
        begin: where each sum's rows begin in ``order``, and where the last one's end.
        mean: 1 to divide by how many there are.
        total: result, 0 at first.
    """
    row, channel = wp.tid()
    count = begin[row + 1] - begin[row]
    if count == 0:
        return
    together = wp.float64(0.0)
    for i in range(begin[row], begin[row + 1]):
        together += wp.float64(values[wp.int32(order[i]), channel])
    if mean == 1:
        together /= wp.float64(count)
    total[row, channel] = wp.float32(together)
