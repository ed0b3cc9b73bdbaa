"""A policy that answers requests one after the other, whoever asks."""

import threading

from vla3d.data.formats.gembench import CAMERAS
from vla3d.errors import ConfigError
from vla3d.policies.base import Policy
from vla3d.seeding import scene_seed
from vla3d.serving.gembench import Cameras, observation, pack_action, read_request


class GemBenchActor:
    """Answers GemBench's requests with one policy, which is reset whenever an episode begins.

    Requests are decoded side by side and decided one at a time. A policy that remembers earlier steps must be asked by one
    client: a step of another episode than the last one's begins anew.

    Args:
        policy: what decides.
        step_limit: decisions that the client allows in an episode.
        seed: of the policy's randomness, with the taskvar and the episode's number.

    Raises:
        ConfigError: the policy needs a camera that GemBench does not have.
    """

    def __init__(self, policy: Policy, *, step_limit: int, seed: int) -> None:
        missing = [camera for camera in getattr(policy, "required_cameras", ()) if camera not in CAMERAS]
        if missing:
            raise ConfigError(
                f"checkpoint: its policy was trained with the camera {missing[0]!r}, GemBench has {', '.join(CAMERAS)}; "
                "take a policy that was trained with these."
            )
        self._policy = policy
        self._step_limit = step_limit
        self._seed = seed
        self._cameras = Cameras()
        self._episode: tuple[str, int] | None = None
        self._lock = threading.Lock()

    def __call__(self, body: bytes) -> bytes:
        """The answer to one request.

        Raises:
            RequestError: the request is not what the protocol asks for.
            ObservationError: the policy cannot use the observation or the sentence.
        """
        request = read_request(body)
        with self._lock:
            seen = observation(request, self._cameras.frames(request), self._step_limit)
            episode = (request.taskvar, request.episode_id)
            if request.step_id == 0 or episode != self._episode:
                self._policy.reset(scene_seed("test", self._seed, request.taskvar, request.episode_id))
                self._episode = episode
            return pack_action(self._policy.act(seen))
