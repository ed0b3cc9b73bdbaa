"""How fast ``vla3d convert`` works on one core, and how much smaller its dataset is than a replay buffer of the same samples.

    OMP_NUM_THREADS=1 python benchmarks/conversion.py [--demos 1] [--out benchmarks/results/conversion.json]

The demonstrations are those of vla3d's own simulator (an arm in motion, four cameras of 128x128, one of them on the wrist),
written in each format: RLBench's PNG files with 24-bit depth and masks (once plain, once with a pattern of noise on every
image, since the simulator's surfaces are plainer than RLBench's), GemBench's LMDB of clouds (keysteps alone, also at 256x256 as
GemBench has them), BridgeVLA's JPEG and 16-bit PNG (one camera, small and at full size). A camera frame is everything that is
stored of one camera at one instant. Times are processor seconds of reading and writing, which other programs on the machine
disturb less than the wall clock.

The replay buffer it is compared with is PerAct's: every sample holds, for each camera, colours (3), depth (1) and points (3) of
every pixel as float32. Its samples are those of RVT and BridgeVLA: every 10th frame is a start, and from each the chain of all
remaining keyframes is added (``demos.stride=10 demos.chain_duplicates=true``). Without the duplicates it is every 10th frame.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "data"))  # the tests know how to write the formats

import bridgevla_real_demos
import gembench_demos
import rlbench_demos
import torch
from machine import about_this_machine
from PIL import Image

from vla3d.data import DemoSource, open_demos
from vla3d.data.samples import sample_instants
from vla3d.data.writer import write_episode
from vla3d.envs.base import make_env
from vla3d.evaluation.recorder import record_expert
from vla3d.geometry import unproject
from vla3d.types import Episode, RgbdFrame

CAMERAS = ("front", "left_shoulder", "right_shoulder", "wrist")
TASK = "pick_and_lift"
SIZE = 128
BYTES_PER_PIXEL = 4 * (3 + 1 + 3)
FAR = 4.0


def recorded(number: int, size: int) -> Episode:
    """A demonstration of the simulator."""
    env = make_env(TASK, image_size=size, renderer="raycast")
    try:
        return record_expert(env, 100 + number, {})[0]
    finally:
        env.close()


def write_rlbench(root: Path, episodes: list[Episode], texture: float = 0.0) -> None:
    """In PerAct's layout, under RLBench's names of cameras; ``texture`` is the spread of a fixed pattern on its images."""
    rng = np.random.default_rng(0)
    patterns = {name: rng.normal(0, texture, (SIZE, SIZE, 3)) for name in CAMERAS}
    for number, episode in enumerate(episodes):
        folder = root / TASK / "all_variations" / "episodes" / f"episode{number}"
        steps = episode.steps
        values = {
            "joint_velocities": np.array([step.joint_velocities for step in steps]),
            "gripper_open": np.array([float(step.observation.gripper_open) for step in steps]),
            "ignore_collisions": np.zeros(len(steps)),
        }
        rlbench_demos.write_episode(folder, frames=len(steps), size=(SIZE, SIZE), cameras=(), values=values)
        for name, own in zip(CAMERAS, steps[0].observation.frames, strict=False):
            for kind in ("rgb", "depth", "mask"):
                (folder / f"{name}_{kind}").mkdir()
            for index, step in enumerate(steps):
                for kind, pixels in rlbench_images(step.observation.frames[own], patterns[name]).items():
                    (folder / f"{name}_{kind}" / f"{index}.png").write_bytes(rlbench_demos.png(pixels))


def rlbench_images(frame: RgbdFrame, pattern: np.ndarray) -> dict[str, np.ndarray]:
    """The three files of a camera frame."""
    codes = np.rint(np.clip(frame.depth / FAR, 0, 1) * rlbench_demos.PEAK).astype(np.int64)
    handles = np.zeros(frame.depth.shape, int) if frame.segmentation is None else frame.segmentation.astype(int) % 256
    return {
        "rgb": np.clip(frame.rgb + pattern, 0, 255).astype(np.uint8),
        "depth": rlbench_demos.split_bytes(codes, (16, 8, 0)),
        "mask": rlbench_demos.split_bytes(handles, (0, 8, 16)),
    }


def write_gembench(root: Path, episodes: list[Episode]) -> None:
    """Keysteps as LMDB records."""
    root.mkdir()
    (root / "taskvars_instructions_new.json").write_text(json.dumps({f"{TASK}+0": ["lift it"]}))
    packed = {}
    for number, episode in enumerate(episodes):
        steps = [episode.steps[index] for index in (0, *episode.keyframe_indices)]
        seen = [[*step.observation.frames.values()] for step in steps]
        seen = [(row * 4)[:4] for row in seen]
        poses = [
            [*s.observation.gripper_position, *np.roll(s.observation.gripper_quaternion, -1), s.observation.gripper_open]
            for s in steps
        ]
        record = {
            "key_frameids": [0, *episode.keyframe_indices],
            "rgb": np.stack([[frame.rgb for frame in row] for row in seen]),
            "pc": np.stack([[cloud(frame) for frame in row] for row in seen]),
            "action": np.array(poses, dtype=np.float32),
        }
        packed[f"episode{number}"] = gembench_demos.pack(record)
    gembench_demos.write_records(root / "keysteps_bbox" / "seed0" / f"{TASK}+0", packed)


def write_real_full_size(root: Path, episode: Episode) -> None:
    """Four instants as large as the robot's camera has them, enlarged, with a sensor's noise."""
    rng = np.random.default_rng(0)
    folder = bridgevla_real_demos.write_episode(root / TASK / "ep_0", images=4)
    for index in range(4):
        frame = next(iter(episode.steps[index].observation.frames.values()))
        rgb = np.asarray(Image.fromarray(frame.rgb).resize((1920, 1080))) + rng.normal(0, 4, (1080, 1920, 3))
        depth = np.asarray(Image.fromarray(frame.depth).resize((1920, 1080))) + rng.normal(0, 5e-4, (1080, 1920))
        (folder / "zed_rgb" / f"{index}.jpg").write_bytes(bridgevla_real_demos.jpeg(np.clip(rgb, 0, 255).astype(np.uint8)))
        units = np.rint(np.clip(depth, 0, 16) * 4000).astype(np.uint16)
        Image.fromarray(units).save(folder / "zed_depth" / f"{index}.png")


def cloud(frame: RgbdFrame) -> np.ndarray:
    """World points of every pixel, float32."""
    values = (torch.from_numpy(np.asarray(x, dtype=np.float64)) for x in (frame.depth, frame.intrinsics, frame.T_world_camera))
    points, _ = unproject(*values)
    return points.numpy().astype(np.float32)


def write_real(root: Path, episodes: list[Episode]) -> None:
    """Thirteen instants of the first camera, as many as its recordings have, in BridgeVLA's real-robot layout."""
    for number, episode in enumerate(episodes):
        steps = [episode.steps[index] for index in np.linspace(0, len(episode.steps) - 1, 13).astype(int)]
        folder = bridgevla_real_demos.write_episode(root / TASK / f"ep_{number}", images=len(steps))
        for index, step in enumerate(steps):
            frame = next(iter(step.observation.frames.values()))
            (folder / "zed_rgb" / f"{index}.jpg").write_bytes(bridgevla_real_demos.jpeg(frame.rgb))
            Image.fromarray(np.rint(frame.depth * 4000).astype(np.uint16)).save(folder / "zed_depth" / f"{index}.png")


def convert(source: DemoSource, out: Path, repeats: int) -> tuple[float, int, int]:
    """What a worker does with every demonstration: processor seconds, camera frames, bytes written."""
    best = float("inf")
    for repeat in range(repeats):
        frames = size = 0
        (out / str(repeat)).mkdir(parents=True)
        began = time.process_time()
        for ref in source.episodes():
            episode = source.read(ref, cameras=[name for name in source.info(ref).cameras if name != "overhead"])
            size += write_episode(episode, out / str(repeat) / f"{ref.attempt:06d}")
            frames += sum(len(step.observation.frames) for step in episode.steps)
        best = min(best, time.process_time() - began)
    return best, frames, size


def replay_bytes(source: DemoSource, cameras: int, *, chain: bool) -> tuple[int, int]:
    """Samples and bytes of the replay buffer."""
    samples = sum(len(sample_instants(source.info(ref).keyframes, 10, chain)) for ref in source.episodes())
    return samples, samples * cameras * SIZE * SIZE * BYTES_PER_PIXEL


def main() -> None:
    """Measure, print, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demos", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        episodes = [recorded(number, SIZE) for number in range(arguments.demos)]
        write_rlbench(base / "rlbench", episodes)
        write_rlbench(base / "rlbench_textured", episodes, texture=4.0)
        write_gembench(base / "gembench", episodes)
        write_gembench(base / "gembench_256", [recorded(number, 256) for number in range(arguments.demos)])
        write_real(base / "bridgevla-real", episodes)
        write_real_full_size(base / "bridgevla-real_1080p", episodes[0])
        folders = [(folder, 1) for folder in ("rlbench", "rlbench_textured", "gembench", "gembench_256", "bridgevla-real")]
        for folder, stride in [*folders, ("bridgevla-real_1080p", 1), ("bridgevla-real_1080p", 4)]:
            source = open_demos(base / folder, image_stride=stride)
            seconds, frames, size = convert(source, base / f"{folder}_{stride}_converted", arguments.repeats)
            row = {
                "demonstrations": folder,
                "image_stride": stride,
                "camera_frames": frames,
                "camera_frames_per_cpu_s": round(frames / seconds),
            }
            rows.append(row | {"source_megabytes": megabytes(base / folder), "dataset_megabytes": round(size / 1e6, 2)})
            rate = f"{frames / seconds:6.0f} per core and second"
            print(f"{folder:20} stride {stride} {frames:5d} camera frames, {rate}, {size / 1e6:7.2f} MB")
            if folder.startswith("rlbench"):
                cameras = min(len(CAMERAS), len(episodes[0].steps[0].observation.frames))
                for chain in (True, False):
                    samples, replay = replay_bytes(source, cameras, chain=chain)
                    what = "with duplicates" if chain else "every 10th frame once"
                    rows[-1][what] = {
                        "samples": samples,
                        "replay_megabytes": round(replay / 1e6, 1),
                        "times": round(replay / size, 1),
                    }
                    print(
                        f"  replay buffer, {what}: {samples} samples, {replay / 1e6:.1f} MB, {replay / size:.1f} times as large"
                    )
    if arguments.out:
        machine = about_this_machine(("numpy", "pillow", "zarr", "lmdb", "msgpack"))
        arguments.out.write_text(json.dumps({"machine": machine, "demos": arguments.demos, "rows": rows}, indent=1) + "\n")


def megabytes(folder: Path) -> float:
    """Size of the files below a folder."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "lock.mdb") / 1e6, 2)


if __name__ == "__main__":
    main()
