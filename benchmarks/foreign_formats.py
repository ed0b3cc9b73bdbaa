"""How fast demonstrations in other programs' formats are read, beside the same ones in vla3d's store.

    OMP_NUM_THREADS=1 python benchmarks/foreign_formats.py [--frames 120] [--out benchmarks/results/foreign_formats.json]

The demonstrations are made for the purpose: five cameras of 128x128, with noise on colours and depth, so that the files
compress no better than a real scene's. A camera frame is colour, depth and segmentation together. Times are processor seconds
of the process, which other programs on the machine disturb less than the wall clock; the best of several runs counts. The last
case is ``vla3d train`` with a small BridgeVLA, its reading of the samples and starting up included.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "data"))  # the tests know how to write the formats

import rlbench_demos
from machine import about_this_machine

from vla3d import cli
from vla3d.data import DatasetWriter, DemoSource, open_demos
from vla3d.data.demos import DemosConfig, iterate_samples

SIZE = (128, 128)
CAMERAS = ("front", "left_shoulder", "right_shoulder", "wrist")
UPDATES = 100
TRAIN = (
    f"steps={UPDATES}", "policy=bridgevla_nano", "policy.backbone.resolution=32", "policy.backbone.vision_layers=1",
    "policy.backbone.text_layers=1", "policy.workspace_low=[-0.3,-0.5,0.6]", "policy.workspace_high=[0.7,0.5,1.6]",
    f"policy.cameras=[{','.join(CAMERAS)}]", "trainer.batch_size=2", "trainer.validate_every=0", "trainer.progress=false",
    "demos.validation_share=0", "demos.stride=10",
)  # fmt: skip
REQUEST = {"made_for": "benchmarks/foreign_formats.py"}


def write_rlbench(root: Path, frames: int) -> None:
    """One demonstration in PerAct's layout."""
    folder = root / "open_drawer" / "all_variations" / "episodes" / "episode0"
    rlbench_demos.write_episode(folder, frames=frames, size=SIZE, cameras=())
    rng = np.random.default_rng(0)
    for camera in rlbench_demos.CAMERAS:
        for kind in ("rgb", "depth", "mask"):
            (folder / f"{camera}_{kind}").mkdir()
        for index in range(frames):
            colours, depth, handles = rlbench_demos.render(SIZE, camera, index)
            noisy = np.clip(colours + rng.normal(0, 4, colours.shape), 0, 255).astype(np.uint8)
            codes = np.rint((depth / 5.0 + rng.normal(0, 1e-4, depth.shape)) * rlbench_demos.PEAK).astype(np.int64)
            for kind, pixels in (
                ("rgb", noisy),
                ("depth", rlbench_demos.split_bytes(codes, (16, 8, 0))),
                ("mask", rlbench_demos.split_bytes(handles, (0, 8, 16))),
            ):
                (folder / f"{camera}_{kind}" / f"{index}.png").write_bytes(rlbench_demos.png(pixels))


def write_store(root: Path, source: DemoSource) -> None:
    """The same demonstrations in vla3d's store."""
    with DatasetWriter(root, REQUEST) as writer:
        for ref in source.episodes():
            writer.add(source.read(ref), ref.attempt)


def cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    """Shortest processor time of ``repeats`` calls."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def measure(name: str, path: Path, repeats: int) -> list[dict[str, Any]]:
    """Rows of one format. Every call opens the folder anew, as a program does that starts."""
    ref = open_demos(path).episodes()[0]
    info = open_demos(path).info(ref)
    demos = DemosConfig(stride=10)

    def samples() -> int:
        source = open_demos(path)
        return sum(len(one.observation.frames) for one in iterate_samples(source, [ref], demos, CAMERAS, progress=None))

    def train() -> None:
        with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
            assert cli.main(("train", f"data={path}", f"out={out}/run", *TRAIN)) == 0

    cases: dict[str, tuple[Callable[[], object], int]] = {
        "describe (info)": (lambda: open_demos(path).info(ref), 0),
        "read everything": (lambda: open_demos(path).read(ref), info.num_steps * len(info.cameras)),
        "samples to train on": (samples, samples()),
        "verify": (lambda: open_demos(path).verify(ref), info.num_steps * len(info.cameras)),
    }
    cases[f"train {UPDATES} updates"] = (train, 0)
    rows = []
    for case, (call, frames) in cases.items():
        seconds = cpu_seconds(call, 2 if call is train else repeats)
        rows.append(
            {
                "format": name,
                "case": case,
                "camera_frames": frames,
                "cpu_ms": round(seconds * 1e3, 1),
                "camera_frames_per_cpu_s": round(frames / seconds) if frames else None,
                "megabytes": round(info.num_bytes / 1e6, 2),
            }
        )
    return rows


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        foreign, store = Path(folder) / "rlbench", Path(folder) / "store"
        write_rlbench(foreign, arguments.frames)
        write_store(store, open_demos(foreign))
        rows = measure("rlbench", foreign, arguments.repeats) + measure("vla3d", store, arguments.repeats)
    peer = {row["case"]: row["cpu_ms"] for row in rows if row["format"] == "vla3d"}
    for row in rows:
        row["times_store"] = round(peer[row["case"]] / row["cpu_ms"], 2)
        rate = f"{row['camera_frames_per_cpu_s']:6d} camera frames/cpu s" if row["camera_frames_per_cpu_s"] else " " * 27
        print(f"{row['format']:8} {row['case']:20} {row['cpu_ms']:8.1f} ms cpu {rate}  x{row['times_store']} the store's speed")
    if arguments.out:
        machine = about_this_machine(("numpy", "pillow", "zarr", "torch"))
        result = {"machine": machine, "frames": arguments.frames, "image_size": SIZE[0], "rows": rows}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
