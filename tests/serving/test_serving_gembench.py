"""GemBench's requests become observations with the same points, bad ones are refused by name, answers read as they should."""

from typing import Any

import gembench_client as client
import msgpack
import numpy as np
import pytest

from vla3d.errors import ConfigError, RequestError
from vla3d.policies.base import Policy
from vla3d.serving.actor import GemBenchActor
from vla3d.serving.gembench import Cameras, observation, pack_action, read_request
from vla3d.types import Expert, KeyframeAction, Observation


class Parrot(Policy):
    """Answers the gripper's own pose, raised, and keeps what it was told."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.seen: list[Observation] = []

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        self.seeds.append(seed)

    def act(self, observation: Observation) -> KeyframeAction:
        self.seen.append(observation)
        return KeyframeAction(
            position=observation.gripper_position + np.array([0, 0, 0.1]),
            quaternion=observation.gripper_quaternion,
            gripper_open=False,
        )


def test_the_policy_sees_the_clients_points() -> None:
    clouds = client.state()["pc"]
    request = read_request(client.pack(client.request()))
    seen = observation(request, Cameras().frames(request), 25)
    assert tuple(seen.frames) == client.CAMERAS
    for frame, cloud, rgb in zip(seen.frames.values(), clouds, client.state()["rgb"], strict=True):
        columns, rows = np.meshgrid(np.arange(24) + 0.5, np.arange(24) + 0.5)
        rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(frame.intrinsics).T
        points = (rays * frame.depth[..., None]) @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]
        np.testing.assert_allclose(points, cloud, atol=1e-5)
        assert (frame.rgb == rgb).all()


def test_the_gripper_and_the_sentence_arrive() -> None:
    gripper = np.array([0.1, 0.2, 1.0, 0.5, -0.5, 0.5, 0.5, 0.0], dtype=np.float32)
    request = read_request(client.pack(client.request(obs_state_dict=client.state(gripper=gripper), step_id=7)))
    seen = observation(request, {}, 25)
    np.testing.assert_allclose(seen.gripper_position, (0.1, 0.2, 1.0), rtol=1e-6)
    np.testing.assert_allclose(seen.gripper_quaternion, (0.5, 0.5, -0.5, 0.5))  # wxyz
    assert (seen.gripper_open, seen.gripper_width, seen.step, seen.step_limit) == (False, 0.0, 7, 25)
    assert seen.instruction == "push the red button"


def test_a_flat_cloud_takes_what_is_known_of_the_camera() -> None:
    """A camera that looks straight down on the table tells no focal length; RLBench's own is right for it."""
    clouds = client.state()["pc"].copy()
    flat, pose = client.cloud(24, 0, flat=True)
    clouds[3] = flat
    request = read_request(client.pack(client.request(obs_state_dict=client.state(pc=clouds))))
    frame = Cameras().frames(request)["front"]
    np.testing.assert_allclose(frame.depth, 0.7, atol=1e-5)
    np.testing.assert_allclose(frame.T_world_camera, pose, atol=1e-4)


def test_a_flat_cloud_of_a_camera_seen_before_takes_its_focal_length() -> None:
    cameras = Cameras()
    first = read_request(client.pack(client.request()))
    known = cameras.frames(first)["wrist"].intrinsics
    clouds = client.state()["pc"].copy()
    clouds[2] = client.cloud(24, 0, flat=True)[0]  # RLBench's wrist has another focal length than this one
    second = read_request(client.pack(client.request(obs_state_dict=client.state(pc=clouds))))
    frame = cameras.frames(second)["wrist"]
    np.testing.assert_array_equal(frame.intrinsics, known)
    np.testing.assert_allclose(frame.depth, 0.7, atol=1e-4)


def test_no_picture_of_a_camera_is_refused() -> None:
    clouds = np.random.default_rng(0).normal(size=(4, 24, 24, 3)).astype(np.float32)
    request = read_request(client.pack(client.request(obs_state_dict=client.state(pc=clouds))))
    with pytest.raises(RequestError, match="camera 'left_shoulder' are no picture of a pinhole camera"):
        Cameras().frames(request)


def spoilt(**changes: Any) -> dict[str, Any]:
    return client.request(obs_state_dict=client.state(**changes))


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (without(client.request(), "instruction"), "it has no instruction"),
        ([1, 2], "no msgpack map"),
        (client.request(obs_state_dict=[1]), "obs_state_dict is a list, expected a map"),
        (client.request(obs_state_dict=without(client.state(), "pc")), "obs_state_dict has no pc"),
        (client.request(taskvar="push_button"), "Got the taskvar 'push_button', expected a task and a variation"),
        (client.request(taskvar="../x+1"), "Got the taskvar"),
        (client.request(episode_id=-1), "Got episode_id -1, expected a whole number from 0"),
        (client.request(step_id=1.5), "Got step_id 1.5"),
        (client.request(step_id=True), "Got step_id True"),
        (client.request(instruction="  "), "Got the instruction '  ', expected a sentence"),
        (spoilt(rgb=np.zeros((4, 24, 24, 3), dtype=np.float32)), "expected uint8 and floats of shape"),
        (spoilt(rgb=np.zeros((3, 24, 24, 3), dtype=np.uint8)), "expected uint8 and floats of shape"),
        (spoilt(pc=np.zeros((4, 24, 12, 3), dtype=np.float32)), r"pc float32 \(4, 24, 12, 3\)"),
        (spoilt(gripper=np.zeros(7)), r"Got a gripper of shape \(7,\)"),
        (spoilt(gripper=np.full(8, np.nan)), "expected 8 finite numbers"),
        (spoilt(gripper=np.full(8, 2.0)), "Got a gripper quaternion of length 4, expected 1"),
    ],
)
def test_a_bad_request_is_refused_by_what_is_wrong(record: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        read_request(client.pack(record))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 50, 5000])
def test_a_body_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(RequestError, match="cut short"):
        read_request(client.pack(client.request())[:cut])


def test_pickled_objects_are_never_loaded() -> None:
    bomb = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"cos\nsystem\n(S'touch /tmp/x'\ntR."}
    with pytest.raises(RequestError, match="array of Python objects, which is a pickle and is never loaded"):
        read_request(client.pack(spoilt(rgb=bomb)))
    with pytest.raises(RequestError, match="extension"):
        read_request(client.pack(spoilt(rgb=msgpack.ExtType(4, b"x"))))


def test_the_answer_reads_as_the_client_reads_it() -> None:
    action = KeyframeAction(position=np.array([0.1, 0.2, 0.9]), quaternion=np.array([0.5, 0.1, -0.7, 0.5]), gripper_open=True)
    answer = client.decode(pack_action(action))
    length = np.linalg.norm([0.5, 0.1, -0.7, 0.5])
    np.testing.assert_allclose(answer, [0.1, 0.2, 0.9, 0.1 / length, -0.7 / length, 0.5 / length, 0.5 / length, 1.0])
    copied = answer.copy()  # the client writes into it
    copied[7] = 0


@pytest.mark.parametrize("answer", ["absent", "cannot", "done"])
def test_a_terminal_answer_ends_the_clients_episode(answer: str) -> None:
    action = KeyframeAction(position=np.zeros(3), quaternion=np.array([1.0, 0, 0, 0]), gripper_open=True, answer=answer)  # type: ignore[arg-type]
    assert client.decode(pack_action(action)) is None


def test_the_policy_is_reset_for_every_episode_by_its_own_seed() -> None:
    policy = Parrot()
    actor = GemBenchActor(policy, step_limit=25, seed=0)
    for episode, step in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 0), (2, 4)):
        actor(client.pack(client.request(episode_id=episode, step_id=step)))
    first, second, again, late = policy.seeds
    assert first != second == again and late == first
    assert [seen.step for seen in policy.seen] == [0, 1, 0, 1, 0, 4]


def test_a_camera_that_gembench_lacks_is_refused_before_it_serves() -> None:
    class Overhead(Parrot):
        required_cameras = ("front", "overhead")

    with pytest.raises(ConfigError, match="trained with the camera 'overhead', GemBench has left_shoulder"):
        GemBenchActor(Overhead(), step_limit=25, seed=0)
