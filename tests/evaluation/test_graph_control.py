"""What is done to a policy's scene graph in a rollout: checked, handed on, noted, and drawn."""

from pathlib import Path

import numpy as np
import pytest
from evaluation_fakes import FakeEnv, Obedient

from vla3d.errors import ConfigError
from vla3d.evaluation import drawing
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.episode import EpisodeJob, run_episode
from vla3d.evaluation.policies import PolicySource
from vla3d.evaluation.rollout import shared_settings
from vla3d.policies.base import PolicyExplanation


def config(**changes: object) -> RolloutConfig:
    return RolloutConfig(**({"tasks": ["fake"], "out": Path("x"), "policy": "scripted"} | changes))  # type: ignore[arg-type]


def test_the_policy_is_told_for_this_episode_and_no_longer() -> None:
    policy, job = Obedient(), EpisodeJob(task="fake", index=0, seed=0)
    run_episode(FakeEnv(), policy, job, graph="shuffled")
    assert policy.graph_control == "shuffled"
    run_episode(FakeEnv(), policy, job)
    assert policy.graph_control == "none"


def test_a_policy_without_a_graph_has_none_to_control() -> None:
    PolicySource(config()).for_env(FakeEnv())
    with pytest.raises(ConfigError, match="graph: got empty, but scripted as it was made reads no scene graph"):
        PolicySource(config(graph="empty")).for_env(FakeEnv())


def test_rollouts_under_another_control_are_other_rollouts() -> None:
    assert "graph" not in shared_settings(config())
    assert shared_settings(config(graph="oracle"))["graph"] == "oracle"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"graph": "suffled"}, "Did you mean 'shuffled'"),
        ({"graph": "oracle", "control": "swap"}, "graph=oracle: got control=swap"),
    ],
)
def test_controls_that_mean_nothing_are_refused(changes: dict, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        config(**changes)


def test_pictures_outline_what_is_grounded() -> None:
    prior = np.zeros((12, 12), dtype=np.float32)
    prior[2:7, 3:9], prior[8:11, 8:11] = 1.0, 0.1
    plain = np.full((12, 12, 3), 100, dtype=np.uint8)
    drawn = (drawing.prior_outline(plain, prior) != plain).any(-1)
    ring = np.zeros((12, 12), dtype=bool)
    ring[2:7, 3:9] = True
    ring[3:6, 4:8] = False
    np.testing.assert_array_equal(drawn, ring)


def test_a_look_without_a_prior_is_drawn_as_before() -> None:
    rng = np.random.default_rng(0)
    views, heat = rng.random((1, 1, 3, 8, 8), dtype=np.float32), rng.random((1, 1, 8, 8), dtype=np.float32)
    shared = {"view_names": ("top",), "views": views, "heatmaps": heat, "positions": np.zeros((1, 3), dtype=np.float32)}
    plain = drawing.look_picture(PolicyExplanation(**shared), 0, 0)
    np.testing.assert_array_equal(plain, drawing.heat_overlay(views[0, 0], heat[0, 0]))
    grounded = PolicyExplanation(**shared, priors=np.ones((1, 1, 8, 8), dtype=np.float32))
    assert (drawing.look_picture(grounded, 0, 0) != plain).any()
