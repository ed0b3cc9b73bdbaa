"""The gymnasium side: registered, checked, vectorised, and the same as the environment underneath."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN, gymnasium_id, register_gymnasium
from vla3d.envs.tabletop.expert import top_down
from vla3d.envs.tabletop.gym_adapter import action_from_dict, action_to_dict
from vla3d.errors import ConfigError
from vla3d.types import KeyframeAction

SMALL = {"image_size": 32}


def expert_action(env: gym.Env) -> dict[str, Any]:
    return action_to_dict(env.unwrapped.keyframe_env.expert().next_action())


def test_ids() -> None:
    assert [gymnasium_id(task) for task in BUILT_IN] == [
        "vla3d/PickAndLift-v0",
        "vla3d/PlaceInContainer-v0",
        "vla3d/OpenDrawer-v0",
        "vla3d/PushButtons-v0",
        "vla3d/ReachTarget-v0",
        "vla3d/StackBlocks-v0",
        "vla3d/PutItemInDrawer-v0",
        "vla3d/SlideBlockToTarget-v0",
        "vla3d/LiftByRelation-v0",
        "vla3d/PutTwoInContainer-v0",
        "vla3d/PutTwoInDrawer-v0",
        "vla3d/StackFourBlocks-v0",
    ]
    register_gymnasium()  # twice does not warn


# Metres mean more to a reader than a normalised box, which is all this advice is about.
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space.*:UserWarning")
@pytest.mark.parametrize("task", BUILT_IN)
def test_gymnasiums_checker_passes(task: str) -> None:
    env = gym.make(gymnasium_id(task), **SMALL)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_an_episode_through_gymnasium() -> None:
    env = gym.make("vla3d/PickAndLift-v0", render_mode="rgb_array", **SMALL)
    observation, info = env.reset(seed=5, options={"variation": 2})
    assert info["variation"] == 2 and "yellow" in observation["instruction"]
    assert env.render().shape == (32, 32, 3)
    total = 0.0
    for _ in range(3):
        observation, reward, terminated, truncated, info = env.step(expert_action(env))
        total += reward
    assert terminated and not truncated and total == 1.0 and info["success"] and info["failure"] == ""
    with pytest.raises(ConfigError, match="variaton"):
        env.reset(options={"variaton": 2})
    env.close()


def test_resets_without_a_seed_follow_from_the_last_one() -> None:
    env = gym.make("vla3d/OpenDrawer-v0", renderer=None)
    runs = []
    for _ in range(2):
        env.reset(seed=1)
        runs.append([env.reset()[0]["instruction"] for _ in range(5)])
    assert runs[0] == runs[1] and len(set(runs[0])) > 1
    with pytest.raises(ConfigError, match="render_mode"):
        gym.make("vla3d/OpenDrawer-v0", renderer=None, render_mode="rgb_array")
    env.close()


def test_action_round_trip() -> None:
    action = KeyframeAction(
        position=np.array([0.4, 0.1, 0.2]), quaternion=top_down(0.3), gripper_open=False, ignore_collisions=True, answer="done"
    )
    back = action_from_dict(action_to_dict(action))
    assert (back.gripper_open, back.ignore_collisions, back.answer) == (False, True, "done")
    np.testing.assert_array_equal(back.position, action.position)
    np.testing.assert_array_equal(back.quaternion, action.quaternion)
    with pytest.raises(ConfigError, match="quaternion"):
        action_from_dict({"position": np.zeros(3)})


def batch(actions: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: np.stack([action[key] for action in actions]) for key in actions[0]}


def test_vector_of_worlds_equals_the_single_ones() -> None:
    """Two worlds that share a renderer, over an episode's end, against one world each."""
    vector = gym.make_vec("vla3d/PlaceInContainer-v0", num_envs=2, **SMALL)
    singles = [gym.make("vla3d/PlaceInContainer-v0", **SMALL) for _ in range(2)]
    batched, _ = vector.reset(seed=7)
    observations = [env.reset(seed=7 + index)[0] for index, env in enumerate(singles)]
    ended = np.zeros(2, dtype=bool)
    for step in range(6):
        same(batched, observations)
        actions = [expert_action(env) for env in singles]
        if step == 1:  # one world ends early, so the two are at different points from here on
            actions[1]["answer"] = np.int64(3)
        batched, rewards, terminated, truncated, _ = vector.step(batch(actions))
        for index, env in enumerate(singles):
            if ended[index]:
                observations[index], expected = env.reset()[0], (0.0, False, False)
            else:
                observations[index], *rest, _ = env.step(actions[index])
                expected = tuple(rest)
            assert (rewards[index], terminated[index], truncated[index]) == expected
        ended = terminated | truncated
    same(batched, observations)
    vector.close()
    for env in singles:
        env.close()


def same(batched: dict[str, Any], observations: list[dict[str, Any]]) -> None:
    for index, observation in enumerate(observations):
        assert batched["instruction"][index] == observation["instruction"]
        np.testing.assert_array_equal(batched["joint_positions"][index], observation["joint_positions"])
        for name, frame in observation["frames"].items():
            for key, value in frame.items():
                np.testing.assert_array_equal(batched["frames"][name][key][index], value, err_msg=f"{name} {key}")


def test_gymnasiums_own_vector_works_too() -> None:
    vector = gym.make_vec("vla3d/OpenDrawer-v0", num_envs=2, vectorization_mode="sync", renderer=None)
    observations, _ = vector.reset(seed=3)
    assert len(observations["instruction"]) == 2
    vector.close()


def test_only_tabletop_tasks_share_a_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    from vla3d.envs.tabletop import gym_adapter

    monkeypatch.setattr(gym_adapter, "make_env", lambda *args, **kwargs: object())
    with pytest.raises(ConfigError, match="sync"):
        gym_adapter.TabletopVectorEnv(2, "elsewhere")


def test_make_env_and_gymnasium_agree() -> None:
    env = gym.make("vla3d/PickAndLift-v0", **SMALL)
    plain = make_env("pick_and_lift", image_size=32).reset(seed=13)
    observation, _ = env.reset(seed=13)
    assert observation["instruction"] == plain.instruction
    np.testing.assert_array_equal(observation["frames"]["wrist"]["rgb"], plain.frames["wrist"].rgb)
    env.close()
