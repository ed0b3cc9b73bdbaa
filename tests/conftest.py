"""What holds for every test: shapes are checked, nothing is downloaded, one thread for each process."""

import os
import re
import signal
from collections.abc import Iterator

import pytest
from jaxtyping import config, install_import_hook
from shape_checks import calls, spare_the_rest

# Before torch, Hugging Face and the workers that tests start read them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

# A shell's background jobs ignore Ctrl-C, and so would the programs to which the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

spare_the_rest()
# Before the first import of vla3d. Every public tensor function then refuses a wrong shape, in every test.
_finder = install_import_hook("vla3d", "shape_checks.checked").hook
_in_vla3d = _finder.should_instrument
# The language of Warp kernels only looks like Python: Warp reads their source, and finds none in a decorated function.
_finder.should_instrument = lambda name: _in_vla3d(name) and not re.fullmatch(r"vla3d\.\w+\.kernels\.\w+", name)


@pytest.fixture(autouse=True)
def _shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave wrong shapes to vla3d's own refusals in the tests that are about those."""
    calls.clear()
    on_purpose = request.node.get_closest_marker("wrong_shapes") is not None
    config.update("jaxtyping_disable", on_purpose)
    yield
    config.update("jaxtyping_disable", False)
