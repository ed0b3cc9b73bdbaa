"""From foreign demonstrations to a dataset to a policy, on the command line: what is learned is the same either way."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bridgevla_real_demos
import gembench_demos
import numpy as np
import pytest
import rlbench_demos
import torch
from test_bad_input import SMALL

from vla3d import cli
from vla3d.data import DemoDataset, EpisodeRef, open_demos
from vla3d.geometry import unproject
from vla3d.types import RgbdFrame

WORKSPACE = ("policy.workspace_low=[-1.2,-1.2,-0.6]", "policy.workspace_high=[1.8,1.8,2.4]")


def write_rlbench(root: Path) -> None:
    rlbench_demos.write_peract(root, "close_jar", 2, size=(32, 32), frames=12)


def write_gembench(root: Path) -> None:
    gembench_demos.write_dataset(root)


def write_real(root: Path) -> None:
    bridgevla_real_demos.write_dataset(root, images=3)


FORMATS: dict[str, tuple[Callable[[Path], None], str]] = {
    "rlbench": (write_rlbench, "[front,wrist]"),
    "gembench": (write_gembench, "[front,wrist]"),
    "bridgevla-real": (write_real, "[zed]"),
}


@pytest.fixture(scope="module", params=FORMATS)
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A format, demonstrations in it, and the dataset that the command made of them with processes of its own."""
    base = tmp_path_factory.mktemp(request.param)
    FORMATS[request.param][0](base / "demos")
    assert cli.main(("convert", request.param, str(base / "demos"), str(base / "dataset"), "num_workers=2")) == 0
    return request.param, base / "demos", base / "dataset"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_bit_of_a_demonstration_survives(converted: tuple[str, Path, Path]) -> None:
    format, demos, out = converted
    source, dataset = open_demos(demos), DemoDataset(out)
    assert source.format == format
    assert dataset.episodes() == source.episodes()
    for ref in source.episodes():
        dataset.verify(ref)
        before, after = source.read(ref), dataset.read(ref)
        for name in ("task", "variation", "instruction", "paraphrases", "success", "keyframe_indices", "metadata"):
            assert getattr(before, name) == getattr(after, name)
        for old, new in zip(before.steps, after.steps, strict=True):
            assert list(old.observation.frames) == list(new.observation.frames)
            for camera, frame in old.observation.frames.items():
                other = new.observation.frames[camera]
                assert np.array_equal(frame.depth.view(np.uint32), other.depth.view(np.uint32))
                for name in ("rgb", "intrinsics", "T_world_camera"):
                    assert np.array_equal(getattr(frame, name), getattr(other, name))
            assert (old.action is None) == (new.action is None)
            if old.action is not None and new.action is not None:
                assert np.array_equal(old.action.position, new.action.position)
                assert np.array_equal(old.action.quaternion, new.action.quaternion)
                assert old.action.gripper_open == new.action.gripper_open
                assert old.action.ignore_collisions == new.action.ignore_collisions


def test_both_are_described(converted: tuple[str, Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    format, demos, out = converted
    assert cli.main(("info", str(demos))) == cli.main(("info", str(out))) == 0
    text = capfd.readouterr().out
    assert f"demonstrations, format {format}" in text
    assert f"converter={format}" in text and text.count("no damaged episodes") == 2


def test_a_policy_learns_the_same_from_both(converted: tuple[str, Path, Path], tmp_path: Path) -> None:
    format, *folders = converted
    weights = []
    for number, data in enumerate(folders):
        out = tmp_path / str(number)
        words = ("train", f"data={data}", f"out={out}", "steps=2", "demos.validation_share=0", *SMALL, *WORKSPACE)
        assert cli.main((*words, f"policy.cameras={FORMATS[format][1]}")) == 0
        weights.append(b"".join(path.read_bytes() for path in sorted(out.rglob("model.safetensors"))))
    assert len(weights[0]) > 1000 and weights[0] == weights[1]


def test_a_smaller_image_shows_points_of_the_large_one(tmp_path: Path) -> None:
    write_real(tmp_path / "demos")
    words = ("convert", str(tmp_path / "demos"), str(tmp_path / "dataset"), "image_stride=4", "num_workers=1", "episodes=1")
    assert cli.main(words) == 0
    ref = EpisodeRef("plate_tasks", 3)
    (large,), (small,) = (
        open_demos(tmp_path / "demos").read_steps(ref, [1]),
        DemoDataset(tmp_path / "dataset").read_steps(ref, [1]),
    )
    before, after = large.observation.frames["zed"], small.observation.frames["zed"]
    assert after.depth.shape == (9, 16)
    assert np.array_equal(after.depth, before.depth[::4, ::4]) and np.array_equal(after.rgb, before.rgb[::4, ::4])
    ours, valid = points(after)
    theirs, _ = points(before)
    np.testing.assert_allclose(ours[valid], theirs[::4, ::4][valid], atol=1e-9)


def points(frame: RgbdFrame) -> tuple[np.ndarray, np.ndarray]:
    found, valid = unproject(
        *(torch.from_numpy(x) for x in (frame.depth.astype(float), frame.intrinsics, frame.T_world_camera))
    )
    return found.numpy(), valid.numpy()


def test_damage_is_left_out_with_exit_code_0_or_stops_with_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_real(tmp_path / "demos")
    image = tmp_path / "demos" / "plate_tasks" / "plate_tasks_003" / "zed_rgb" / "1.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    words = ("convert", "bridgevla-real", str(tmp_path / "demos"), str(tmp_path / "dataset"), "num_workers=1")
    assert cli.main(words) == 0
    out = capfd.readouterr().out
    assert "1 damaged demonstrations were left out" in out and "plate_tasks/000003: zed_rgb/1.jpg cannot be read" in out
    record = json.loads((tmp_path / "dataset" / "conversion.json").read_text())
    assert list(record["skipped"]) == ["plate_tasks/000003"]
    assert str(tmp_path) not in json.dumps(record)
    assert cli.main((*words, "strict=true")) == 2
    assert "Episode plate_tasks/000003" in capfd.readouterr().err


def test_killed_by_the_system_it_ends_at_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL to the command alone (its workers must not live on), before the first episode is in place and after it."""
    write_real(tmp_path / "demos")
    words = ("convert", str(tmp_path / "demos"), str(tmp_path / "undisturbed"), "num_workers=1")
    assert cli.main(words) == 0
    out = tmp_path / "dataset"
    command = [sys.executable, "-m", "vla3d", "convert", str(tmp_path / "demos"), str(out), "num_workers=2"]
    for waits_for in (".partial", "[a-z]*/[0-9]*"):
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 100
            while program.poll() is None and not any(out.glob(waits_for)) and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            program.kill()
            _, errors = program.communicate()
        assert "leaked" not in errors, errors
    assert cli.main(("convert", str(tmp_path / "demos"), str(out), "num_workers=1")) == 0
    assert files(out) == files(tmp_path / "undisturbed")
