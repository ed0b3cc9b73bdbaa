"""Policies as servers, for benchmarks whose simulator lives in another process or container."""
