"""What only a fresh process shows: silence, the kernel cache, and OpenGL."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_SCENE = """
import sys, mujoco, numpy as np
from vla3d.envs.tabletop.rendering import make_renderer
XML = '''<mujoco><worldbody>
  <light type="directional" dir="0 0.3 -1"/>
  <camera name="down" pos="0.1 0 2" fovy="50"/>
  <geom name="floor" type="plane" size="3 3 1" pos="0 0 EXTENT"/>
  <geom type="box" size="0.3 0.2 0.1" rgba="0.9 0.1 0.1 1"/>
  <geom type="capsule" fromto="-0.5 0.2 0.1 0.4 0.4 0.5" size="0.05" rgba="0.1 0.9 0.1 1"/>
  <site pos="0 0 0.3" size="0.2"/>
</worldbody></mujoco>'''
def image(name, extent="-0.2"):
    model = mujoco.MjModel.from_xml_string(XML.replace("EXTENT", extent))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return make_renderer(name, model, ["down"], height=60, width=80).render([data])[0]["down"]
"""


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SCENE + code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.slow
def test_two_processes_fill_one_cold_cache_silently(tmp_path: Path) -> None:
    processes = [
        start(f"np.save({str(tmp_path / str(index))!r}, image('warp').rgb)", WARP_CACHE_PATH=str(tmp_path / "cache"))
        for index in range(2)
    ]
    assert [finish(process) for process in processes] == [("", ""), ("", "")]
    first, second = (np.load(tmp_path / f"{index}.npy") for index in range(2))
    assert first.std() > 10 and (first == second).all()


@pytest.mark.slow
def test_scenes_of_other_extent_share_the_kernels(tmp_path: Path) -> None:
    def kernels() -> set[Path]:
        return set(tmp_path.rglob("*.o"))

    finish(start("image('warp')", WARP_CACHE_PATH=str(tmp_path)))
    compiled = kernels()
    finish(start("image('warp', '-2.5')", WARP_CACHE_PATH=str(tmp_path)))
    assert compiled and kernels() == compiled


def test_the_contract_alone_loads_no_graphics() -> None:
    out, _ = finish(start("print([name for name in ('warp', 'mujoco_warp', 'torch') if name in sys.modules])"))
    assert out == "[]\n"


@pytest.mark.slow
def test_opengl_agrees_with_rays(tmp_path: Path) -> None:
    code = f"""
try:
    gl = image("opengl")
except ImportError as error:
    sys.exit(f"skip: {{error}}")
rays = image("raycast")
np.savez({str(tmp_path / "both.npz")!r}, **{{f"{{name}}_{{part}}": getattr(value, part)
    for name, value in (("gl", gl), ("rays", rays)) for part in ("rgb", "depth", "geom_ids")}})
"""
    process = start(code, MUJOCO_GL="egl")
    _, err = process.communicate(timeout=300)
    if err.startswith("skip:"):
        pytest.skip(err)
    assert process.returncode == 0, err
    both = np.load(tmp_path / "both.npz")
    # Sites are helpers: with them the ids would differ over the whole middle.
    same = both["gl_geom_ids"] == both["rays_geom_ids"]
    assert same.mean() > 0.98 and set(np.unique(both["gl_geom_ids"])) == {0, 1, 2}
    error = np.abs(both["gl_depth"] - both["rays_depth"])[same]
    assert np.median(error) < 1e-4 and np.quantile(error, 0.98) < 2e-3
    box = both["gl_geom_ids"] == 1
    assert (both["gl_rgb"][box].argmax(axis=1) == 0).all()


def test_no_opengl_is_a_clear_error() -> None:
    code = """
import warnings
warnings.simplefilter("ignore")  # GLFW warns before it fails
try:
    image("opengl")
except ImportError as error:
    print(type(error).__name__, error)
"""
    out, err = finish(start(code, MUJOCO_GL="glfw", DISPLAY="", WAYLAND_DISPLAY=""))
    assert out.startswith("MissingExtraError MuJoCo could not open an OpenGL context")
    assert "MUJOCO_GL=egl" in out and "'warp'" in out
    assert "Exception ignored" not in err
