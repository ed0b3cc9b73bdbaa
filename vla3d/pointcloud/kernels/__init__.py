"""Warp kernels of the point operations, imported at the first call; ``serial_*`` is the form for a CPU where it differs."""
