"""vla3d: train 3D vision-language-action policies and run them in simulation or on a robot."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vla3d")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0+source"
