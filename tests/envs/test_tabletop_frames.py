"""What the cameras see: calibration, depth, instances, visibility. One renderer for the module."""

import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.colors import COLOR_NAMES, COLORS
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.frames import DEPTH_UNIT, MAX_DEPTH, intrinsic_matrix, quantize_depth
from vla3d.envs.tabletop.scene import CAMERA_NAMES
from vla3d.types import RgbdFrame

CROPPED_WITH_THE_TABLE = 0.005
"""Metres above the table; configs/policy/bridgevla_nano.yaml crops at 4 mm."""

_ENVS: dict[str, TabletopEnv] = {}


@pytest.fixture(params=sorted(BUILT_IN))
def env(request: pytest.FixtureRequest) -> TabletopEnv:
    if request.param not in _ENVS:
        made = make_env(request.param)
        assert isinstance(made, TabletopEnv)
        _ENVS[request.param] = made
    return _ENVS[request.param]


def world_points(frame: RgbdFrame) -> np.ndarray:
    """Points of every pixel in the world, written out from the conventions: ``(H, W, 3)``."""
    rows, columns = np.indices(frame.depth.shape)
    fx, fy, cx, cy = frame.intrinsics[0, 0], frame.intrinsics[1, 1], frame.intrinsics[0, 2], frame.intrinsics[1, 2]
    depth = frame.depth.astype(np.float64)
    camera = np.stack([(columns + 0.5 - cx) / fx * depth, (rows + 0.5 - cy) / fy * depth, depth], axis=-1)
    return camera @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]


def test_observation_is_complete(env: TabletopEnv) -> None:
    observation = env.reset(seed=1)
    assert tuple(observation.frames) == tuple(env.camera_names) == CAMERA_NAMES and len(CAMERA_NAMES) == 4
    for frame in observation.frames.values():
        assert frame.rgb.shape == (128, 128, 3) and frame.rgb.dtype == np.uint8
        assert frame.depth.dtype == np.float32 and frame.segmentation is not None
        assert frame.segmentation.dtype == np.int16 and set(np.unique(frame.segmentation)) <= set(env.instance_names)
        rotation = frame.T_world_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_points_of_an_instance_lie_on_it(env: TabletopEnv) -> None:
    for seed in range(3):
        observation = env.reset(seed=seed)
        for name, frame in observation.frames.items():
            points = world_points(frame)
            for number, body in env.instance_names.items():
                if number < 2:
                    continue
                geoms = env.world.geom_instances == number
                data, model = env.world.sim.data, env.world.model
                centers, reach = data.geom_xpos[geoms], model.geom_rbound[geoms]
                seen = points[frame.segmentation == number]
                distance = np.linalg.norm(seen[:, None] - centers[None], axis=-1) - reach[None]
                assert (distance.min(axis=1) < 0.003).all(), (name, body)


def test_table_points_are_on_the_table(env: TabletopEnv) -> None:
    frame = env.reset(seed=2).frames["front"]
    heights = world_points(frame)[..., 2][(frame.segmentation == 0) & (frame.depth > 0)]
    assert np.median(np.abs(heights[heights > -0.1])) < 2e-4


def painted_things(env: TabletopEnv) -> list[tuple[int, int]]:
    """Instance id and colour of everything that the task paints and that is there."""
    numbered = enumerate(env.episode.scenario.colors, start=2)
    return [(number, color) for number, color in numbered if env.instance_names[number] not in env.world.away]


def test_everything_a_sentence_can_name_is_seen_twice_above_the_table(env: TabletopEnv) -> None:
    for seed in range(15):
        frames = env.reset(seed=seed).frames.values()
        high = [world_points(frame)[..., 2] > CROPPED_WITH_THE_TABLE for frame in frames]
        for number, _ in painted_things(env):
            pixels = [int(((f.segmentation == number) & above).sum()) for f, above in zip(frames, high, strict=True)]
            assert sum(count >= 12 for count in pixels) >= 2, (seed, env.instance_names[number], pixels)


def test_named_thing_looks_its_color(env: TabletopEnv) -> None:
    """The named thing's coloured pixels are nearer to its own colour's hue than to any other's."""

    def direction(rgb: np.ndarray) -> np.ndarray:
        return rgb / (np.linalg.norm(rgb, axis=-1, keepdims=True) + 1e-9)

    table = direction(np.array([COLORS[name] for name in COLOR_NAMES]))
    for seed in range(10):
        observation = env.reset(seed=seed)
        for number, color in painted_things(env):
            seen = np.concatenate([f.rgb[f.segmentation == number] for f in observation.frames.values()]).astype(float)
            colored = seen[np.ptp(seen, axis=-1) > 0.3 * seen.max(axis=-1)]
            assert len(colored) >= 20 and int(np.argmax(table @ direction(colored.mean(axis=0)))) == color


def test_same_seed_same_images_and_observing_changes_nothing(env: TabletopEnv) -> None:
    first = env.reset(seed=3)
    state = env.save_state()
    env.observe()
    assert env.save_state() == state
    env.reset(seed=4)
    second = env.reset(seed=3)
    for name, frame in first.frames.items():
        other = second.frames[name]
        assert frame.rgb.tobytes() == other.rgb.tobytes() and frame.depth.tobytes() == other.depth.tobytes()
        assert frame.segmentation.tobytes() == other.segmentation.tobytes()
    again = make_env(env.task)
    again.load_state(state)
    for name, frame in again.observe().frames.items():
        assert frame.rgb.tobytes() == first.frames[name].rgb.tobytes(), "colours and furniture are part of a saved state"
    again.close()


def test_depth_is_lossless_in_sixteen_bits() -> None:
    depth = np.random.default_rng(0).uniform(0.0, 8.0, (40, 50)).astype(np.float32)
    depth[0, :4] = [0.0, np.nan, np.inf, -1.0]
    quantized = quantize_depth(depth)
    units = np.rint(quantized / DEPTH_UNIT).astype(np.uint16)
    np.testing.assert_array_equal((units * DEPTH_UNIT).astype(np.float32), quantized)
    np.testing.assert_array_equal(quantize_depth(quantized), quantized)
    assert (quantized[0, :4] == 0).all() and (quantized[depth > MAX_DEPTH] == 0).all()
    near = np.isfinite(depth) & (depth > 0) & (depth < MAX_DEPTH)
    assert np.abs(quantized - depth)[near].max() <= DEPTH_UNIT / 2 + 1e-6


def test_intrinsics_by_hand() -> None:
    matrix = intrinsic_matrix(90.0, 100, 200)
    np.testing.assert_allclose(matrix, [[50.0, 0.0, 100.0], [0.0, 50.0, 50.0], [0.0, 0.0, 1.0]])
