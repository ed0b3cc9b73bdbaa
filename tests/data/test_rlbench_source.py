"""RLBench demonstrations, read in place: layouts, sentences, keyframes, damage."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import rlbench_demos as demos

from vla3d.data import DemoSource, EpisodeRef, open_demos
from vla3d.data.demos import DemosConfig, iterate_samples
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError

TASK = "open_drawer"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rlbench")
    demos.write_peract(root, TASK, 2)
    return root


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """The folder of the first of two episodes, to be damaged."""
    demos.write_peract(tmp_path, TASK, 2, frames=8, size=(4, 6), cameras=("front",))
    return tmp_path / TASK / "all_variations" / "episodes" / "episode0"


def source_of(episode: Path) -> DemoSource:
    return open_demos(episode.parents[3])


def test_peract_layout(root: Path) -> None:
    source = open_demos(root)
    assert source.format == "rlbench" and source.tasks() == (TASK,)
    assert source.episodes() == [EpisodeRef(TASK, 0), EpisodeRef(TASK, 1)]
    info = source.info(EpisodeRef(TASK, 1))
    assert (info.variation, info.seed, info.success, info.num_steps) == (4, 0, True, 12)
    assert info.cameras == ("front", "wrist") and info.keyframes == demos.KEYFRAMES
    assert info.instruction == "open the top drawer" and info.paraphrases == (
        "open the top drawer",
        "pull the upper drawer out",
    )
    assert info.num_bytes == sum(path.stat().st_size for path in (root / TASK).rglob("episode1/**/*") if path.is_file())
    assert dict(source.request) == {"format": "rlbench"} and source.failures(TASK) == {}
    source.verify(info.ref)


def test_a_task_alone_is_read_like_its_root(root: Path) -> None:
    alone, whole = open_demos(root / TASK), open_demos(root)
    assert alone.tasks() == whole.tasks() and alone.episodes() == whole.episodes()
    assert alone.info(EpisodeRef(TASK, 0)).instruction == whole.info(EpisodeRef(TASK, 0)).instruction


def test_upstream_and_colosseum_layouts(tmp_path: Path) -> None:
    small = {"frames": 8, "size": (4, 6), "cameras": ("front",)}
    for variation, episode, said in ((0, 3, "press red"), (2, 0, "press blue"), (10, 1, "press green")):
        demos.write_upstream(tmp_path / "push_button", variation, episode, [said, said + " now"], **small)
    demos.write_upstream(tmp_path / "open_drawer_13", 0, 0, ["open it"], **small)
    source = open_demos(tmp_path)
    assert source.tasks() == ("open_drawer_13", "push_button")
    assert [ref.attempt for ref in source.episodes(["push_button"])] == [3, 20_000, 100_001]
    infos = {ref.attempt: source.info(ref) for ref in source.episodes(["push_button"])}
    assert [info.variation for info in infos.values()] == [0, 2, 10]
    assert [info.instruction for info in infos.values()] == ["press red", "press blue", "press green"]
    assert infos[3].metadata["instruction_from"] == "the variation"
    steps = source.read(source.episodes()[0], cameras=()).steps
    assert not any(step.action.ignore_collisions for step in steps if step.action)  # upstream does not record it


def test_numbers_that_would_collide_are_refused(tmp_path: Path) -> None:
    demos.write_upstream(tmp_path / "push", 1, 10_000, ["push"], frames=3, size=(2, 2), cameras=("front",))
    with pytest.raises(DataError, match="got episode 10000, expected numbers below 10000"):
        open_demos(tmp_path).episodes()


def test_all_variations_count_where_both_layouts_are(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = demos.write_peract(tmp_path, "push", 1, frames=3, size=(2, 2), cameras=("front",))
    demos.write_upstream(task, 1, 0, ["push"], frames=3, size=(2, 2), cameras=("front",))
    with caplog.at_level(logging.WARNING):
        assert open_demos(tmp_path).episodes() == [EpisodeRef("push", 0)]
    assert "single variations are not" in caplog.text


def test_a_flag_that_was_never_set_counts_as_false(one: Path) -> None:
    made = demos.demo(8, (4, 6))
    for frame in made.__dict__["_observations"]:
        frame.__dict__["ignore_collisions"] = None
    (one / "low_dim_obs.pkl").write_bytes(demos.dumps(made))
    steps = source_of(one).read(EpisodeRef(TASK, 0), cameras=()).steps
    # Keyframes 3 and 7: PerAct drops the change at 6, right before the end.
    assert [step.action.ignore_collisions for step in steps if step.action] == [False, False]


@pytest.mark.parametrize(("in_demo", "expected"), [(7, 7), (None, 0)])
def test_a_missing_variation_number_is_looked_for_elsewhere(tmp_path: Path, in_demo: int | None, expected: int) -> None:
    folder = tmp_path / "push" / "all_variations" / "episodes" / "episode0"
    demos.write_episode(folder, number=None, variation=in_demo, frames=3, size=(2, 2), cameras=("front",))
    assert open_demos(tmp_path).info(EpisodeRef("push", 0)).variation == expected


def test_sentences_of_another_type_fall_back(one: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A published file holds an Observation where the sentences belong."""
    seen = demos.observation(0, demos.motion(), (4, 6))
    (one / "variation_descriptions.pkl").write_bytes(demos.dumps(seen))
    with caplog.at_level(logging.WARNING):
        info = source_of(one).info(EpisodeRef(TASK, 0))
    assert info.instruction == "open drawer" and info.metadata["instruction_from"] == "the task's name"
    assert "has no list of sentences in variation_descriptions.pkl" in caplog.text
    (one.parent.parent / "variation_descriptions.pkl").write_bytes(demos.dumps(["slide it open"]))
    assert source_of(one).info(EpisodeRef(TASK, 0)).instruction == "slide it open"


def test_steps_are_what_was_recorded(root: Path) -> None:
    episode = open_demos(root).read(EpisodeRef(TASK, 0), cameras=["wrist"])
    values = demos.motion()
    for index, step in enumerate(episode.steps):
        seen, pose = step.observation, demos.gripper_pose(index)
        np.testing.assert_array_equal(seen.gripper_position, pose[:3])
        np.testing.assert_array_equal(seen.gripper_quaternion, pose[[6, 3, 4, 5]])
        np.testing.assert_array_equal(seen.joint_positions, np.linspace(-1, 1, 7) + 0.01 * index)
        np.testing.assert_array_equal(step.joint_velocities, values["joint_velocities"][index])
        assert seen.gripper_open == (index < 6) and seen.gripper_width == pytest.approx(0.08 if index < 6 else 0.02)
        assert step.arm_moving == (index not in (3, 11)) and step.time == pytest.approx(0.05 * index)
        assert seen.step == sum(keyframe <= index for keyframe in demos.KEYFRAMES) and seen.step_limit == 25
        assert list(seen.frames) == ["wrist"]
        colours, _, handles = demos.render((12, 16), "wrist", index)
        np.testing.assert_array_equal(seen.frames["wrist"].rgb, colours)
        np.testing.assert_array_equal(seen.frames["wrist"].segmentation, np.where(handles == demos.PEAK, 0, handles))


def test_keyframe_actions_ignore_collisions_as_the_frame_before_says(root: Path) -> None:
    steps = open_demos(root).read(EpisodeRef(TASK, 0), cameras=()).steps
    actions = {index: step.action for index, step in enumerate(steps) if step.action is not None}
    assert tuple(actions) == demos.KEYFRAMES
    # Recorded in frames 2, 6 and 10; the frames of the keyframes themselves would say False, True, False.
    assert [action.ignore_collisions for action in actions.values()] == [True, False, True]
    assert [action.gripper_open for action in actions.values()] == [True, False, False]
    for index, action in actions.items():
        np.testing.assert_array_equal(action.position, steps[index].observation.gripper_position)
        np.testing.assert_array_equal(action.quaternion, steps[index].observation.gripper_quaternion)


def test_the_rule_for_keyframes_is_chosen(root: Path, tmp_path: Path) -> None:
    ref = EpisodeRef(TASK, 0)
    assert open_demos(root, keyframe_rule="peract").info(ref).keyframes == demos.KEYFRAMES
    values = demos.motion()
    values["joint_velocities"][3:6] = 0.05  # a rest of three frames: PerAct takes its first, we take its last
    demos.write_episode(tmp_path / "rest/all_variations/episodes/episode0", values=values, size=(2, 2), cameras=())
    for rule, expected in (("recorded", (3, 6, 11)), ("peract", (3, 6, 11)), ("vla3d", (5, 6, 11))):
        info = open_demos(tmp_path, keyframe_rule=rule).info(EpisodeRef("rest", 0))
        assert info.keyframes == expected and info.cameras == ()
    with pytest.raises(ConfigError, match=r"Unknown keyframe rule 'perakt'.*peract"):
        open_demos(root, keyframe_rule="perakt")


def test_some_steps_equal_those_of_the_whole(root: Path) -> None:
    source = open_demos(root)
    whole = source.read(EpisodeRef(TASK, 1))
    some = source.read_steps(EpisodeRef(TASK, 1), [7, 0, 7], cameras=["wrist", "front"])
    for step, index in zip(some, (7, 0, 7), strict=True):
        assert step.action is whole.steps[index].action or step.action == whole.steps[index].action
        for name, frame in whole.steps[index].observation.frames.items():
            for part in ("rgb", "depth", "segmentation", "intrinsics", "T_world_camera"):
                np.testing.assert_array_equal(getattr(step.observation.frames[name], part), getattr(frame, part))
    assert list(some[0].observation.frames) == ["front", "wrist"]
    with pytest.raises(DataError, match="got step 12, expected 0 to 11"):
        source.read_steps(EpisodeRef(TASK, 1), [12])
    with pytest.raises(ConfigError, match=r"Unknown camera of episode open_drawer/000001 'frnt'.*front"):
        source.read(EpisodeRef(TASK, 1), cameras=["frnt"])


def test_metadata_keep_what_restores_the_scene(root: Path) -> None:
    kept = open_demos(root).info(EpisodeRef(TASK, 0)).metadata["random_state"]
    _, key, position, has_gauss, cached = np.random.RandomState(7).get_state()
    assert kept["algorithm"] == "MT19937" and kept["position"] == position
    np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(kept["key_hex"]), "<u4"), key)
    assert (kept["has_gauss"], kept["cached_gaussian"]) == (has_gauss, cached)


def test_samples_come_straight_from_the_folders(root: Path) -> None:
    source = open_demos(root)
    samples = list(iterate_samples(source, source.episodes(), DemosConfig(stride=2), ("front",), progress=None))
    assert [sample.step for sample in samples] == [0, 2, 3, 5, 6, 8, 10] * 2
    chained = DemosConfig(stride=4, chain_duplicates=True)  # starts 0 (three left), 4 (two), 8 (one)
    assert [sample.step for sample in iterate_samples(source, source.episodes()[:1], chained, ("front",), progress=None)] == [
        *(0, 3, 6),
        *(4, 6),
        8,
    ]
    assert samples[0].action.ignore_collisions and samples[0].paraphrases[1] == "pull the upper drawer out"


def replace_image(episode: Path, name: str, content: bytes) -> None:
    (episode / name).write_bytes(content)


def spoil_pickle(episode: Path, change: str) -> None:
    made = demos.demo(8, (4, 6))
    frames = made.__dict__["_observations"]
    if change == "no misc":
        del frames[2].__dict__["misc"]
    elif change == "no camera":
        del frames[2].__dict__["misc"]["front_camera_intrinsics"]
    elif change == "six joints":
        frames[1].__dict__["joint_positions"] = np.zeros(6)
    elif change == "nan":
        frames[1].__dict__["gripper_pose"] = np.full(7, np.nan)
    elif change == "zero quaternion":
        frames[1].__dict__["gripper_pose"] = np.zeros(7)
    elif change == "mirror":
        frames[1].__dict__["misc"]["front_camera_intrinsics"][0, 0] *= -1
    elif change == "planes":
        frames[1].__dict__["misc"]["front_camera_near"] = 5.0
    elif change == "not a demo":
        made = frames
    elif change == "text frames":
        made.__dict__["_observations"] = ["frame"] * 8
    elif change == "one frame":
        made.__dict__["_observations"] = frames[:1]
    else:
        made.__dict__["_observations"] = frames[:7]
    (episode / "low_dim_obs.pkl").write_bytes(demos.dumps(made))


def truncated(episode: Path, name: str) -> None:
    path = episode / name
    path.write_bytes(path.read_bytes()[:-20])


def flipped(episode: Path, name: str) -> None:
    content = bytearray((episode / name).read_bytes())
    content[-20] ^= 0x10
    (episode / name).write_bytes(content)


GREY = demos.png(np.zeros((4, 6), dtype=np.uint8))
LARGER = demos.png(np.zeros((8, 6, 3), dtype=np.uint8))
DAMAGE = {
    "truncated PNG": (lambda e: truncated(e, "front_rgb/5.png"), "front_rgb/5.png: it is cut short"),
    "flipped bit": (lambda e: flipped(e, "front_depth/2.png"), "front_depth/2.png: a checksum does not match"),
    "empty PNG": (lambda e: replace_image(e, "front_mask/7.png", b""), "front_mask/7.png: it is empty"),
    "no PNG": (lambda e: replace_image(e, "front_mask/7.png", b"GIF" * 20), "front_mask/7.png: it is no PNG file"),
    "one channel": (lambda e: replace_image(e, "front_depth/1.png", GREY), "8 bits of one channel, expected 8 bits of RGB"),
    "mixed sizes": (
        lambda e: replace_image(e, "front_rgb/6.png", LARGER),
        r"front_rgb/6.png: it has 6 x 8 pixels, expected 6 x 4",
    ),
    "other depth size": (lambda e: replace_image(e, "front_depth/0.png", LARGER), "front_depth/0.png: it has 6 x 8 pixels"),
    "missing PNG": (lambda e: (e / "front_rgb/3.png").unlink(), "front_rgb has 7 images, but low_dim_obs.pkl has 8 frames"),
    "renamed PNG": (lambda e: (e / "front_rgb/3.png").rename(e / "front_rgb/9.png"), "front_rgb/3.png is missing"),
    "missing folder": (
        lambda e: (e / "front_depth").rename(e / "elsewhere"),
        "the folder front_depth is missing beside front_mask",
    ),
    "missing pickle": (lambda e: (e / "low_dim_obs.pkl").unlink(), "low_dim_obs.pkl is missing"),
    "cut pickle": (lambda e: truncated(e, "low_dim_obs.pkl"), "low_dim_obs.pkl: it "),
    "fewer frames": (lambda e: spoil_pickle(e, "fewer"), "front_depth has 8 images, but low_dim_obs.pkl has 7 frames"),
    "no misc": (lambda e: spoil_pickle(e, "no misc"), "frame 2 has no misc .* another fork of RLBench"),
    "no camera": (lambda e: spoil_pickle(e, "no camera"), "frame 2: front_camera_intrinsics is missing, expected 3 x 3"),
    "six joints": (lambda e: spoil_pickle(e, "six joints"), r"frame 1: joint_positions is float64 \(6,\), expected 7 numbers"),
    "nan": (lambda e: spoil_pickle(e, "nan"), "frame 1: gripper_pose is float64 .* expected 7 numbers"),
    "zero quaternion": (lambda e: spoil_pickle(e, "zero quaternion"), "a quaternion of length 0.000"),
    "mirror": (lambda e: spoil_pickle(e, "mirror"), "camera 'front': the focal lengths are zero or of two signs"),
    "planes": (lambda e: spoil_pickle(e, "planes"), "not 0 <= near < far"),
    "not a demo": (lambda e: spoil_pickle(e, "not a demo"), "it holds a list, expected RLBench's rlbench.demo.Demo"),
    "text frames": (lambda e: spoil_pickle(e, "text frames"), "frame 0 is a str, expected RLBench's"),
    "one frame": (lambda e: spoil_pickle(e, "one frame"), "it has 1 frames, expected at least 2"),
    "text variation": (
        lambda e: (e / "variation_number.pkl").write_bytes(demos.dumps("four")),
        "variation_number.pkl holds a str, expected a number",
    ),
}


HUGE = bytearray(demos.png(np.zeros((4, 6, 3), dtype=np.uint8)))
HUGE[16:24] = b"\x00\x01\x00\x00" * 2
DAMAGE["too large"] = (
    lambda e: replace_image(e, "front_rgb/0.png", bytes(HUGE)),
    "front_rgb/0.png: it has 65536 x 65536 pixels",
)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_with_the_episode_and_skipped_on_request(one: Path, kind: str) -> None:
    damage, sentence = DAMAGE[kind]
    damage(one)
    source = source_of(one)
    name = r"Episode open_drawer/000000 \(.*episode0\): .*"
    with pytest.raises(CorruptEpisodeError, match=name + sentence):
        source.read(EpisodeRef(TASK, 0))
    source.read(EpisodeRef(TASK, 1))  # the other one is whole
    skipping = open_demos(one.parents[3], on_corrupt="skip")
    assert skipping.episodes() == [EpisodeRef(TASK, 1)]
    assert list(skipping.skipped) == [EpisodeRef(TASK, 0)]


@pytest.mark.parametrize("seed", range(2))
def test_any_damage_of_the_numbers_is_named_or_harmless(tmp_path: Path, seed: int) -> None:
    """Random bytes in a real recording: an episode or one sentence comes out, and no warning of NumPy's."""
    rng = np.random.default_rng(seed)
    one = demos.write_episode(tmp_path / TASK / "all_variations/episodes/episode0", frames=2, cameras=())
    whole = (one / "low_dim_obs.pkl").read_bytes()
    refused = 0
    for _ in range(40):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), 6):
            content[at] = rng.integers(256)
        (one / "low_dim_obs.pkl").write_bytes(content)
        try:
            source_of(one).read(EpisodeRef(TASK, 0))
        except CorruptEpisodeError as error:
            assert "Episode open_drawer/000000" in str(error)
            refused += 1
    assert refused > 10


def test_the_bimanual_fork_is_refused_by_name(one: Path) -> None:
    other = demos.stand_in("rlbench.backend.observation", "BimanualObservation")
    with demos.importable(demos.Demo, demos.Observation, other):
        (one / "low_dim_obs.pkl").write_bytes(pickle.dumps(other(), protocol=3))
    with pytest.raises(CorruptEpisodeError, match=r"refers to rlbench.backend.observation.BimanualObservation, which is not"):
        source_of(one).info(EpisodeRef(TASK, 0))


def test_folders_of_something_else_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no dataset: it is empty\. Give a folder of demonstrations \(.*rlbench: TASK"):
        open_demos(tmp_path)
    (tmp_path / "push" / "episodes" / "episode0").mkdir(parents=True)
    with pytest.raises(DataError, match="is no dataset: its layout is none of those known"):
        open_demos(tmp_path)
    with pytest.raises(DataError, match="is no dataset: it does not exist"):
        open_demos(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"Unknown demonstration format 'rlbnch'. Did you mean 'rlbench'"):
        open_demos(tmp_path, format="rlbnch")
    (tmp_path / "push" / "all_variations" / "episodes").mkdir(parents=True)
    assert open_demos(tmp_path).tasks() == ("push",) and open_demos(tmp_path).episodes() == []
    with pytest.raises(DataError, match="has no episode push/000003"):
        open_demos(tmp_path).info(EpisodeRef("push", 3))
    with pytest.raises(ConfigError, match="Unknown task in"):
        open_demos(tmp_path).episodes(["pull"])
