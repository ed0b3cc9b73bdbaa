"""Images per second of every renderer on the built-in tasks, with OpenGL and C MuJoCo rays as peers in the same run.

    MUJOCO_GL=egl OMP_NUM_THREADS=1 python benchmarks/rendering.py [--image-size 128] [--out benchmarks/results/rendering.json]

One answer is four cameras of colour, depth and geom ids. Times are the best of many windows: wall, and processor seconds
of all threads, which other programs on the machine disturb less: rates and ratios are of the latter.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
from machine import about_this_machine

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.rendering import make_renderer
from vla3d.errors import MissingExtraError

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "warp": ("warp", {}),
    "warp, shadows": ("warp", {"shadows": True}),
    "raycast (no light)": ("raycast", {}),
    "opengl": ("opengl", {}),
    "opengl, shadows": ("opengl", {"shadows": True}),
}


def best_seconds(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Shortest wall time and shortest processor time of ``repeats`` calls."""
    wall, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return min(wall), min(processor)


def measure_task(task: str, image_size: int, repeats: int) -> list[dict[str, Any]]:
    """One row per renderer for a task's first scene."""
    env: Any = make_env(task, image_size=image_size, renderer=None)
    env.reset(seed=0)
    data: mujoco.MjData = env.world.sim.data
    cameras = [data.model.cam(index).name for index in range(data.model.ncam)]
    rows = []
    for case, (name, options) in CASES.items():
        start = time.perf_counter()
        try:
            renderer = make_renderer(name, data.model, cameras, height=image_size, width=image_size, **options)
        except MissingExtraError as error:
            print(f"{task:20} {case:20} not measured: {error}", file=sys.stderr)
            continue
        renderer.render([data])
        build = time.perf_counter() - start
        wall, processor = best_seconds(functools.partial(renderer.render, [data]), repeats)
        renderer.close()
        rows.append(
            {
                "task": task,
                "geoms": data.model.ngeom,
                "cameras": len(cameras),
                "renderer": case,
                "build_s": round(build, 2),
                "wall_ms": round(wall * 1e3, 2),
                "cpu_ms": round(processor * 1e3, 2),
                "images_per_cpu_s": round(len(cameras) / processor),
            }
        )
    return rows


def cold_start_seconds() -> float:
    """Seconds from starting Python to the first image with an empty kernel cache."""
    code = "import vla3d.envs.base as envs; envs.make_env('pick_and_lift', image_size=32).reset(seed=0)"
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "WARP_CACHE_PATH": cache})
        return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """Where and with what the figures were made."""
    about = about_this_machine(("mujoco", "mujoco-warp", "warp-lang", "numpy"))
    return about | {"mujoco_gl": os.environ.get("MUJOCO_GL", "")}


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "image_size": arguments.image_size}
    result["cold_start_s"] = round(cold_start_seconds(), 1)
    print(f"cold start to the first image: {result['cold_start_s']} s")
    result["rows"] = [row for task in sorted(BUILT_IN) for row in measure_task(task, arguments.image_size, arguments.repeats)]
    for task in sorted(BUILT_IN):
        rows = {row["renderer"]: row for row in result["rows"] if row["task"] == task}
        peer = rows.get("opengl")
        for row in rows.values():
            row["times_opengl"] = round(peer["cpu_ms"] / row["cpu_ms"], 2) if peer else None
            print(
                f"{task:20} {row['geoms']:3d} geoms  {row['renderer']:20} {row['wall_ms']:7.2f} ms wall "
                f"{row['cpu_ms']:7.2f} ms cpu {row['images_per_cpu_s']:5d} images/cpu s  x{row['times_opengl']} opengl"
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
