"""Warp kernels of the point operations, one source for CPU and CUDA; imported at the first call."""
