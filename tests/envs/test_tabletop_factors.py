"""Factors of variation: held-out values, the same episode under them, exact states, and an expert that still succeeds."""

from collections.abc import Sequence
from itertools import combinations

import mujoco
import numpy as np
import pytest
from test_tabletop_colors import lab

from vla3d.envs.base import FactorDoesNotApplyError, make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS, FLOOR, NEUTRAL, TABLE
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.factors import objects, palette
from vla3d.envs.tabletop.factors.instances import LARGER_CABINET, SMALLER_CABINET
from vla3d.envs.tabletop.factors.language import replace_words
from vla3d.envs.tabletop.factors.registry import FACTORS
from vla3d.envs.tabletop.factors.textures import PATTERNS, pattern
from vla3d.errors import ConfigError


def make(task: str, factors: Sequence[str] = (), renderer: str | None = None) -> TabletopEnv:
    env = make_env(task, image_size=32, renderer=renderer, factors=factors)
    assert isinstance(env, TabletopEnv)
    return env


def applying() -> list[tuple[str, str]]:
    pairs = []
    for task in BUILT_IN:
        plain = make(task)
        pairs += [(task, name) for name, factor in FACTORS.items() if factor.applies_to(plain._task)]
    return pairs


PAIRS = applying()


def distance(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    return float(np.linalg.norm(lab(one) - lab(other)))


@pytest.mark.parametrize("name", COLOR_NAMES)
def test_a_shade_is_another_color_with_the_same_name(name: str) -> None:
    for shade in palette.SHADES[name]:
        own = distance(shade, COLORS[name])
        others = [distance(shade, color) for other, color in COLORS.items() if other != name]
        assert own >= 8 and min(others) >= own + 8
        assert min(distance(shade, neutral) for neutral in NEUTRAL) >= 25


def test_unseen_colors_are_as_far_apart_as_the_training_colors() -> None:
    assert palette.UNSEEN.keys().isdisjoint(COLORS) and len(palette.UNSEEN) == len(COLORS)
    colors = [*COLORS.values(), *palette.UNSEEN.values()]
    assert min(distance(one, other) for one, other in combinations(colors, 2)) >= 30
    assert min(distance(one, neutral) for one in palette.UNSEEN.values() for neutral in NEUTRAL) >= 30


def test_surroundings_differ_from_those_of_training_and_from_every_named_color() -> None:
    for training, others in ((TABLE, palette.TABLES), (FLOOR, palette.FLOORS)):
        assert min(distance(training, other) for other in others) >= 10
        assert min(distance(color, other) for color in COLORS.values() for other in others) >= 25


def test_sizes_masses_and_frictions_keep_away_from_those_of_training() -> None:
    pairs = [
        (objects.SMALLER, objects.LARGER),
        (SMALLER_CABINET, LARGER_CABINET),
        (objects.LIGHTER, objects.HEAVIER),
        (objects.SMOOTHER, objects.ROUGHER),
    ]
    for low, high in pairs:
        assert low[1] <= 0.95 and high[0] >= 1.05


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_in_range_and_not_flat(name: str) -> None:
    grey = pattern(name, np.random.default_rng(0))
    assert grey.min() >= 0 and grey.max() <= 1 and grey.std() > 0.1


@pytest.mark.parametrize("task", BUILT_IN)
def test_unheard_sentences_are_new_and_two_or_more(task: str) -> None:
    env = make(task)
    variation = env.num_variations - 1
    heard, unheard = env._task.sentences(variation), env._task.sentences(variation, unseen=True)
    assert len(unheard) >= 2 and not set(heard) & set(unheard)


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_layout_and_goal_stay_and_the_scene_differs(task: str, name: str) -> None:
    plain, changed = make(task), make(task, [name])
    for seed in (3, 4):
        plain.begin(seed=seed)
        changed.begin(seed=seed)
        before, after = plain.episode.scenario, changed.episode.scenario
        assert before == after or name == "unseen_relations", "the one factor of the goal itself"
        assert looks(plain) != looks(changed)


def looks(env: TabletopEnv) -> tuple[object, ...]:
    """Everything that a factor may change."""
    model = env.world.model
    fields = ("geom_rgba", "geom_size", "geom_type", "geom_friction", "geom_matid", "light_diffuse", "cam_pos", "body_mass")
    return (env.instruction, model.ngeom, *(getattr(model, field).tobytes() for field in fields))


@pytest.mark.parametrize(("task", "name"), [pair for pair in PAIRS if pair[0] in ("place_in_container", "open_drawer")])
def test_same_seed_same_bytes_whatever_was_before(task: str, name: str) -> None:
    one, other = make(task, [name]), make(task, [name])
    other.begin(seed=8)
    one.begin(seed=7)
    other.begin(seed=7)
    assert looks(one) == looks(other)
    assert one.save_state() == other.save_state()


def test_a_factor_draws_the_same_whatever_other_factors_there_are() -> None:
    alone, among = make("pick_and_lift", ["mo_size"]), make("pick_and_lift", ["mo_color", "mo_size", "distractors"])
    for seed in range(3):
        alone.begin(seed=seed)
        among.begin(seed=seed)
        assert alone.world.scale("cube_0") == among.world.scale("cube_0") != 1.0


@pytest.mark.parametrize("name", ["mo_size", "distractors", "unseen_shapes", "friction"])
def test_a_saved_state_continues_bit_for_bit_in_another_environment(name: str) -> None:
    env, other = make("pick_and_lift", [name]), make("pick_and_lift", [name])
    env.begin(seed=5)
    other.begin(seed=6)
    state = env.save_state()
    action = env.expert().next_action()
    env.advance(action)
    other.load_state(state)
    other.advance(action)
    assert env.save_state() == other.save_state()
    with pytest.raises(ConfigError, match=f"pick_and_lift\\+{name}"):
        make("pick_and_lift").load_state(state)


@pytest.mark.parametrize("name", ["unseen_colors", "unseen_shapes", "task_variations"])
def test_swapped_sentences_are_in_the_episodes_words(name: str) -> None:
    env, plain = make("pick_and_lift", [name]), make("pick_and_lift")
    for seed in range(4):
        env.begin(seed=seed)
        plain.begin(seed=seed)
        swapped = env.swap_instruction()
        assert swapped not in (env.instruction, plain.swap_instruction())
        assert not env.success_for(swapped)
        with pytest.raises(ConfigError):
            env.success_for(plain.instruction)


def test_words_are_replaced_whole_and_all_at_once() -> None:
    assert replace_words("the red cube, redder", {"red": "blue", "blue": "red"}) == "the blue cube, redder"


def test_scaled_things_stand_on_the_table_and_keep_their_proportions() -> None:
    plain, scaled = make("open_drawer"), make("open_drawer", ["mo_size"])
    plain.begin(seed=1)
    scaled.begin(seed=1)
    factor = scaled.world.scale("cabinet/drawer_0")
    assert factor == scaled.world.scale("cabinet") != 1.0
    handle = (-0.06, 0.0, 0.118)
    offset = plain.world.to_world("cabinet/drawer_2", handle) - plain.world.position("cabinet")
    larger = scaled.world.to_world("cabinet/drawer_2", handle) - scaled.world.position("cabinet")
    np.testing.assert_allclose(larger, factor * offset, atol=1e-9)
    np.testing.assert_allclose(scaled.world.to_body("cabinet", scaled.world.to_world("cabinet", handle)), handle, atol=1e-12)
    low, high = scaled.world.model.joint("cabinet/drawer_1").range
    np.testing.assert_allclose((low, high), np.multiply(plain.world.model.joint("cabinet/drawer_1").range, factor))


@pytest.mark.parametrize("task", ["pick_and_lift", "place_in_container", "open_drawer", "slide_block_to_target"])
def test_distractors_stand_apart_in_colors_of_their_own(task: str) -> None:
    env = make(task, ["distractors"])
    for seed in range(4):
        env.begin(seed=seed)
        named = {COLORS[COLOR_NAMES[color]] for color in env.episode.scenario.colors}
        visible = 0
        for index in range(3):
            body = f"distractor_{index}"
            geom = env.world.model.body(body).geomadr[0]
            painted = tuple(np.round(env.world.model.geom_rgba[geom, :3].astype(float), 4))
            assert painted not in {tuple(np.round(np.float32(color).astype(float), 4)) for color in named}
            if env.world.position(body)[0] < 1.0:
                visible += 1
                assert env.world.gap(body) >= 0.05
        assert visible >= 1


def test_an_unknown_factor_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="mo_color"):
        make("pick_and_lift", ["mo_colour"])
    with pytest.raises(ConfigError, match="more than once"):
        make("pick_and_lift", ["mass", "mass"])
    with pytest.raises(FactorDoesNotApplyError, match="pick_and_lift"):
        make("pick_and_lift", ["unseen_handles"])


def test_images_show_what_changed() -> None:
    changed = ("mo_texture", "table_texture", "light_color", "background_texture", "camera_pose")
    plain = make("place_in_container", renderer="warp")
    before = plain.reset(seed=2).frames["front"].rgb
    for name in changed:
        env = make("place_in_container", [name], renderer="warp")
        after = env.reset(seed=2).frames["front"].rgb
        assert (before != after).any(axis=-1).mean() > 0.005, name
        env.close()
    plain.close()


def succeeds(env: TabletopEnv, seed: int) -> bool:
    env.begin(seed=seed)
    expert = env.expert()
    while True:
        result = env.advance(expert.next_action())
        if result.terminated or result.truncated:
            return result.success


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_the_expert_succeeds_under_every_factor(task: str, name: str) -> None:
    env = make(task, [name])
    assert sum(succeeds(env, seed) for seed in range(20)) >= 17


def test_meshes_are_convex_bodies_of_the_cubes_size() -> None:
    env = make("pick_and_lift", ["unseen_shapes"])
    types = set()
    for seed in range(8):
        env.begin(seed=seed)
        geom = env.world.model.geom("cube_0")
        types.add(int(geom.type[0]))
        assert env.world.position("cube_0")[2] == pytest.approx(0.02, abs=2e-3)
    assert types == {int(mujoco.mjtGeom.mjGEOM_CYLINDER), int(mujoco.mjtGeom.mjGEOM_MESH)}
