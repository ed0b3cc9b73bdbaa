"""Finding tasks by name."""

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from vla3d.envs import registration
from vla3d.envs.base import make_env
from vla3d.errors import ConfigError


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Pretend that installed packages offer the task ``wave`` at these places."""
    points = EntryPoints(EntryPoint("wave", value, registration.ENTRY_POINT_GROUP) for value in values)
    monkeypatch.setattr(registration, "entry_points", lambda **query: points.select(**query))


def test_built_in_tasks_are_listed() -> None:
    assert set(registration.task_names()) >= {"pick_and_lift", "place_in_container", "open_drawer"}


def test_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'open_drawer'"):
        make_env("open_drawr")


def test_image_size_is_checked() -> None:
    with pytest.raises(ConfigError, match="image_size"):
        make_env("pick_and_lift", image_size=0)


def test_a_package_can_offer_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "vla3d.envs.tabletop.tasks.pick_and_lift:PickAndLift.make_env")
    assert "wave" in registration.task_names()
    env = make_env("wave", renderer=None)
    assert env.reset(seed=0).instruction == env.instruction
    env.close()


def test_two_packages_with_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "first.tasks:Wave.make_env", "second.tasks:Wave.make_env")
    with pytest.raises(ConfigError, match=r"first.tasks.*second.tasks"):
        registration.find_task("wave")


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "no_such_package.tasks:Wave.make_env")
    with pytest.raises(ConfigError, match="no_such_package"):
        registration.find_task("wave")


def test_naming_the_types_loads_no_simulator() -> None:
    code = "import sys, vla3d.envs.base; sys.exit(any(name in sys.modules for name in ('mujoco', 'torch', 'warp')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
