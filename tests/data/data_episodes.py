"""Small random but repeatable episodes."""

import numpy as np

from vla3d.types import Alternative, Episode, KeyframeAction, Observation, RgbdFrame, Step


def _frame(rng: np.random.Generator, size: tuple[int, int], exact_depth: bool, segmented: bool) -> RgbdFrame:
    depth = rng.uniform(0.2, 3.0, size).astype(np.float32)
    if exact_depth:
        depth = (np.rint(depth * np.float32(10_000)) / np.float32(10_000)).astype(np.float32)
    else:
        depth[0, 0], depth[0, 1] = np.nan, np.inf
    return RgbdFrame(
        rgb=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        depth=depth,
        intrinsics=rng.normal(size=(3, 3)),
        T_world_camera=rng.normal(size=(4, 4)),
        segmentation=rng.integers(-5, 9, size, dtype=np.int16) if segmented else None,
    )


def _alternative(rng: np.random.Generator, other: int) -> Alternative:
    action = KeyframeAction(
        position=rng.normal(size=3),
        quaternion=rng.normal(size=4),
        gripper_open=other == 0,
        answer="move" if other == 0 else "absent",
    )
    return Alternative(sentences=(f"lift block {other}", "raise the öther"), action=action)


def build(
    *,
    seed: int = 0,
    task: str = "pick_and_lift",
    num_steps: int = 11,
    keyframes: tuple[int, ...] = (4, 10),
    sizes: tuple[tuple[int, int], ...] = ((12, 16), (12, 16)),
    exact_depth: bool = True,
    segmented: tuple[bool, ...] = (True, True),
) -> Episode:
    rng = np.random.default_rng(seed)
    steps = []
    for index in range(num_steps):
        frames = {f"camera_{number}": _frame(rng, size, exact_depth, segmented[number]) for number, size in enumerate(sizes)}
        observation = Observation(
            frames=frames,
            instruction="lift the réd block" if index < num_steps - 1 else "and hold it",
            gripper_position=rng.normal(size=3),
            gripper_quaternion=rng.normal(size=4),
            gripper_width=float(rng.uniform(0, 0.08)),
            gripper_open=bool(rng.integers(2)),
            joint_positions=rng.normal(size=7),
            step=index // 4,
            step_limit=9,
            instance_names={1: "block"},
        )
        action = KeyframeAction(
            position=rng.normal(size=3),
            quaternion=rng.normal(size=4),
            gripper_open=bool(rng.integers(2)),
            ignore_collisions=bool(rng.integers(2)),
            answer="done" if index == num_steps - 1 else "move",
        )
        steps.append(
            Step(
                observation=observation,
                time=0.1 * index,
                arm_moving=bool(rng.integers(2)),
                joint_velocities=rng.normal(size=7),
                action=action if index in keyframes else None,
            )
        )
    return Episode(
        task=task,
        variation=3,
        instruction="lift the réd block",
        paraphrases=("lift the réd block", "raise it"),
        seed=seed,
        success=True,
        steps=steps,
        alternatives=tuple(_alternative(rng, other) for other in range(2)),
        metadata={"attempt": seed, "instances": {"1": "block"}, "nested": [1.5, None, "x"]},
    )
