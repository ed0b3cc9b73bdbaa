"""The verified policy: it hands on what works, tries again what failed, and says honestly what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest
from teleport_world import BLUE, BLUE_ID, RED, RED_ID, WORKSPACE, Plans, TeleportWorld, go, lift, stack

from vla3d.errors import ConfigError, ObservationError
from vla3d.policies.verified.config import VerifyConfig
from vla3d.policies.verified.policy import VerifiedPolicy
from vla3d.types import KeyframeAction

LIFT, STACK = "lift the red cube", "put the red block on the blue block"


def run(world: TeleportWorld, inner: Plans, **settings: float) -> tuple[list[KeyframeAction], list[str | None]]:
    """Actions and verdicts until a terminal answer or the step limit."""
    policy = VerifiedPolicy(inner, VerifyConfig(enabled=True, **settings), workspace=WORKSPACE)  # type: ignore[arg-type]
    policy.reset(0)
    actions, verdicts = [], []
    for _ in range(world.step_limit):
        actions.append(policy.act(world.observe()))
        verdicts.append(policy.verdict())
        if actions[-1].answer != "move":
            break
        world.step(actions[-1])
    return actions, verdicts


def same(first: KeyframeAction, second: KeyframeAction) -> bool:
    return np.array_equal(first.position, second.position) and first.gripper_open == second.gripper_open


@pytest.mark.parametrize(("said", "plan"), [(LIFT, lift(RED)), (STACK, stack())])
def test_what_works_is_handed_on_and_ends_with_done(said: str, plan: list[KeyframeAction]) -> None:
    inner = Plans(plan)
    actions, verdicts = run(TeleportWorld(said), inner)
    assert all(map(same, actions, plan)) and inner.attempts == 1
    assert actions[-1].answer == "done" and [action.answer for action in actions[:-1]] == ["move"] * (len(actions) - 1)
    assert "the goal is true" in str(verdicts[-1]) and "the goal is true" in str(verdicts[-2])
    assert not any("retry" in str(verdict) for verdict in verdicts)


def test_a_hand_that_closed_on_nothing_tries_again() -> None:
    world, inner = TeleportWorld(LIFT), Plans(lift(RED, beside=0.06), lift(RED))
    actions, verdicts = run(world, inner)
    assert verdicts[2] == "the hand closed on nothing; the goal is false; retry 1 of 2"
    assert actions[2].gripper_open and np.allclose(actions[2].position, np.add(RED, (0.06, 0, 0.1))), "open, 10 cm up"
    assert actions[-1].answer == "done" and world.held == RED_ID
    assert inner.seen[:3] == [(0, 12), (1, 12), (0, 9)], "its steps are counted anew, within those that are left"


def test_the_wrong_thing_is_put_down_where_it_was() -> None:
    world, inner = TeleportWorld(LIFT), Plans(lift(BLUE), lift(RED))
    actions, verdicts = run(world, inner)
    assert verdicts[2] == "holds the blue cube, which was not asked for; the goal is false; retry 1 of 2"
    assert [action.gripper_open for action in actions[2:4]] == [True, True]
    assert np.allclose(actions[2].position, BLUE) and np.allclose(actions[3].position, np.add(BLUE, (0, 0, 0.1)))
    assert actions[-1].answer == "done" and np.allclose(world.cubes[BLUE_ID], BLUE)


def test_what_was_let_go_elsewhere_is_fetched_again() -> None:
    elsewhere = [*lift(RED), go(np.add(RED, (0, -0.1, 0.15)), True), go(np.add(RED, (0, -0.1, 0.2)), True)]
    world, inner = TeleportWorld(STACK), Plans(elsewhere, [])
    _, verdicts = run(world, inner)
    assert any("let go of the red cube, and it is not so that the red block is on the blue block" in str(v) for v in verdicts)
    assert inner.attempts == 2


def test_what_slipped_out_of_the_hand_is_lost() -> None:
    actions, verdicts = run(TeleportWorld(LIFT, slippery=True), Plans(lift(RED)))
    assert sum("lost the red cube" in str(verdict) for verdict in verdicts) == 3
    assert actions[-1].answer == "cannot"


def test_after_its_retries_it_cannot() -> None:
    for retries in (0, 1, 2):
        inner = Plans(lift(RED, beside=0.06))
        actions, verdicts = run(TeleportWorld(LIFT), inner, retries=retries)
        assert actions[-1].answer == "cannot" and inner.attempts == 1 + retries
        assert str(verdicts[-1]).endswith(f"given up after {retries} retries")


def test_motions_that_do_not_happen_end_with_cannot() -> None:
    far = [go([1.4, 0, 0.2], True)] * 12
    actions, verdicts = run(TeleportWorld(LIFT), Plans(far))
    assert [action.answer for action in actions] == ["move", "move", "move", "cannot"]
    assert "3 motions in a row did not happen" in str(verdicts[-1])
    once = [go([1.4, 0, 0.2], True), *lift(RED)]
    assert run(TeleportWorld(LIFT), Plans(once))[0][-1].answer == "done"


def test_a_thing_that_is_not_there_is_absent_at_once() -> None:
    for said, missing in [("lift the green cube", "the green block is"), ("put the red block in the box", "the box is")]:
        actions, verdicts = run(TeleportWorld(said), Plans(lift(RED)))
        assert [action.answer for action in actions] == ["absent"] and verdicts == [f"absent: {missing} not there"]
        assert np.array_equal(actions[0].position, [0.5, 0.0, 0.3])


def test_a_sentence_that_cannot_be_read_is_not_verified() -> None:
    plan = [*lift(RED, beside=0.06), go([1.4, 0, 0.2], True), go([1.4, 0, 0.2], True), go([1.4, 0, 0.2], True)]
    actions, verdicts = run(TeleportWorld("make the red cube happy"), Plans(plan))
    assert all(map(same, actions, plan)) and {action.answer for action in actions} == {"move"}
    assert str(verdicts[0]).startswith("not verified")


def test_who_must_not_read_does_not_read_here() -> None:
    inner = Plans(lift(RED))
    policy = VerifiedPolicy(inner, VerifyConfig(enabled=True), workspace=WORKSPACE)
    policy.mask_text = True
    policy.reset(0)
    assert inner.mask_text and policy.act(TeleportWorld("lift the green cube").observe()).answer == "move"
    assert policy.goal is None


def test_controls_of_the_wrapped_policy_reach_it() -> None:
    inner = Plans(lift(RED))
    policy = VerifiedPolicy(inner, VerifyConfig(enabled=True), workspace=WORKSPACE)
    policy.graph_control = "shuffled"
    assert inner.graph_control == policy.graph_control == "shuffled"
    assert not policy.reads_graph
    assert set(policy.terminal_answers) == {"absent", "cannot", "done"}


def test_recoveries_stay_in_the_workspace() -> None:
    high = [go([0.4, 0.1, 0.4], True), go([0.4, 0.1, 0.4], False)]
    actions, _ = run(TeleportWorld(LIFT), Plans(high))
    assert all(WORKSPACE.contains(action.position) for action in actions)
    assert actions[2].position[2] == WORKSPACE.high[2]


def test_images_without_masks_are_refused() -> None:
    seen = TeleportWorld(LIFT).observe()
    bare = {name: replace(frame, segmentation=None) for name, frame in seen.frames.items()}
    for wrong, words in [
        (replace(seen, frames=bare), "no masks from camera 'front'"),
        (replace(seen, frames={}), "no images"),
        (replace(seen, instance_names={}), "unnamed masks"),
    ]:
        policy = VerifiedPolicy(Plans(lift(RED)), VerifyConfig(enabled=True), workspace=WORKSPACE)
        policy.reset(0)
        with pytest.raises(ObservationError, match=words):
            policy.act(wrong)


def test_settings_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"verify\.enabled"):
        VerifiedPolicy(Plans([]), VerifyConfig(), workspace=WORKSPACE)
    for wrong in ({"retries": -1}, {"retries": True}, {"stuck": 0}, {"tolerance": 0.0}, {"rise": float("nan")}):
        with pytest.raises(ConfigError, match=rf"verify\.{next(iter(wrong))}"):
            VerifyConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"reset\(seed\) first"):
        VerifiedPolicy(Plans([]), VerifyConfig(enabled=True), workspace=WORKSPACE).act(TeleportWorld(LIFT).observe())
