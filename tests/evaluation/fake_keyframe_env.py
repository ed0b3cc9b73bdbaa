"""A world without physics for testing the collector: everything follows from the seed, and trouble comes when told.

Spawned workers import this module by name.
"""

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vla3d.types import Alternative, Expert, KeyframeAction, Observation, RgbdFrame, StepResult, Workspace

REASONS = ("missed_grasp", "collision", "unreachable", "timeout")


def outcome(seed: int) -> str | None:
    """Whether the fake expert succeeds on a scene: half of them do."""
    draw = int(np.random.default_rng(seed).integers(8))
    return None if draw >= 4 else REASONS[draw]


class FakeEnv:
    """A ``KeyframeEnv``.

    Args:
        delay: seconds that an episode may take at most; the actual time is drawn from the operating system, not the seed.
        hopeless: no episode succeeds.
        fatal: ``"raise"`` or ``"kill"``: what happens on the first failing scene.
        file_limit: largest file that this process may write from now on, bytes (0: no limit); a stand-in for a full disk.
        waypoint: seconds of simulated time that a keyframe takes.
    """

    camera_names = ("front", "wrist")
    step_limit = 6
    num_variations = 3
    instance_names = {1: "block"}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        image_size: int,
        renderer: str,
        *,
        delay: float = 0.0,
        hopeless: bool = False,
        fatal: str = "",
        file_limit: int = 0,
        waypoint: float = 0.25,
    ) -> None:
        self.task = task
        self.workspace = Workspace.from_bounds([0.2, -0.4, 0.0], [0.8, 0.4, 0.6])
        self.paraphrases = ("lift the block", "raise the block")
        self.instruction = self.paraphrases[0]
        self.joint_velocities = np.zeros(7)
        self.time = 0.0
        self.closed = False
        self._size, self._delay, self._hopeless, self._fatal, self._waypoint = image_size, delay, hopeless, fatal, waypoint
        if file_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))

    @property
    def variation(self) -> int:
        return self._seed % 3

    def reset(self, *, seed: int, variation: int | None = None, paraphrase: int | None = None) -> Observation:
        self._seed, self._decisions, self.time = seed, 0, 0.0
        self._rng = np.random.default_rng(seed)
        self._failure = "timeout" if self._hopeless else outcome(seed)
        if self._failure is not None and self._fatal == "raise":
            raise RuntimeError("the fake simulator broke")
        if self._failure is not None and self._fatal == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._delay:
            time.sleep(self._delay * int.from_bytes(os.urandom(1)) / 255)
        self.joint_velocities = np.zeros(7)
        return self.observe()

    def observe(self) -> Observation:
        rng = np.random.default_rng([self._seed, round(self.time * 1000), self._decisions])
        frames = {
            name: RgbdFrame(
                rgb=rng.integers(0, 255, (self._size, self._size, 3), dtype=np.uint8),
                depth=(rng.integers(2000, 20000, (self._size, self._size)) / 1e4).astype(np.float32),
                intrinsics=np.eye(3),
                T_world_camera=np.eye(4),
                segmentation=rng.integers(0, 2, (self._size, self._size), dtype=np.int16),
            )
            for name in self.camera_names
        }
        return Observation(
            frames=frames,
            instruction=self.instruction,
            gripper_position=rng.normal(size=3),
            gripper_quaternion=np.array([1.0, 0, 0, 0]),
            gripper_width=0.08,
            gripper_open=self._decisions < 2,
            joint_positions=rng.normal(size=7),
            step=self._decisions,
            step_limit=self.step_limit,
        )

    def step(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> StepResult:
        self._decisions += 1
        stuck = self._failure in ("collision", "unreachable") and self._decisions == 2
        if not stuck:
            begin = self.time
            self.joint_velocities = np.full(7, 0.5)
            ticks = int(round(self._waypoint * 1000) // 100)
            for tick in range(1, ticks + 1):
                self.time = begin + 0.1 * tick
                if on_tick is not None:
                    on_tick()
            self.time = begin + self._waypoint
            self.joint_velocities = np.zeros(7)
        success = self._decisions == 4 and self._failure is None
        truncated = not success and self._decisions == self.step_limit
        failure = "collision" if stuck and self._failure == "collision" else "unreachable" if stuck else None
        if truncated and self._failure not in ("collision", "unreachable"):
            failure = self._failure
        return StepResult(observation=self.observe(), success=success, terminated=success, truncated=truncated, failure=failure)

    def alternatives(self) -> tuple[Alternative, ...]:
        return ()

    def expert(self) -> Expert:
        env = self

        class _Expert:
            def next_action(self) -> KeyframeAction:
                return KeyframeAction(
                    position=np.full(3, float(env._decisions)), quaternion=np.array([1.0, 0, 0, 0]), gripper_open=False
                )

        return _Expert()

    def close(self) -> None:
        self.closed = True


def make_fake_env(task: str, image_size: int = 16, renderer: str = "warp") -> FakeEnv:
    """A fast one."""
    return FakeEnv(task, image_size, renderer)


def make_slow_env(task: str, image_size: int = 16, renderer: str = "warp") -> FakeEnv:
    """One whose episodes take up to a tenth of a second, each time another."""
    return FakeEnv(task, image_size, renderer, delay=0.1)


def make_hopeless_env(task: str, image_size: int = 16, renderer: str = "warp") -> FakeEnv:
    """One that never succeeds."""
    return FakeEnv(task, image_size, renderer, hopeless=True)


def make_raising_env(task: str, image_size: int = 16, renderer: str = "warp") -> FakeEnv:
    """One whose simulator breaks."""
    return FakeEnv(task, image_size, renderer, fatal="raise")


def make_dying_env(task: str, image_size: int = 16, renderer: str = "warp") -> FakeEnv:
    """One whose process is killed."""
    return FakeEnv(task, image_size, renderer, fatal="kill")


def make_full_disk_env(task: str, image_size: int = 16, renderer: str = "warp") -> FakeEnv:
    """One whose process cannot write a file of more than 4 kB."""
    return FakeEnv(task, image_size, renderer, file_limit=4096)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
