"""The RLBench adapter, held to the published interfaces of RLBench (both forks) by a stand-in; the program is not run here."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fake_rlbench
import numpy as np
import pytest
import torch
from fake_rlbench import GOAL, STEPS_PER_MOTION, VERDICT, World, layout_of

from vla3d.envs.base import RecordedEpisodes, make_env
from vla3d.envs.registration import find_task, task_names
from vla3d.envs.rlbench.env import RLBenchEnv
from vla3d.envs.rlbench.names import COLOSSEUM, COLOSSEUM_FACTORS, RLBENCH_18
from vla3d.envs.rlbench.session import SIMULATOR
from vla3d.errors import ConfigError, DataError, MissingExtraError
from vla3d.geometry import unproject
from vla3d.types import KeyframeAction, StepResult

DOWN = np.array([0.0, 1.0, 0.0, 0.0])
FORKS = pytest.mark.parametrize("world", [True, False], ids=["fork", "upstream"], indirect=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    yield fake_rlbench.install(monkeypatch, fork=getattr(request, "param", True))
    SIMULATOR.close()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("test_split")
    for task in ("close_jar", "open_drawer"):
        fake_rlbench.write_tests(root, task, 3)
    return root


def make(demos: Path | None = None, task: str = "rlbench_close_jar", **changes: object) -> RLBenchEnv:
    env = make_env(task, **{"image_size": 24, "renderer": None, "demos": demos, **changes})  # type: ignore[arg-type]
    assert isinstance(env, RLBenchEnv)
    return env


def move(position: np.ndarray, **changes: object) -> KeyframeAction:
    action = KeyframeAction(position=np.asarray(position), quaternion=DOWN, gripper_open=True)
    return replace(action, **changes)


def begun(demos: Path) -> RLBenchEnv:
    env = make(demos)
    env.reset_to_episode(0)
    return env


# Names and what is missing


def test_the_tasks_are_found_but_not_among_our_own() -> None:
    assert len(RLBENCH_18) == 18 and len(COLOSSEUM) == 20 and sorted(COLOSSEUM_FACTORS.values()) == list(range(1, 18))
    assert not [name for name in task_names() if name.startswith(("rlbench_", "colosseum_"))]
    assert callable(find_task("rlbench_close_jar")) and callable(find_task("colosseum_close_box"))


@pytest.mark.parametrize("task", ["rlbench_close_jar", "colosseum_close_box"])
def test_without_rlbench_one_sentence_says_what_to_install(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rlbench", None)
    with pytest.raises(MissingExtraError) as caught:
        make_env(task)
    for part in ("CoppeliaSim 4.1", "COPPELIASIM_ROOT", "stepjam/PyRep", "231a1ac", "buttomnutstoast/RLBench", "587a6a0"):
        assert part in str(caught.value)


def test_an_unknown_task_is_named(world: World) -> None:
    env = make(task="rlbench_close_jr")
    with pytest.raises(ConfigError, match=r"Unknown RLBench task 'close_jr'\. Did you mean 'close_jar'"):
        env.reset(seed=0)


def test_a_simulated_task_takes_no_recorded_episodes(demos: Path) -> None:
    with pytest.raises(ConfigError, match="test_demos: task 'pick_and_lift' draws its scenes from seeds"):
        make_env("pick_and_lift", demos=demos)


# Beginning


@FORKS
def test_a_recorded_episode_restores_its_random_state_and_variation(world: World, demos: Path) -> None:
    env = make(demos)
    assert isinstance(env, RecordedEpisodes) and env.recorded_episodes == 3
    for number in (2, 0, 2):
        np.random.random(5)  # whatever else draws on the global state
        seen = env.reset_to_episode(number)
        assert seen.instruction == env.instruction == env.paraphrases[0] == f"CloseJar 4 {layout_of(number)}"
        assert env.paraphrases[1] == f"please {env.instruction}"
        assert (env.variation, seen.step, seen.step_limit, env.time) == (4, 0, 25, 0.0)


def test_without_demonstrations_the_seed_decides(world: World) -> None:
    env = make()
    assert isinstance(env, RecordedEpisodes) and env.recorded_episodes == 0
    sentences = [env.reset(seed=seed).instruction for seed in (1, 2, 1)]
    assert sentences[0] == sentences[2] != sentences[1]
    assert env.reset(seed=1, variation=3, paraphrase=1).instruction.startswith("please CloseJar 3 ")
    for keywords, words in (({"variation": 6}, "variation: got 6, expected 0 to 5"), ({"paraphrase": 2}, "paraphrase: got 2")):
        with pytest.raises(ConfigError, match=words):
            env.reset(seed=1, **keywords)  # type: ignore[arg-type]


def test_too_many_episodes_and_missing_tasks_are_named(world: World, demos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has 3 test demonstrations of close_jar, got number 3"):
        make(demos).reset_to_episode(3)
    with pytest.raises(DataError, match="no test demonstrations of put_money_in_safe; it has close_jar, open_drawer"):
        make(demos, "rlbench_put_money_in_safe")
    with pytest.raises(ConfigError, match="give test_demos=DIR"):
        make().reset_to_episode(0)


def test_a_demonstration_without_random_state_is_refused(world: World, tmp_path: Path) -> None:
    fake_rlbench.write_tests(tmp_path, "close_jar", 1)
    path = tmp_path / "close_jar" / "all_variations" / "episodes" / "episode0" / "low_dim_obs.pkl"
    demo = fake_rlbench.rlbench_demos.demo()
    del demo.__dict__["random_seed"]
    path.write_bytes(fake_rlbench.rlbench_demos.dumps(demo))
    with pytest.raises(DataError, match="recorded without its random state"):
        make(tmp_path).reset_to_episode(0)


def test_a_scene_that_cannot_be_laid_out_is_an_error_of_one_sentence(world: World, demos: Path) -> None:
    env = make(demos)
    world.unplaced = 1
    with pytest.raises(DataError, match="test demonstration 1 of rlbench_close_jar cannot be laid out in 1 attempts"):
        env.reset_to_episode(1)
    with pytest.raises(RuntimeError, match="the episode is over"):
        env.step(move(GOAL))


# Seeing


def test_the_points_are_rlbenchs(world: World, demos: Path) -> None:
    env = make(demos, renderer="warp")
    seen = env.reset_to_episode(0)
    assert tuple(seen.frames) == tuple(env.camera_names) == ("front", "left_shoulder", "right_shoulder", "wrist")
    for name, frame in seen.frames.items():
        points, _ = unproject(
            torch.from_numpy(frame.depth).double(), torch.from_numpy(frame.intrinsics), torch.from_numpy(frame.T_world_camera)
        )
        eye, rays = fake_rlbench.rlbench_demos.pixel_rays((24, 24), name)
        np.testing.assert_allclose(points, eye + rays * frame.depth[..., None].astype(np.float64), atol=1e-9)
        table = np.isclose(points[..., 2], 0.75, atol=1e-5).sum()
        assert table > 100, "the table lies at 0.75 m"


def test_the_gripper_is_seen_in_our_conventions(world: World, demos: Path) -> None:
    env = begun(demos)
    turned = np.array([0.5, 0.1, -0.7, 0.5])
    turned /= np.linalg.norm(turned)
    seen = env.step(move(np.array([0.1, -0.1, 1.1]), quaternion=turned, gripper_open=False)).observation
    np.testing.assert_allclose(seen.gripper_position, (0.1, -0.1, 1.1))
    np.testing.assert_allclose(seen.gripper_quaternion, turned)
    assert not seen.gripper_open and seen.gripper_width == pytest.approx(0.02) and seen.step == 1
    assert seen.frames == {}


# Acting


@FORKS
def test_the_action_arrives_as_rlbench_takes_it(world: World, demos: Path) -> None:
    env = begun(demos)
    env.step(move(np.array([0.1, 0.2, 1.0]), quaternion=np.array([0.0, 2.0, 0.0, 0.0]), ignore_collisions=True))
    ((checked, pose),) = world.calls
    assert not checked and world.gripper == [1.0]
    np.testing.assert_allclose(pose, [0.1, 0.2, 1.0, 1.0, 0.0, 0.0, 0.0])  # xyzw, of unit length


@FORKS
def test_targets_outside_are_clipped_into_the_workspace(world: World, demos: Path) -> None:
    env = begun(demos)
    result = env.step(move(np.array([-5.0, 0.5, 1.6]), ignore_collisions=True))
    assert result.failure is None
    np.testing.assert_allclose(world.calls[-1][1][:3], [-0.3, 0.5, 1.6], atol=2e-7)
    assert (world.calls[-1][1][:3] > fake_rlbench.LOW).all() and (world.calls[-1][1][:3] < fake_rlbench.HIGH).all()


@FORKS
def test_a_path_without_collisions_is_tried_first_and_then_one_with(world: World, demos: Path) -> None:
    env = begun(demos)
    assert env.step(move(np.array([0.1, 0.2, 1.0]))).failure is None
    assert [checked for checked, _ in world.calls] == [True]
    assert env.step(move(np.array([0.1, 0.2, 0.8]))).failure is None  # collides, and is done all the same
    assert [checked for checked, _ in world.calls] == [True, True, False]
    env.step(move(np.array([0.1, 0.2, 0.8]), ignore_collisions=True))
    assert [checked for checked, _ in world.calls][3:] == [False]


@FORKS
def test_a_target_without_any_path_ends_the_episode(world: World, demos: Path) -> None:
    env = begun(demos)
    result = env.step(move(np.array([0.65, 0.0, 1.0])))
    assert (result.success, result.terminated, result.failure) == (False, True, "unreachable")
    assert "InvalidActionError" in result.info["error"] and result.info["motion_failure"] == "unreachable"
    assert [checked for checked, _ in world.calls] == [True, False]
    assert world.gripper == []  # the gripper does not move when the arm could not


@pytest.mark.parametrize("error", ["InvalidActionError", "IKError", "ConfigurationPathError"])
def test_every_planning_error_ends_the_episode_with_nothing(error: str, world: World, demos: Path) -> None:
    env = begun(demos)
    module = "rlbench.backend.exceptions" if error == "InvalidActionError" else "pyrep.errors"
    world.error = getattr(sys.modules[module], error)
    result = env.step(move(GOAL, gripper_open=False))
    assert (result.success, result.terminated, result.truncated, result.failure) == (False, True, False, "unreachable")
    assert result.info["error"] == f"{error}: no way" and world.callback is None
    with pytest.raises(RuntimeError, match="the episode is over"):
        env.step(move(GOAL))


def test_a_bug_is_not_taken_for_a_planning_error(world: World, demos: Path) -> None:
    env = begun(demos)
    world.error = KeyError
    with pytest.raises(KeyError):
        env.step(move(GOAL))


def test_success_ends_the_episode(world: World, demos: Path) -> None:
    result = begun(demos).step(move(GOAL, gripper_open=False))
    assert (result.success, result.terminated, result.failure) == (True, True, None)


def test_the_tasks_own_verdict_ends_it_too(world: World, demos: Path) -> None:
    env = begun(demos)
    env.step(move(VERDICT, gripper_open=False))
    result = env.step(move(VERDICT, gripper_open=True))
    assert (result.success, result.terminated, result.failure) == (False, True, "ended")


def test_25_decisions_are_allowed(world: World, demos: Path) -> None:
    env = begun(demos)
    results = [env.step(move(np.array([0.1, 0.01 * step, 1.0]))) for step in range(25)]
    assert not any(result.truncated or result.terminated for result in results[:-1])
    assert (results[-1].truncated, results[-1].failure) == (True, "timeout")
    begun_again = env.reset_to_episode(1)
    assert begun_again.step == 0


def test_a_terminal_answer_moves_nothing(world: World, demos: Path) -> None:
    result = begun(demos).step(move(GOAL, answer="done"))
    assert (result.success, result.terminated, result.failure, world.calls) == (False, True, "gave_up", [])


def test_who_looks_on_is_called_ten_times_a_second(world: World, demos: Path) -> None:
    env = begun(demos)
    times: list[float] = []

    def tick() -> None:
        times.append(env.time)
        assert env.observe().step == env._decisions

    for step in range(4):
        env.step(move(np.array([0.1, 0.1 * step, 1.0])), tick)
    assert env.time == pytest.approx(4 * STEPS_PER_MOTION * 0.05)
    assert times == pytest.approx(np.arange(0.1, 1.01, 0.1))
    assert world.callback is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [({"position": np.full(3, np.nan)}, "expected 3 finite"), ({"quaternion": np.zeros(4)}, "expected a rotation")],
)
def test_malformed_actions_are_refused(bad: dict[str, np.ndarray], words: str, world: World, demos: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        begun(demos).step(replace(move(GOAL), **bad))


def test_the_demonstrations_own_keyframes_lead_to_the_goal(world: World, demos: Path) -> None:
    env = begun(demos)
    expert = env.expert()
    actions = [expert.next_action() for _ in range(4)]
    result: StepResult | None = None
    for action in actions[:3]:
        result = env.step(action)
    assert result is not None and result.success
    assert actions[3].answer == "done"
    assert [action.ignore_collisions for action in actions[:3]] == [True, False, True]  # of the frame before each keyframe
    fresh = make()
    fresh.reset(seed=0)
    with pytest.raises(ConfigError, match="replays RLBench's test demonstrations; give test_demos=DIR"):
        fresh.expert().next_action()


# The simulator


def test_tasks_share_one_simulator_and_the_last_one_out_shuts_it_down(world: World, demos: Path) -> None:
    first, second = make(demos), make(demos, "rlbench_open_drawer")
    assert world.launches == []  # nothing starts before the first episode
    first.reset_to_episode(0)
    assert second.reset_to_episode(0).instruction.startswith("OpenDrawer")
    assert first.reset_to_episode(1).instruction.startswith("CloseJar")
    first.reset_to_episode(2)
    assert (len(world.launches), world.open, world.tasks) == (1, 1, ["CloseJar", "OpenDrawer", "CloseJar"])
    second.close()
    assert world.open == 1  # the other's task is in it
    first.close()
    assert world.open == 0
    first.reset_to_episode(0)
    assert (len(world.launches), world.open) == (2, 1)


def test_other_images_need_another_simulator(world: World, demos: Path) -> None:
    make(demos).reset_to_episode(0)
    make(demos, renderer="warp").reset_to_episode(0)
    assert (len(world.launches), world.open) == (2, 1)


def test_cameras_are_asked_for_as_the_demonstrations_were_made(world: World, demos: Path) -> None:
    make(demos, renderer="warp").reset_to_episode(0)
    config = world.launches[-1]._config
    for name in ("front", "left_shoulder", "right_shoulder", "wrist"):
        camera = getattr(config, f"{name}_camera")
        assert (camera.rgb, camera.depth, camera.mask, camera.point_cloud) == (True, True, False, False)
        assert camera.depth_in_meters and tuple(camera.image_size) == (24, 24) and camera.render_mode == 0
    assert not config.overhead_camera.rgb and not config.overhead_camera.depth
    assert config.gripper_joint_positions and config.gripper_pose


def test_what_rlbench_cannot_do_is_refused_in_one_sentence(world: World, demos: Path) -> None:
    env = begun(demos)
    for call, words in (
        (env.save_state, "cannot save or load states"),
        (lambda: env.load_state(b""), "cannot save or load states"),
        (lambda: env.reset_to(b""), "cannot save or load states"),
        (env.swap_instruction, "take control=none or mask_text"),
        (env.absent_instruction, "take control=none or mask_text"),
        (lambda: env.success_for("x"), "judges its own goal alone"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()
    assert env.alternatives() == ()
