"""Optional dependencies: one table, in agreement with setup.cfg, and a sentence that says what to install."""

import configparser
import re
import sys
from pathlib import Path

import pytest

from vla3d.errors import MissingExtraError
from vla3d.optional import EXTRAS, available, require, usable

ROOT = Path(__file__).parents[1]


def extras_of_setup() -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return dict(parser["options.extras_require"])


def test_every_pip_line_names_an_extra_that_exists() -> None:
    offered = extras_of_setup()
    lines = [extra.install for extra in EXTRAS.values() if extra.install.startswith("pip")]
    assert lines
    for line in lines:
        found = re.fullmatch(r"pip install 'vla3d\[(\w+)\]'", line)
        assert found is not None and found[1] in offered, line


def test_what_is_not_on_a_registry_is_no_requirement() -> None:
    text = (ROOT / "setup.cfg").read_text().lower()
    for name, extra in EXTRAS.items():
        if not extra.install.startswith("pip"):
            assert not re.search(rf"^\s*{name}\b", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_one_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = EXTRAS[name]
    monkeypatch.setitem(sys.modules, extra.module, None)  # Python's way to say that it cannot be imported
    with pytest.raises(MissingExtraError) as caught:
        require(name)
    for part in (extra.module, extra.purpose, extra.install):
        assert part in str(caught.value)


def test_one_that_cannot_be_loaded_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rerun.py").write_text("raise ImportError('libusb-1.0.so.0: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rerun", raising=False)
    with pytest.raises(MissingExtraError, match=r"rerun is installed but cannot be loaded \(libusb-1\.0\.so\.0"):
        require("rerun")
    assert available("rerun") and not usable("rerun")


def test_an_installed_one_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("rerun")
    monkeypatch.setitem(sys.modules, "rerun", module)
    assert require("rerun") is module


def test_available_imports_nothing() -> None:
    before = set(sys.modules)
    assert all(isinstance(available(name), bool) for name in EXTRAS)
    assert not {extra.module for extra in EXTRAS.values()} & (set(sys.modules) - before)
