"""Adding up rows that belong together by one thread, as they come: the form for a CPU."""

import warp as wp

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

CHANNELS_AT_ONCE = 32


@wp.func_native(
    f"""
    constexpr size_t CHANNELS_AT_ONCE = {CHANNELS_AT_ONCE};
    const size_t channels = values.shape[1];
    """
    """
    // Sums of some channels of each row of the result, and behind them how many there are.
    double* __restrict__ sum = sums.data + first * sums.shape[1];
    const long long* __restrict__ to = (const long long*)index.data;
    for (size_t channel = 0; channel < channels; channel += CHANNELS_AT_ONCE) {
        const size_t some = channels - channel < CHANNELS_AT_ONCE ? channels - channel : CHANNELS_AT_ONCE, width = some + 1;
        const float* __restrict__ value = values.data + channel;
        float* __restrict__ result = total.data + first * channels + channel;
        for (size_t i = 0; i < rows * width; ++i)
            sum[i] = 0.0;
        for (long long i = begin; i < end; ++i) {
            const size_t at = to[i] - first;  // beyond all rows where the index is negative
            if (at >= (size_t)rows)
                continue;
            double* __restrict__ own = sum + at * width;
            for (size_t c = 0; c < some; ++c)
                own[c] += (double)value[i * channels + c];
            own[some] += 1.0;
        }
        for (size_t row = 0; row < rows; ++row) {
            const double* own = sum + row * width;
            const double divisor = mean && own[some] > 0.0 ? own[some] : 1.0;
            for (size_t c = 0; c < some; ++c)
                result[row * channels + c] = (float)(own[c] / divisor);
        }
    }
"""
)
def add_up(
    values: wp.array2d(dtype=float),
    index: wp.array(dtype=wp.int64),
    begin: wp.int64,
    end: wp.int64,
    first: wp.int64,
    rows: wp.int64,
    mean: wp.int32,
    sums: wp.array2d(dtype=wp.float64),
    total: wp.array2d(dtype=float),
):
    """Add up values ``begin`` to ``end`` into ``rows`` rows of the result from ``first``."""
    ...


@wp.kernel
def sum_rows(
    values: wp.array2d(dtype=float),
    index: wp.array(dtype=wp.int64),
    mean: wp.int32,
    sums: wp.array2d(dtype=wp.float64),
    total: wp.array2d(dtype=float),
):
    """One thread for all.

    Args:
        values: rows to add up.
        index: where each of them goes; negative ones are left out.
        mean: 1 to divide by how many there are.
        sums: workspace, for each row of the result one more than its channels, at most ``CHANNELS_AT_ONCE``.
        total: result.
    """
    rows = wp.int64(total.shape[0])
    add_up(values, index, wp.int64(0), wp.int64(values.shape[0]), wp.int64(0), rows, mean, sums, total)
