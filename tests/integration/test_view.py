"""`vla3d view` on real demonstrations and rollouts: what is written, what is said, what is refused."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vla3d import cli
from vla3d.data import DemoDataset
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.rollout import evaluate
from vla3d.policies.bridgevla import BridgeVLA
from vla3d.types import RgbdFrame

TASK = "pick_and_lift"
TINY = {
    "workspace_low": (0.2, -0.36, 0.004),
    "workspace_high": (0.92, 0.36, 0.69),
    "backbone": {"size": "nano", "resolution": 32, "vision_width": 32, "text_width": 32, "text_layers": 1},
    "head_width": 16,
    "action_width": 32,
}


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main(["view", *map(str, words)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def checkpoint(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that knows nothing; not to be written to."""
    folder = tmp_path_factory.mktemp("policy") / "policy"
    dataset = DemoDataset(demos)
    sentences = [sentence for ref in dataset.episodes() for sentence in dataset.info(ref).paraphrases]
    BridgeVLA.from_config(TINY, sentences=sentences, seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One episode of the random policy; not to be written to."""
    out = tmp_path_factory.mktemp("rollout") / "rollout"
    evaluate(config(out, policy="random"))
    return out


def config(out: Path, **policy: object) -> RolloutConfig:
    common = {"episodes": 1, "num_workers": 1, "videos": "none", "report": False, "image_size": 48, "renderer": "raycast"}
    return RolloutConfig(tasks=[TASK], out=out, **common, **policy)  # type: ignore[arg-type]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Demonstrations


def test_a_demonstration_with_a_policy_that_thinks_along(
    demos: Path, checkpoint: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    pytest.importorskip("rerun", reason="needs the viz extra")
    first = DemoDataset(demos).episodes()[0]
    code, out, err = call(demos, "format=all", f"checkpoint={checkpoint}", f"out={tmp_path / 'out'}")
    assert (code, err) == (0, "")
    name = f"{TASK}_{first.attempt:04d}"
    assert files(tmp_path / "out") == {"view.json", *(f"{name}{suffix}" for suffix in (".mp4", ".png", ".rrd"))}
    assert all(f"  {tmp_path / 'out' / name}{suffix}\n" in out for suffix in (".mp4", ".png", ".rrd"))
    content = (tmp_path / "out" / f"{name}.rrd").read_bytes()
    for entity in ("/world/cloud", "/world/predicted_keyframe", "/world/cameras/front/depth", "/looks/2/right/heat"):
        assert entity.encode() in content, entity


def test_the_sheet_has_a_row_for_each_keyframe_and_the_end(
    demos: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    ref = DemoDataset(demos).episodes()[1]
    keyframes = len(DemoDataset(demos).info(ref).keyframes)
    assert call(ref.folder(demos), "format=png", f"out={tmp_path}")[0] == 0
    with Image.open(tmp_path / f"{TASK}_{ref.attempt:04d}.png") as sheet:
        height, picture = sheet.height, np.asarray(sheet)
    rows = [picture[132 + row * 174 : 300 + row * 174] for row in range(keyframes + 1)]
    assert 0 < height - (132 + (keyframes + 1) * 174) < 60
    assert all(row[:, 24:192].std() > 10 for row in rows), "every row has its camera image"
    assert all(row[40:, 220:700].std() > 5 for row in rows), "and the virtual views, also without a policy"


def test_auto_is_a_video_where_rerun_is_missing(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setattr("vla3d.inspection.viewers.available", lambda name: False)
    assert call(demos, f"out={tmp_path}")[0] == 0
    assert {Path(name).suffix for name in files(tmp_path)} == {".mp4", ".json"}
    monkeypatch.setitem(sys.modules, "rerun", None)
    code, _, err = call(demos, f"out={tmp_path}", "format=rerun")
    assert code == 2 and "pip install 'vla3d[viz]'" in err


# Rollouts


def test_a_rollout_is_run_again_and_takes_the_same_course(
    rollout: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = call(rollout, "format=png", f"out={tmp_path}")
    record = json.loads(next(rollout.glob("episodes/*/*.json")).read_text())
    assert (code, err) == (0, "")
    assert out.startswith(f"{TASK} 0: failure") and record["instruction"] in out
    assert "another course" not in out
    with Image.open(tmp_path / f"{TASK}_0000.png") as sheet:
        assert sheet.height == 132 + (len(record["actions"]) + 1) * 174 + 24


def test_another_course_is_told(rollout: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    copy = Path(shutil.copytree(rollout, tmp_path / "rollout"))
    path = next(copy.glob("episodes/*/*.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"success": True}))
    code, out, _ = call(path, "format=png", f"out={tmp_path / 'out'}")
    assert code == 0 and "took another course than the one recorded" in out


def test_a_rollout_whose_checkpoint_is_gone(
    rollout: Path, checkpoint: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    copy = Path(shutil.copytree(rollout, tmp_path / "rollout"))
    settings = json.loads((copy / "settings.json").read_text())
    (copy / "settings.json").write_text(json.dumps(settings | {"policy": "bridgevla", "checkpoint_sha256": "0" * 64}))
    code, out, _ = call(copy, "format=png", f"out={tmp_path / 'out'}")
    assert code == 0
    assert out.startswith("The rollout's checkpoint is gone or was trained on") and "without heatmaps" in out.splitlines()[0]
    assert (tmp_path / "out" / f"{TASK}_0000.png").exists()
    code, out, _ = call(copy, "format=png", f"out={tmp_path / 'out'}", f"checkpoint={checkpoint}")
    assert code == 0 and "gone" not in out


@pytest.mark.slow
def test_a_learned_rollout_finds_its_own_checkpoint(
    checkpoint: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    evaluate(config(tmp_path / "runs" / "rollout", checkpoint=checkpoint))
    code, out, _ = call(tmp_path / "runs" / "rollout", "format=all", f"out={tmp_path / 'out'}")
    assert code == 0 and "gone" not in out and "another course" not in out
    assert b"/looks/1/top/heat" in (tmp_path / "out" / f"{TASK}_0000.rrd").read_bytes()
    summary = json.loads((tmp_path / "runs" / "rollout" / "rollout.json").read_text())
    assert summary["checkpoint"] == str(checkpoint)


# Cameras


def write_cameras(demos: Path, folder: Path, move: np.ndarray) -> Path:
    """The first instant of a demonstration as a folder of one's own; the left camera's pose is off."""
    dataset = DemoDataset(demos)
    frames: dict[str, RgbdFrame] = dict(dataset.read_steps(dataset.episodes()[0], [0])[0].observation.frames)
    folder.mkdir()
    cameras = {}
    for name, frame in frames.items():
        Image.fromarray(frame.rgb).save(folder / f"{name}.png")
        np.save(folder / f"{name}.npy", frame.depth)
        pose = frame.T_world_camera @ move if name == "left_shoulder" else frame.T_world_camera
        cameras[name] = {
            "intrinsics": frame.intrinsics.tolist(),
            "T_world_camera": pose.tolist(),
            "rgb": f"{name}.png",
            "depth": f"{name}.npy",
        }
    (folder / "cameras.json").write_text(json.dumps(cameras))
    return folder


def test_the_simulators_cameras_agree(demos: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = call("cameras", demos, f"out={tmp_path}")
    assert (code, err) == (0, "")
    assert "The cameras agree" in out and "disagree" not in out
    assert "Suggested workspace: policy.workspace_low=[" in out
    assert {"cameras.png", "view.json"} <= files(tmp_path)


def test_a_camera_that_is_off_is_named(demos: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    move = np.eye(4)
    angle = np.radians(3)
    move[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    move[:3, 3] = 0.02, 0, 0
    code, out, _ = call("cameras", write_cameras(demos, tmp_path / "mine", move), f"out={tmp_path / 'out'}")
    assert code == 0
    assert "check the extrinsics of left_shoulder." in out and "One camera explains it: left_shoulder." in out
    with Image.open(tmp_path / "out" / "cameras.png") as picture:
        assert picture.width > 1000


# Mistakes


@pytest.mark.parametrize(
    ("where", "words", "part"),
    [
        ("rollout", [], "is not an episode record"),
        ("uninstalled", [], "'levitate', which is not installed here"),
        ("settings", [], "cannot be read"),
        ("demos", [], "array"),
        ("demos", ["episode=99"], "has no episode 99"),
        ("demos", ["out={demos}/pictures"], "lies inside the dataset"),
        ("demos", ["checkpoint=nowhere"], "No checkpoint in nowhere"),
        ("empty", [], "is an empty folder"),
        ("cameras rollout", [], "is a rollout, which keeps no depth"),
        ("cameras empty", [], "expected a folder with cameras.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_mistake_is_one_sentence(
    where: str,
    words: list[str],
    part: str,
    demos: Path,
    rollout: Path,
    tmp_path: Path,
    call: Callable[..., tuple[int, str, str]],
) -> None:
    subject, _, name = where.rpartition(" ")
    copies = {
        "demos": Path(shutil.copytree(demos, tmp_path / "demos")),
        "rollout": Path(shutil.copytree(rollout, tmp_path / "rollout")),
        "empty": tmp_path / "empty",
    }
    copies["empty"].mkdir()
    record = next(copies["rollout"].glob("episodes/*/*.json"))
    if name == "uninstalled":
        record.rename(record.with_suffix(".old"))
        (copies["rollout"] / "episodes" / "levitate").mkdir()
        other = json.loads(record.with_suffix(".old").read_text()) | {"task": "levitate"}
        (copies["rollout"] / "episodes" / "levitate" / "0000.json").write_text(json.dumps(other))
    elif not subject:
        damaged = {"rollout": record, "settings": copies["rollout"] / "settings.json"}.get(name)
        if damaged is not None:
            damaged.write_text(damaged.read_text()[:60])
    if name == "demos" and not words:
        shard = next(path for path in copies["demos"].rglob("*") if "depth" in str(path) and path.name.startswith("c"))
        shard.write_bytes(shard.read_bytes()[:100])
    place = copies.get(name, copies["rollout"])
    given = [word.format(demos=copies["demos"]) for word in words] or [f"out={tmp_path / 'out'}"]
    code, _, err = call(*([subject] if subject else []), place, *given)
    assert code == 2 and err.startswith("vla3d: ") and err.count("\n") == 1, err
    assert part in err
    assert not list(tmp_path.rglob("*.png"))
