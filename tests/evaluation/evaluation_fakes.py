"""A world small enough to reason about: coloured balls on a table, a hand that teleports, and policies for it."""

import json
from collections.abc import Callable

import numpy as np

from vla3d.errors import ConfigError
from vla3d.policies.base import Policy, PolicyExplanation
from vla3d.types import Alternative, Expert, KeyframeAction, Observation, RgbdFrame, StepResult, Workspace

COLORS = {"red": (210, 60, 50), "green": (60, 170, 80), "blue": (60, 90, 210)}
CAMERAS = ("front", "left_shoulder", "right_shoulder", "wrist")
TOP_DOWN = np.array([0.0, 1.0, 0.0, 0.0])


def sentence(color: str) -> str:
    return f"lift the {color} ball"


class FakeEnv:
    """Three balls; the goal is to close the gripper on the named one. Closing on another, or on nothing, does not end it."""

    step_limit = 4
    num_variations = 3
    camera_names = CAMERAS

    def __init__(self, task: str = "fake", image_size: int = 32) -> None:
        self.task = task
        self.size = image_size
        self.workspace = Workspace.from_bounds([0.2, -0.3, 0.0], [0.8, 0.3, 0.6])
        self.instance_names = dict(enumerate(COLORS, start=1))
        self.closed = False

    def reset(self, *, seed: int, variation: int | None = None, paraphrase: int | None = None) -> Observation:
        rng = np.random.default_rng(seed)
        # Each in its own stripe, so that they never touch.
        self.balls = {
            name: rng.uniform([0.3, y, 0.02], [0.7, y + 0.1, 0.02])
            for name, y in zip(COLORS, (-0.25, -0.05, 0.15), strict=True)
        }
        self.target = list(COLORS)[int(rng.integers(3)) if variation is None else variation]
        self.hand, self.open, self.held = np.array([0.5, 0.0, 0.4]), True, None
        self.steps, self.time = 0, 0.0
        return self.observe()

    def reset_to(self, state: bytes) -> Observation:
        self.load_state(state)
        return self.observe()

    def save_state(self) -> bytes:
        balls = {name: place.tolist() for name, place in self.balls.items()}
        return json.dumps([balls, self.target, self.hand.tolist(), self.open, self.held, self.steps, self.time]).encode()

    def load_state(self, state: bytes) -> None:
        balls, self.target, hand, self.open, self.held, self.steps, self.time = json.loads(state)
        self.balls, self.hand = {name: np.array(place) for name, place in balls.items()}, np.array(hand)

    @property
    def variation(self) -> int:
        return list(COLORS).index(self.target)

    @property
    def instruction(self) -> str:
        return sentence(self.target)

    @property
    def paraphrases(self) -> tuple[str, ...]:
        return (self.instruction,)

    @property
    def joint_velocities(self) -> np.ndarray:
        return np.zeros(7)

    def swap_instruction(self) -> str:
        return sentence(next(name for name in COLORS if name != self.target))

    def absent_instruction(self) -> str:
        return sentence("black")

    def success_for(self, instruction: str) -> bool:
        if instruction not in map(sentence, (*COLORS, "black")):
            raise ConfigError(instruction)
        return self.held is not None and sentence(self.held) == instruction

    def alternatives(self) -> tuple[Alternative, ...]:
        return ()

    def expert(self) -> Expert:
        return Towards(self, lambda: self.target)

    def step(self, action: KeyframeAction, on_tick: Callable[[], None] | None = None) -> StepResult:
        self.steps += 1
        failure = None
        if action.answer == "move":
            failure = self._move(action, on_tick)
        success = self.success_for(self.instruction)
        truncated = self.steps >= self.step_limit and not success
        terminated = success or action.answer != "move"
        if (terminated or truncated) and not success:
            gave_up = "gave_up" if action.answer != "move" else "timeout"
            failure = "wrong_object" if self.held else failure or gave_up
        return StepResult(
            observation=self.observe(), success=success, terminated=terminated, truncated=truncated, failure=failure
        )

    def _move(self, action: KeyframeAction, on_tick: Callable[[], None] | None) -> str | None:
        if not self.workspace.contains(action.position):
            return "unreachable"
        begin = self.hand
        for share in np.linspace(0.25, 1, 4):
            self.hand = begin + share * (action.position - begin)
            self.time += 0.1
            if on_tick is not None:
                on_tick()
        self.open = action.gripper_open
        near = [name for name, place in self.balls.items() if np.linalg.norm(place - self.hand) < 0.02]
        self.held = near[0] if near and not self.open else None
        return None

    def observe(self) -> Observation:
        frame = self._draw()
        return Observation(
            frames={name: frame for name in CAMERAS},
            instruction=self.instruction,
            gripper_position=self.hand.copy(),
            gripper_quaternion=TOP_DOWN,
            gripper_width=0.08 if self.open else 0.0,
            gripper_open=self.open,
            joint_positions=np.zeros(7),
            step=self.steps,
            step_limit=self.step_limit,
        )

    def _draw(self) -> RgbdFrame:
        rgb = np.full((self.size, self.size, 3), 200, dtype=np.uint8)
        depth = np.full((self.size, self.size), 1.0, dtype=np.float32)
        rows, columns = np.mgrid[: self.size, : self.size]
        marks = [*((self.balls[name], COLORS[name], 3) for name in COLORS), (self.hand, (20, 20, 20), 2)]
        for place, color, radius in marks:
            row, column = (0.8 - place[0]) / 0.6 * self.size, (0.3 - place[1]) / 0.6 * self.size
            inside = (rows - row) ** 2 + (columns - column) ** 2 <= (radius * self.size / 32) ** 2
            rgb[inside], depth[inside] = color, 0.8
        pose = np.eye(4)
        return RgbdFrame(
            rgb=rgb, depth=depth, intrinsics=np.array([[32.0, 0, 16], [0, 32, 16], [0, 0, 1]]), T_world_camera=pose
        )

    def close(self) -> None:
        self.closed = True


class Towards:
    """Closes the gripper on one ball: first above it, then down."""

    def __init__(self, env: FakeEnv, which: Callable[[], str]) -> None:
        self.env, self.which = env, which

    def next_action(self) -> KeyframeAction:
        place = self.env.balls[self.which()]
        above = np.linalg.norm(self.env.hand[:2] - place[:2]) < 1e-6
        target = place if above else place + np.array([0, 0, 0.2])
        return KeyframeAction(position=target, quaternion=TOP_DOWN, gripper_open=not above, ignore_collisions=bool(above))


class Obedient(Policy):
    """Does what the sentence says, and what its own favourite is when it cannot read."""

    def __init__(self, favourite: str = "blue") -> None:
        self.favourite = favourite

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        self.env = expert.env

    def act(self, observation: Observation) -> KeyframeAction:
        color = self.favourite if self.mask_text else observation.instruction.split()[2]
        self.last = self.env.balls[color]
        return Towards(self.env, lambda: color).next_action()

    def explain(self) -> PolicyExplanation:
        size, rng = 48, np.random.default_rng(0)
        views = np.zeros((2, 3, 3, size, size), dtype=np.float32)
        views[..., 10:38, 10:38] = rng.uniform(0.3, 0.7, (2, 3, 3, 28, 28))
        rows, columns = np.mgrid[:size, :size]
        heat = np.exp(-((rows - 30) ** 2 + (columns - 18) ** 2) / 18).astype(np.float32)
        heatmaps = np.broadcast_to(heat / heat.sum(), (2, 3, size, size)).copy()
        return PolicyExplanation(
            view_names=("top", "front", "right"), views=views, heatmaps=heatmaps, positions=np.zeros((2, 3), np.float32)
        )


class Stubborn(Obedient):
    """Reads nothing: always goes for the episode's own target."""

    def act(self, observation: Observation) -> KeyframeAction:
        return Towards(self.env, lambda: self.env.target).next_action()
