"""Episodes without cameras: experts, failures, exact save and restore, determinism, the swapped sentence."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from vla3d.envs.base import FAILURES, make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.expert import ScriptedExpert, top_down
from vla3d.envs.tabletop.tasks.base import MAX_STEPS
from vla3d.errors import ConfigError
from vla3d.seeding import scene_seed
from vla3d.types import Expert, KeyframeAction, StepResult

_ENVS: dict[str, TabletopEnv] = {}


@pytest.fixture(params=sorted(BUILT_IN))
def env(request: pytest.FixtureRequest) -> Iterator[TabletopEnv]:
    yield shared(request.param)


@pytest.fixture
def pick() -> TabletopEnv:
    return shared("pick_and_lift")


def shared(task: str) -> TabletopEnv:
    """One environment per task for all tests: an episode must not depend on those before it."""
    if task not in _ENVS:
        made = make_env(task, renderer=None)
        assert isinstance(made, TabletopEnv)
        _ENVS[task] = made
    return _ENVS[task]


def play(env: TabletopEnv, expert: Expert) -> list[StepResult]:
    results: list[StepResult] = []
    while not results or not (results[-1].terminated or results[-1].truncated):
        results.append(env.step(expert.next_action()))
    return results


def swapped_expert(env: TabletopEnv) -> ScriptedExpert:
    scenario = env.episode.scenario
    return replace(env.expert(), scenario=replace(scenario, goal=scenario.swapped))


def away(env: TabletopEnv, gripper_open: bool = True) -> KeyframeAction:
    """A harmless motion in free space."""
    return KeyframeAction(position=np.array([0.4, 0.0, 0.4]), quaternion=top_down(0.0), gripper_open=gripper_open)


def test_expert_succeeds_in_its_number_of_keyframes(env: TabletopEnv) -> None:
    for index in range(4):
        env.reset(seed=scene_seed("test", 1, env.task, index))
        results = play(env, env.expert())
        assert results[-1].success and results[-1].failure is None
        assert len(results) == env._task.expert_keyframes <= env.step_limit <= MAX_STEPS
        assert not any(result.success for result in results[:-1])
        assert env.success_for(env.instruction) and not env.success_for(env.swap_instruction())


@pytest.mark.slow
def test_expert_over_a_hundred_scenes(env: TabletopEnv) -> None:
    successes = 0
    for index in range(100):
        env.reset(seed=scene_seed("test", 2, env.task, index))
        successes += play(env, env.expert())[-1].success
    assert successes >= 97


def test_handling_another_thing_is_named(env: TabletopEnv) -> None:
    env.reset(seed=5)
    results = play(env, swapped_expert(env))
    assert results[-1].terminated and not results[-1].success and results[-1].failure == "wrong_object"
    assert env.success_for(env.swap_instruction()) and not env.success_for(env.instruction)


def test_swapped_sentence_names_another_present_thing_in_the_same_words(env: TabletopEnv) -> None:
    for seed in range(20):
        env.begin(seed=seed)
        scenario, swapped = env.episode.scenario, env.swap_instruction()
        assert swapped != env.instruction and swapped == env.swap_instruction()
        index = next(v for v in range(env.num_variations) if swapped in env._task.sentences(v))
        assert env._task.candidate(scenario, index) == scenario.swapped
        assert env._task.sentences(index).index(swapped) == env.paraphrases.index(env.instruction)


def test_absent_sentences_ask_for_one_thing_that_is_not_there(env: TabletopEnv) -> None:
    drawn = env._task.variations()
    own = {sentence for variation in drawn for sentence in env._task.sentences(variation)}
    for seed in range(20):
        env.begin(seed=seed)
        before, absent = env.save_state(), env.absent_instruction()
        assert absent in own and absent == env.absent_instruction()
        index = next(v for v in drawn if absent in env._task.sentences(v))
        assert env._task.candidate(env.episode.scenario, index) is None
        assert env._task.sentences(index).index(absent) == env.paraphrases.index(env.instruction)
        if env.task != "lift_by_relation":  # there a side or an anchor is said in more words than one
            words = zip(*(said.replace(",", "").split() for said in (env.instruction, absent)), strict=True)
            assert len({pair for pair in words if pair[0] != pair[1]}) == 1, "a color, wherever the sentence says it"
        assert env.success_for(absent) is False
        assert env.save_state() == before, "asking draws nothing of the episode"


def test_the_demos_first_alternatives_hold_the_absent_sentences_and_later_ones_do_not(env: TabletopEnv) -> None:
    env.begin(seed=2)
    *motions, absent = env.alternatives()
    assert all(other.action.answer == "move" for other in motions) and absent.action.answer == "absent"
    assert env.absent_instruction() in absent.sentences and len(absent.sentences) == len(env.paraphrases)
    tool = env.world.sim.tcp_pose()[:3, 3]
    np.testing.assert_array_equal(absent.action.position, tool)
    assert absent.action.gripper_open == env.world.sim.gripper_open
    env.advance(env.expert().next_action())
    assert all(other.action.answer == "move" for other in env.alternatives())


def test_where_everything_is_there_nothing_absent_can_be_asked_for(pick: TabletopEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    pick.begin(seed=0)
    monkeypatch.setattr(pick._task, "absent_variations", lambda scenario, unseen=False: [])
    with pytest.raises(ConfigError, match="control=none, swap or mask_text"):
        pick.absent_instruction()
    assert {other.action.answer for other in pick.alternatives()} == {"move"}
    assert not pick.expert().is_absent(pick.instruction)


def test_sentences_of_no_goal(pick: TabletopEnv) -> None:
    pick.begin(seed=0)
    with pytest.raises(ConfigError, match="no sentence"):
        pick.success_for("make me a coffee")
    absent = next(v for v in range(pick.num_variations) if v not in pick.episode.scenario.colors)
    assert pick.success_for(pick._task.sentences(absent)[0]) is False


def test_variation_and_paraphrase_can_be_chosen(env: TabletopEnv) -> None:
    for variation in np.linspace(0, env.num_variations - 1, 8, dtype=int).tolist():
        observation = env.reset(seed=3, variation=variation, paraphrase=1)
        assert env.variation == variation and observation.instruction == env.paraphrases[1]
    for wrong in ({"variation": env.num_variations}, {"paraphrase": 99}, {"variation": -1}, {"seed": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            env.reset(**{"seed": 3, **wrong})


def test_same_seed_same_bytes(env: TabletopEnv) -> None:
    fresh = make_env(env.task, renderer=None)
    env.reset(seed=9)
    play(env, env.expert())  # what came before must leave no trace
    states = []
    for world in (env, fresh):
        world.reset(seed=11)
        trace = [world.save_state()]
        expert = world.expert()
        for _ in range(2):
            world.step(expert.next_action())
            trace.append(world.save_state())
        states.append(trace)
    assert states[0] == states[1]
    env.reset(seed=12)
    assert env.save_state() != states[0][0]


def test_restored_episode_continues_exactly(env: TabletopEnv) -> None:
    env.reset(seed=21)
    expert = env.expert()
    env.step(expert.next_action())
    saved = env.save_state()
    plan, ends = [], []
    result = None
    while result is None or not (result.terminated or result.truncated):
        plan.append(expert.next_action())
        result = env.step(plan[-1])
    ends.append(env.save_state())
    other = make_env(env.task, renderer=None)
    for world in (env, other):
        world.load_state(saved)
        assert world.save_state() == saved
        for action in plan:
            result = world.step(action)
        assert result.success
        ends.append(world.save_state())
    assert ends[0] == ends[1] == ends[2]


def test_recorded_initial_state(env: TabletopEnv) -> None:
    first = env.reset(seed=31)
    recorded = env.save_state()
    play(env, env.expert())
    late = env.save_state()
    again = env.reset_to(recorded)
    assert env.save_state() == recorded and again.instruction == first.instruction
    np.testing.assert_array_equal(again.joint_positions, first.joint_positions)
    assert play(env, env.expert())[-1].success
    env.reset_to(late)  # a state in the middle of an episode begins a new one
    assert env.observe().step == 0 and env.time == 0.0 and not env.success_for(env.instruction)


def test_damaged_and_foreign_states_are_refused(pick: TabletopEnv) -> None:
    pick.begin(seed=0)
    state = pick.save_state()
    flipped = bytearray(state)
    flipped[len(state) // 2] ^= 1
    for bad, words in ((b"", "did not write"), (bytes(flipped), "damaged"), (state[:-8], "damaged")):
        with pytest.raises(ConfigError, match=words):
            pick.load_state(bad)
    with pytest.raises(ConfigError, match="open_drawer"):
        shared("open_drawer").load_state(state)
    assert pick.save_state() == state, "a refused state changes nothing"


def test_unreachable_target_is_a_named_failure(env: TabletopEnv) -> None:
    env.reset(seed=2)
    before = env.world.sim.arm_q.copy()
    result = env.step(KeyframeAction(position=np.array([3.0, 0.0, 0.5]), quaternion=top_down(0.0), gripper_open=False))
    assert result.failure == "unreachable" and not result.terminated and result.observation.step == 1
    np.testing.assert_allclose(env.world.sim.arm_q, before, atol=1e-3)
    assert play(env, env.expert())[-1].success, "the episode goes on"


def test_step_limit_and_reasons(pick: TabletopEnv) -> None:
    far = KeyframeAction(position=np.array([3.0, 0.0, 0.5]), quaternion=top_down(0.0), gripper_open=True)
    cases = {
        "timeout": [away(pick)] * 6,
        "missed_grasp": [away(pick)] * 5 + [away(pick, gripper_open=False)],
        "unreachable": [far] + [away(pick)] * 5,
    }
    assert {*cases, "gave_up"} < set(FAILURES)
    for reason, actions in cases.items():
        pick.reset(seed=4)
        results = [pick.step(action) for action in actions]
        assert [r.truncated for r in results] == [False] * 5 + [True]
        assert results[-1].failure == reason and not results[-1].terminated
        with pytest.raises(RuntimeError, match="reset"):
            pick.step(actions[0])


def test_into_the_table_is_a_collision(pick: TabletopEnv) -> None:
    pick.reset(seed=4)
    action = KeyframeAction(position=np.array([0.5, 0.0, -0.05]), quaternion=top_down(0.0), gripper_open=True)
    assert pick.step(action).failure == "collision"


def test_terminal_answers_end_the_episode(pick: TabletopEnv) -> None:
    for answer in ("absent", "cannot", "done"):
        pick.reset(seed=4)
        before = pick.time
        result = pick.step(replace(away(pick), answer=answer))
        assert result.terminated and not result.success and result.failure == "gave_up"
        assert result.info["answer"] == answer and pick.time == before


@pytest.mark.wrong_shapes
def test_malformed_actions_are_refused(pick: TabletopEnv) -> None:
    pick.reset(seed=4)
    good = away(pick)
    for bad in (
        replace(good, position=np.array([np.nan, 0.0, 0.0])),
        replace(good, position=np.zeros(2)),
        replace(good, quaternion=np.zeros(4)),
        replace(good, answer="maybe"),
    ):
        with pytest.raises(ConfigError, match="action"):
            pick.step(bad)
    assert pick.observe().step == 0
    pick.step(replace(good, quaternion=3.0 * good.quaternion))


def test_expert_recovers_when_the_thing_moves(pick: TabletopEnv) -> None:
    pick.reset(seed=6)
    expert = pick.expert()
    pick.step(expert.next_action())
    cube = pick._task.instances[pick.episode.scenario.goal]
    place = pick.world.position(cube)
    pick.world.sim.set_free_body(cube, [0.5, -np.sign(place[1] + 1e-9) * 0.2, 0.02], [1, 0, 0, 0])
    pick.world.sim.refresh()
    assert play(pick, expert)[-1].success


def test_a_goal_must_hold_for_a_second(pick: TabletopEnv) -> None:
    pick.reset(seed=6)
    cube = pick._task.instances[pick.episode.scenario.goal]
    pick.step(away(pick))
    # A falling cube is above the goal's height at one instant, not for a second.
    pick.world.sim.set_free_body(cube, [0.6, 0.2, 0.3], [1, 0, 0, 0])
    pick.world.sim.refresh()
    assert pick._reached()[pick.episode.scenario.goal]
    result = pick.step(replace(away(pick), ignore_collisions=True))
    assert not result.success and not result.terminated


def test_ticks_come_at_ten_hertz_and_change_nothing(env: TabletopEnv) -> None:
    ends = []
    for watch in (False, True):
        env.reset(seed=8)
        expert, times = env.expert(), []
        for _ in range(env.step_limit // 2):
            env.step(expert.next_action(), (lambda: times.append(env.time)) if watch else None)  # noqa: B023
        ends.append(env.save_state())
    assert ends[0] == ends[1]
    assert len(times) == int(env.time / 0.1 + 1e-6)
    np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-9)


def test_without_an_episode_there_is_nothing_to_do() -> None:
    env = make_env("pick_and_lift", renderer=None)
    with pytest.raises(RuntimeError, match="reset"):
        env.observe()
