"""Rerun recordings: written, readable, whole or not there."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vla3d.errors import MissingExtraError
from vla3d.types import KeyframeAction, Observation, RgbdFrame, Workspace
from vla3d.viz.rerun import EpisodeLog

WORKSPACE = Workspace.from_bounds([0.2, -0.3, 0], [0.8, 0.3, 0.6])


def observation(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    frame = RgbdFrame(
        rgb=rng.integers(0, 255, (16, 16, 3), dtype=np.uint8),
        depth=np.where(rng.random((16, 16)) < 0.1, np.nan, 0.9).astype(np.float32),
        intrinsics=np.array([[20.0, 0, 8], [0, 20, 8], [0, 0, 1]]),
        T_world_camera=np.eye(4),
    )
    return Observation(
        frames={"front": frame, "wrist": frame},
        instruction="lift the red ball",
        gripper_position=np.array([0.5, 0, 0.3]),
        gripper_quaternion=np.array([0, 1.0, 0, 0]),
        gripper_width=0.08,
        gripper_open=True,
        joint_positions=np.zeros(7),
    )


def record(path: Path) -> None:
    log = EpisodeLog(path, workspace=WORKSPACE, name="pick 3")
    log.at(0.0, 0)
    log.sentence("lift the red ball")
    log.observation(observation())
    log.looks(
        ("top",), np.ones((2, 1, 3, 8, 8), np.float32), np.ones((2, 1, 8, 8), np.float32) / 64, np.zeros((2, 3), np.float32)
    )
    log.action(KeyframeAction(position=np.array([0.5, 0, 0.1]), quaternion=np.array([0, 1.0, 0, 0]), gripper_open=False))
    log.action(KeyframeAction(position=np.zeros(3), quaternion=np.array([1.0, 0, 0, 0]), gripper_open=True, answer="absent"))
    log.say("collision", level="WARN")
    assert not path.exists(), "an unfinished recording must not look finished"
    log.close()


def test_recording_holds_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="needs the viz extra")
    path = tmp_path / "deep" / "0003.rrd"
    record(path)
    content = path.read_bytes()
    assert content[:4] == b"RRF2"
    assert [p.name for p in path.parent.iterdir()] == ["0003.rrd"]
    for entity in (
        "/world/cameras/front/color",
        "/world/cameras/wrist/depth",
        "/world/gripper",
        "/looks/2/top/heat",
        "/instruction",
    ):
        assert entity.encode() in content, entity


def test_without_rerun_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vla3d\[viz\]'"):
        EpisodeLog(tmp_path / "a.rrd", workspace=WORKSPACE)
