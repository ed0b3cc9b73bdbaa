"""Hypothesis without a wall-clock limit per example: the first call of a torch operation is slow, and machines are shared."""

from hypothesis import settings

settings.register_profile("laws", deadline=None, max_examples=50)
settings.load_profile("laws")
