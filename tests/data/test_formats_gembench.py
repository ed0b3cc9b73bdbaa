"""GemBench's keysteps: what was written comes back, and no record can do more than be refused."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gembench_demos as gembench
import msgpack
import numpy as np
import pytest
import torch

from vla3d.data.formats.gembench import CAMERAS
from vla3d.data.formats.gembench_records import ARRAY_TYPES, RecordError, as_array, read_record
from vla3d.data.sources import open_demos, recognised_format
from vla3d.data.store import EpisodeRef
from vla3d.errors import ConfigError, CorruptEpisodeError, DataError
from vla3d.geometry import unproject

REF = EpisodeRef("push_button", 30_002)
SEED0 = Path("keysteps_bbox") / "seed0"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gembench.write_dataset(tmp_path_factory.mktemp("gembench") / "train_dataset")


def with_record(folder: Path, content: bytes) -> Path:
    """A dataset whose only record is ``content``."""
    folder.mkdir()
    (folder / "taskvars_instructions_new.json").write_text(json.dumps(gembench.SENTENCES))
    gembench.write_records(folder / SEED0 / "push_button+3", {"episode2": content})
    return folder


# What comes back


def test_tasks_variations_numbers_and_sentences(root: Path) -> None:
    source = open_demos(root)
    assert source.format == "gembench"
    assert source.tasks() == ("close_jar", "push_button")
    assert source.episodes(["push_button"]) == [EpisodeRef("push_button", 30_000), REF]
    assert source.episodes(["close_jar"]) == [EpisodeRef("close_jar", 150_000), EpisodeRef("close_jar", 150_002)]
    info = source.info(REF)
    assert (info.variation, info.instruction) == (3, "push the red button")
    assert info.paraphrases == ("push the red button", "press the red one")
    assert (info.cameras, info.num_steps, info.keyframes) == (CAMERAS, 3, (1, 2))
    assert info.num_bytes == len(gembench.pack(gembench.record(1)))
    assert info.metadata["taskvar"] == "push_button+3" and info.metadata["episode"] == "episode2"
    with pytest.raises(ConfigError, match="Did you mean 'push_button'"):
        source.episodes(["push_buton"])


def test_every_number_of_an_action_comes_back(root: Path) -> None:
    record = gembench.record(1)
    steps = open_demos(root).read(REF, cameras=()).steps
    assert steps[0].action is None
    for step, action, frame in zip(steps, record["action"].astype(np.float64), record["key_frameids"], strict=True):
        np.testing.assert_allclose(step.observation.gripper_position, action[:3], atol=0)
        np.testing.assert_allclose(step.observation.gripper_quaternion, action[[6, 3, 4, 5]], atol=1e-6)
        assert step.observation.gripper_open == (action[7] == 1) == (step.observation.gripper_width > 0)
        assert step.time == pytest.approx(0.05 * frame)
        assert step.observation.frames == {}
        if step.action is not None:
            assert step.action.ignore_collisions
            assert np.array_equal(step.action.position, step.observation.gripper_position)
            assert step.action.gripper_open == step.observation.gripper_open


def test_clouds_come_back_as_depth_and_cameras(root: Path) -> None:
    record = gembench.record(1)
    for t, step in enumerate(open_demos(root).read(REF).steps):
        assert tuple(step.observation.frames) == CAMERAS
        for number, ((truth, _), frame) in enumerate(zip(gembench.frames(t), step.observation.frames.values(), strict=True)):
            assert np.array_equal(frame.rgb, record["rgb"][t, number])
            np.testing.assert_allclose(frame.depth, truth.depth, atol=2e-6)
            np.testing.assert_allclose(frame.intrinsics, gembench.intrinsics(), atol=1e-3)
            np.testing.assert_allclose(frame.T_world_camera, truth.T_world_camera, atol=1e-5)
            back, valid = unproject(
                *(torch.from_numpy(x) for x in (frame.depth.astype(float), frame.intrinsics, frame.T_world_camera))
            )
            assert valid.all()
            np.testing.assert_allclose(back, record["pc"][t, number], atol=1e-5)


def test_some_steps_of_some_cameras_equal_those_of_the_whole(root: Path) -> None:
    source = open_demos(root)
    whole = source.read(REF).steps
    for index, step in zip([2, 0, 2], source.read_steps(REF, [2, 0, 2], cameras=["wrist", "front"]), strict=True):
        assert tuple(step.observation.frames) == ("wrist", "front")
        for name, frame in step.observation.frames.items():
            other = whole[index].observation.frames[name]
            assert all(
                np.array_equal(getattr(frame, field), getattr(other, field)) for field in ("rgb", "depth", "T_world_camera")
            )
    with pytest.raises(ConfigError, match="Did you mean 'wrist'"):
        source.read(REF, cameras=["wirst"])
    with pytest.raises(DataError, match="got step 3, expected 0 to 2"):
        source.read_steps(REF, [3])


@pytest.mark.parametrize("below", [".", "keysteps_bbox", "keysteps_bbox/seed0", "keysteps_bbox/seed0/push_button+3"])
def test_any_folder_of_the_layout_opens(root: Path, below: str) -> None:
    assert recognised_format(root / below) == "gembench"
    assert REF in open_demos(root / below).episodes()


def test_reading_leaves_no_trace_and_needs_no_permission_to_write(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    for lock in root.rglob("lock.mdb"):
        lock.unlink()
    first, second = open_demos(root), open_demos(root)
    first.verify(REF)
    second.verify(REF)
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert not [path for path in after if path.name == "lock.mdb"]
    assert {path: before[path] for path in after if path.is_file()} == {path: t for path, t in after.items() if path.is_file()}


def test_older_records_with_lists_of_arrays_and_text_keys_are_the_same(root: Path, tmp_path: Path) -> None:
    record = gembench.record(1)
    listed = (
        record
        | {name: list(record[name]) for name in ("rgb", "pc", "action")}
        | {"key_frameids": np.array(record["key_frameids"])}
    )

    def with_text_keys(value: Any) -> Any:
        return {key.decode(): entry for key, entry in gembench.encode(value).items()}

    packed = (msgpack.packb(listed, default=gembench.encode, use_bin_type=False), msgpack.packb(listed, default=with_text_keys))
    for number, content in enumerate(packed):
        source = open_demos(with_record(tmp_path / str(number), content))
        for mine, other in zip(source.read(REF).steps, open_demos(root).read(REF).steps, strict=True):
            assert np.array_equal(mine.observation.gripper_position, other.observation.gripper_position)
            for name in CAMERAS:
                assert np.array_equal(mine.observation.frames[name].depth, other.observation.frames[name].depth)


def test_a_pixel_without_a_point_is_no_measurement(tmp_path: Path) -> None:
    clouds = gembench.record(1)["pc"]
    clouds[1, 0, 4:6, 7] = np.nan
    clouds[1, 0, 9, 9] = 0
    source = open_demos(with_record(tmp_path / "demos", gembench.pack(gembench.record(1, pc=clouds))))
    depth = source.read(REF).steps[1].observation.frames["left_shoulder"].depth
    assert (depth == 0).sum() == 3 and depth[4, 7] == depth[9, 9] == 0


# What is refused


class Trap:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def object_array(path: Path) -> dict[bytes, Any]:
    """What msgpack-numpy writes for an array of objects."""
    return {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": pickle.dumps([Trap(path)])}


@pytest.mark.parametrize("name", ["rgb", "pc", "action", "key_frameids"])
def test_an_array_of_objects_is_never_loaded(tmp_path: Path, name: str) -> None:
    trap = tmp_path / "executed"
    source = open_demos(with_record(tmp_path / "demos", gembench.pack(gembench.record(1, **{name: object_array(trap)}))))
    with pytest.raises(
        CorruptEpisodeError, match=r"Episode push_button/030002 .*Python objects, which is a pickle and is never loaded"
    ):
        source.read(REF)
    assert not trap.exists()


def test_objects_in_an_entry_that_is_not_read_are_stepped_over(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    content = gembench.pack(gembench.record(1, bbox_info={"link": object_array(trap)}, extra=[[[object_array(trap)]]]))
    assert len(open_demos(with_record(tmp_path / "demos", content)).read(REF).steps) == 3
    assert not trap.exists()


def array(**changes: Any) -> dict[bytes, Any]:
    entries = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2, 3], b"data": bytes(24)}
    return entries | {key.encode(): value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (array(type=">f4"), "an array of type b'>f4', expected one of"),
        (array(type="<U3"), "an array of type"),
        (array(type="<M8[s]"), "an array of type"),
        (array(type="f4,O"), "an array of type"),
        (array(type=[["a", "<f4"]], kind=b"V"), "an array of type"),
        (array(type=None), "an array of type None"),
        (array(shape=[2, 4]), "an array of 24 bytes, expected 32"),
        (array(shape=[-2, -3]), r"an array of shape \[-2, -3\]"),
        (array(shape=[1 << 40, 1 << 40]), "an array of 24 bytes"),
        (array(shape=[2.0, 3]), "an array of shape"),
        (array(shape=6), "an array of shape 6"),
        (array(data=[0] * 24), "over a list"),
        (array(data=None), "over nothing"),
        ({b"complex": True, b"data": "1j"}, "a complex number"),
        (msgpack.ExtType(5, b"x"), r"a msgpack extension \(5\)"),
    ],
)  # fmt: skip
def test_other_values_are_refused_by_name(value: Any, part: str) -> None:
    for nested in (value, [value], {"deeper": [value]}):
        with pytest.raises(RecordError, match=part):
            read_record(msgpack.packb({"action": nested, "rgb": 1}), ["action"])
    assert read_record(msgpack.packb({"action": value, "rgb": 1}), ["rgb"]) == {"rgb": 1}


def test_every_type_of_the_list_round_trips() -> None:
    rng = np.random.default_rng(0)
    for name in ARRAY_TYPES:
        values = rng.integers(0, 2, (2, 0 + 3)).astype(name)
        for content in (values, values[:0], values[0, 0]):
            (found,) = read_record(msgpack.packb({"x": content}, default=gembench.encode), ["x"]).values()
            assert np.asarray(found).dtype == values.dtype and np.array_equal(found, content)
    assert np.array_equal(as_array([[1, 2], [3, 4]], "x"), [[1, 2], [3, 4]])
    for wrong in (None, "text", [], [[1], [1, 2]], [b"x"], {"a": 1}, [msgpack.Timestamp(1)]):
        with pytest.raises(RecordError, match="x is no array"):
            as_array(wrong, "x")


def test_every_cut_of_a_record_is_told() -> None:
    content = gembench.pack({"key_frameids": [0, 5], "action": np.zeros((2, 8), dtype=np.float32)})
    for end in range(len(content)):
        with pytest.raises(RecordError):
            read_record(content[:end], ["key_frameids", "action"])
    for other in (
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb("text"),
        b"\x81" * 5000,
        b"\x91" * 100_000,
        b"\xdf\xff\xff\xff\xff",
    ):
        with pytest.raises(RecordError, match="cut short or no msgpack map"):
            read_record(other, ["action"])


RANDOM = gembench.record(1)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"action": RANDOM["action"][:, :7]}, r"action \(3, 7\), expected"),
        ({"action": RANDOM["action"][:2]}, r"key_frameids \(3,\) and action \(2, 8\)"),
        ({"action": np.where(np.arange(8) == 1, np.nan, RANDOM["action"])}, "action: keystep 0 holds a number that is not"),
        ({"action": RANDOM["action"] * 2}, "the quaternion of keystep 0 has length 2, expected 1"),
        ({"key_frameids": []}, "key_frameids is no array"),
        ({"key_frameids": [0], "action": RANDOM["action"][:1]}, "T at least 2"),
        ({"rgb": RANDOM["rgb"][:, :3]}, r"got rgb uint8 \(3, 3, 32, 32, 3\)"),
        ({"rgb": RANDOM["rgb"].astype(np.float32)}, "got rgb float32"),
        ({"rgb": RANDOM["rgb"][:2], "pc": RANDOM["pc"][:2]}, r"got rgb uint8 \(2, 4, 32, 32, 3\)"),
        ({"pc": RANDOM["pc"][..., :2]}, r"pc float32 \(3, 4, 32, 32, 2\)"),
        ({"pc": RANDOM["pc"].astype(np.int32)}, "pc int32"),
        ({"pc": np.full_like(RANDOM["pc"], np.nan)}, "camera 'left_shoulder' are no picture .*: image 0: got 0 measured"),
        ({"pc": RANDOM["pc"][:, :, :, ::-1]}, "camera 'left_shoulder' are no picture"),
    ],
)  # fmt: skip
def test_a_record_that_is_no_episode_is_named(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    folder = with_record(tmp_path / "demos", gembench.pack(gembench.record(1, **changes)))
    for use in (open_demos(folder).read, open_demos(folder).verify):
        with pytest.raises(CorruptEpisodeError, match=rf"Episode push_button/030002 \(.*data.mdb\): .*{part}") as caught:
            use(REF)
        assert "\n" not in str(caught.value)
    skipping = open_demos(folder, on_corrupt="skip")
    assert skipping.episodes() == [] and list(skipping.skipped) == [REF]


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    record = gembench.record(1)
    del record["pc"]
    with pytest.raises(CorruptEpisodeError, match="episode2: it has no pc"):
        open_demos(with_record(tmp_path / "demos", gembench.pack(record))).read(REF)


# Files


READ = """
import sys
from vla3d.data.sources import open_demos
from vla3d.errors import DataError
for folder in sys.argv[1:]:
    try:
        source = open_demos(folder)
        for ref in source.episodes():
            source.verify(ref)
        print("whole")
    except DataError as error:
        print(error)
"""


def test_a_truncated_lmdb_is_one_sentence_and_kills_nobody(tmp_path: Path) -> None:
    """LMDB maps its file: reading behind the end is SIGBUS, so this runs in a process of its own."""
    folders = []
    for number, share in enumerate((0.0, 0.003, 0.03, 0.5, 0.999, 1.0)):
        folders.append(with_record(tmp_path / str(number), gembench.pack(gembench.record(1))))
        file = folders[-1] / SEED0 / "push_button+3" / "data.mdb"
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    done = subprocess.run([sys.executable, "-c", READ, *map(str, folders)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (done.returncode, done.stderr)
    *cut, whole = done.stdout.splitlines()
    assert whole == "whole" and len(cut) == 5
    for line in cut:
        assert "is cut short: it has" in line or "cannot be opened as an LMDB" in line


def test_something_else_under_the_name_of_an_lmdb(tmp_path: Path) -> None:
    folder = with_record(tmp_path / "demos", gembench.pack(gembench.record(1)))
    gembench.write_records(folder / SEED0 / "close_jar+15", {"episode0": gembench.pack(gembench.record(2)), "other": b""})
    (folder / SEED0 / "push_button+3" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match=r"push_button\+3/data.mdb cannot be opened as an LMDB .*copy the folder again"):
        open_demos(folder).episodes()
    source = open_demos(folder, on_corrupt="skip")
    assert source.episodes() == [EpisodeRef("close_jar", 150_000)]
    assert source.tasks() == ("close_jar",)
    assert list(source.skipped) == [EpisodeRef("push_button", 30_000)]


def test_numbers_that_would_pass_for_another_variation(tmp_path: Path) -> None:
    folder = with_record(tmp_path / "demos", b"")
    gembench.write_records(folder / SEED0 / "close_jar+15", {"episode10000": b"", "episodes": b"", "episode-1": b""})
    with pytest.raises(DataError, match=r"close_jar\+15 has an episode10000, expected below 10000"):
        open_demos(folder).episodes()


def test_sentences_are_needed(tmp_path: Path) -> None:
    folder = with_record(tmp_path / "demos", gembench.pack(gembench.record(1)))
    file = folder / "taskvars_instructions_new.json"
    for wrong in ({}, {"push_button+3": []}, {"push_button+3": "push"}, {"push_button+3": [3]}):
        file.write_text(json.dumps(wrong))
        with pytest.raises(CorruptEpisodeError, match=r"has no list of sentences for 'push_button\+3'"):
            open_demos(folder).info(REF)
    for content, part in (("{", "cannot be read"), ("[]", "holds no object")):
        file.write_text(content)
        with pytest.raises(DataError, match=part):
            open_demos(folder)
    file.unlink()
    with pytest.raises(DataError, match=r"has no taskvars_instructions_new.json, nor a folder around it"):
        open_demos(folder)


def test_keysteps_have_one_keyframe_rule_and_one_seed(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="keyframe_rule: got 'peract', but gembench stores keyframes alone; expected 'recorded'"
    ):
        open_demos(root, keyframe_rule="peract")
    for seed in ("seed0", "seed1"):
        gembench.write_records(tmp_path / "two" / seed / "push_button+3", {"episode0": b""})
    with pytest.raises(DataError, match="holds 2 seeds"):
        open_demos(tmp_path / "two")


def test_what_is_needed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lmdb", "msgpack"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ImportError, match=rf"{module} is not installed; .*pip install 'vla3d\[gembench\]'"):
                open_demos(root).read(REF)
