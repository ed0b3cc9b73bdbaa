"""Laws are checked on the same examples every time, however busy the machine."""

from hypothesis import settings

settings.register_profile("laws", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("laws")
