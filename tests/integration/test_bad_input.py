"""What a user can get wrong, each through the command line: one sentence, exit code 2, and nothing already written is lost.

Mistyped names and values are in `tests/test_cli.py`; every room tests its own refusals in more detail.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla3d import cli
from vla3d.data import DatasetWriter, DemoDataset
from vla3d.data.locking import DatasetLock
from vla3d.data.store import write_group
from vla3d.policies.learned import load_policy
from vla3d.training.checkpoint import policy_directory
from vla3d.types import Episode, Observation, RgbdFrame

TASK = "pick_and_lift"
SMALL = (
    "policy=bridgevla_nano",
    "policy.backbone={size: nano, resolution: 32, vision_width: 32, text_width: 32, text_layers: 1, max_text_tokens: 32}",
    "policy.head_width=16",
    "policy.action_width=32",
    "trainer.batch_size=4",
    "trainer.warmup_steps=1",
    "trainer.progress=false",
)
SMALL_SCENES = ("tasks=[pick_and_lift]", "image_size=48", "renderer=raycast", "num_workers=1")


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; its one sentence."""

    def run(*words: str) -> str:
        code = cli.main(words)
        _, err = capfd.readouterr()
        assert code == 2, err
        sentence = err.rstrip("\n").rsplit("\n", 1)[-1].rsplit("\r", 1)[-1]  # behind the progress bars
        assert sentence.startswith("vla3d: ") and "Traceback" not in err
        return sentence

    return run


def train_words(data: Path, out: Path, *more: str) -> tuple[str, ...]:
    return ("train", f"data={data}", f"out={out}", "steps=2", *SMALL, *more)


def altered(demos: Path, out: Path, change: Callable[[Episode], Episode], attempt: int = 1) -> Path:
    """A copy of a dataset in which one episode is another."""
    source = DemoDataset(demos)
    with DatasetWriter(out, source.request) as writer:
        for ref in source.episodes():
            episode = source.read(ref)
            writer.add(change(episode) if ref.attempt == attempt else episode, ref.attempt)
    return out


def with_frames(change: Callable[[dict[str, RgbdFrame]], dict[str, RgbdFrame]]) -> Callable[[Episode], Episode]:
    def changed(episode: Episode) -> Episode:
        def observed(observation: Observation) -> Observation:
            return replace(observation, frames=change(dict(observation.frames)))

        return replace(episode, steps=[replace(step, observation=observed(step.observation)) for step in episode.steps])

    return changed


def with_depth(value: float) -> Callable[[Episode], Episode]:
    def blind(frames: dict[str, RgbdFrame]) -> dict[str, RgbdFrame]:
        return {name: replace(frame, depth=np.full_like(frame.depth, value)) for name, frame in frames.items()}

    return with_frames(blind)


@pytest.fixture
def copied(demos: Path, tmp_path: Path) -> Path:
    """The demonstrations, to be damaged."""
    return Path(shutil.copytree(demos, tmp_path / "demos"))


def shard(dataset: Path, attempt: int, array: str) -> Path:
    files = (dataset / TASK / f"{attempt:06d}").rglob("*")
    return next(path for path in files if array in str(path) and path.is_file() and path.name != "zarr.json")


# Datasets


def test_a_dataset_of_another_schema(copied: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    write_group(copied, {"schema_version": 99, "request": {}}, where="test")
    for words in (train_words(copied, tmp_path / "run"), ("info", str(copied)), ("collect", *SMALL_SCENES, f"out={copied}")):
        assert "got schema version 99" in refused(*words)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_chunk_names_its_episode_and_can_be_skipped(
    damage: str, copied: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = shard(copied, 1, "depth")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 3] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
    sentence = refused(*train_words(copied, tmp_path / "run"))
    assert f"Episode {TASK}/000001, array 'depth" in sentence
    assert "demos.on_corrupt=skip" in sentence or 'on_corrupt="skip"' in sentence
    assert not (tmp_path / "run").exists()
    assert cli.main(train_words(copied, tmp_path / "run", "demos.on_corrupt=skip")) == 0
    settings = json.loads((tmp_path / "run" / "trainer.json").read_text())["settings"]
    assert settings["train_episodes"] + settings["validation_episodes"] == [f"{TASK}/000000", f"{TASK}/000002"]


def test_a_missing_camera(demos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    data = altered(demos, tmp_path / "demos", with_frames(lambda frames: {k: v for k, v in frames.items() if k != "wrist"}))
    assert f"camera of episode {TASK}/000001 'wrist'" in refused(*train_words(data, tmp_path / "run"))
    assert "Choices: front, left_shoulder" in refused(*train_words(demos, tmp_path / "run", "policy.cameras=[front,lft]"))


@pytest.mark.parametrize("depth", [0.0, np.nan])
def test_depth_without_a_measurement_names_the_demo(
    depth: float, demos: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    data = altered(demos, tmp_path / "demos", with_depth(depth))
    sentence = refused(*train_words(data, tmp_path / "run"))
    assert f"Episode {TASK}/000001, step 0: No depth was measured inside the workspace" in sentence


@pytest.mark.parametrize(
    ("instruction", "part"),
    [("", "Instruction 0 is ''"), ("   ", "expected words"), ("lift the cube " * 667, "tokens, expected at most 32")],
    ids=["empty", "blank", "2,000 words"],
)
def test_an_instruction_that_cannot_be_read_whole(
    instruction: str, part: str, demos: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    data = altered(demos, tmp_path / "demos", lambda e: replace(e, instruction=instruction, paraphrases=()), attempt=0)
    sentence = refused(*train_words(data, tmp_path / "run"))
    assert part in sentence and len(sentence) < 400


def test_a_non_ascii_instruction_is_learnt(demos: Path, tmp_path: Path) -> None:
    sentence = "soulève le cube « bleu » 持ち上げて"
    data = altered(demos, tmp_path / "demos", lambda e: replace(e, instruction=sentence, paraphrases=()), attempt=0)
    assert cli.main(train_words(data, tmp_path / "run")) == 0
    policy = load_policy(policy_directory(tmp_path / "run"))
    observation = DemoDataset(demos).read(DemoDataset(demos).episodes()[0]).steps[0].observation
    assert np.isfinite(policy.act(observation.with_instruction(sentence)).position).all()


# Checkpoints


@pytest.fixture(scope="module")
def trained(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates; not to be written to."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert cli.main(train_words(demos, run)) == 0
    return run


def test_a_checkpoint_of_another_architecture(trained: Path, demos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    sentence = refused(*train_words(demos, run, "resume=true", "policy.head_width=24", "steps=4"))
    assert "head_width" in sentence
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    config = policy_directory(run) / "policy.json"
    values = json.loads(config.read_text())
    values["config"]["head_width"] = 24
    config.write_text(json.dumps(values))
    sentence = refused("rollout", f"checkpoint={run}", *SMALL_SCENES, f"out={tmp_path / 'rollout'}")
    assert "Use the configuration the checkpoint was trained with" in sentence
    again = ("rollout", "policy=random", *SMALL_SCENES, "episodes=1", "videos=none", "report=false")
    assert cli.main((*again, f"out={tmp_path / 'rollout'}")) == 0, "the refused rollout does not occupy the folder"


@pytest.mark.parametrize("words", [(), ("suite=tabletop8", "suite.only=[standard]")], ids=["rollout", "suite"])
def test_a_checkpoint_trained_with_other_cameras(
    words: tuple[str, ...], trained: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    config = policy_directory(run) / "policy.json"
    values = json.loads(config.read_text())
    values["config"]["cameras"] = ["front", "ceiling"]
    config.write_text(json.dumps(values))
    sentence = refused("rollout", f"checkpoint={run}", *words, *SMALL_SCENES, f"out={tmp_path / 'rollout'}")
    assert "trained with the camera 'ceiling'" in sentence and "left_shoulder" in sentence


def test_a_used_folder_is_refused_before_demos_are_loaded(
    trained: Path, demos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(train_words(demos, trained)) == 2
    err = capfd.readouterr().err
    assert "already holds a run (step-00000002)" in err and "loading" not in err


# A full disk, several at once, Ctrl-C


def with_small_files(words: tuple[str, ...], limit: int) -> subprocess.CompletedProcess[str]:
    """Run a command that may not write files longer than ``limit`` bytes: what a quota or a full disk does."""
    return subprocess.run(
        [sys.executable, "-m", "vla3d", *words],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def test_a_full_disk_while_collecting(copied: Path) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file() and path.name != ".lock"}
    done = with_small_files(("collect", *SMALL_SCENES, "episodes=4", f"out={copied}"), limit=20_000)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "could not be written" in done.stderr and "run the same command again" in done.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_a_full_disk_while_saving(trained: Path, demos: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    done = with_small_files(train_words(demos, run, "steps=4", "resume=true"), limit=100_000)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the checkpoint step-00000002 is intact" in done.stderr
    assert cli.main(train_words(demos, run, "steps=4", "resume=true")) == 0


def test_two_collectors_on_one_dataset(copied: Path, refused: Callable[..., str]) -> None:
    with DatasetLock(copied):
        assert "is being written by process" in refused("collect", *SMALL_SCENES, "episodes=4", f"out={copied}")


def test_ctrl_c_while_training(demos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = train_words(demos, run, "steps=100000", "trainer.save_every=5", "trainer.validate_every=0")
    with subprocess.Popen(
        [sys.executable, "-m", "vla3d", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as running:
        while not (run / "checkpoints" / "last").exists():
            assert running.poll() is None, running.communicate()
        os.killpg(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err and err.rstrip().endswith("Interrupted.")
    last = (run / "checkpoints" / "last").read_text()
    assert cli.main((*words, "resume=true", "trainer.max_minutes=0.001")) == 0
    assert (run / "checkpoints" / "last").read_text() >= last
