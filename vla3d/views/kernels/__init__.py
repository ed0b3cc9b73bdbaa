"""Warp kernels of the view operations, one source for CPU and CUDA; imported at the first call."""
