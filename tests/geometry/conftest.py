"""Hypothesis without a wall-clock limit (machines are shared), and with the same examples on every run."""

from hypothesis import settings

settings.register_profile("laws", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("laws")
