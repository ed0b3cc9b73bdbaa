"""Renderers against hand-computed pixels, against C MuJoCo rays, and against themselves."""

import mujoco
import numpy as np
import pytest

from vla3d.envs.base import make_env
from vla3d.envs.tabletop.rendering import BACKGROUND_COLOR, MISS, CameraImage, Renderer, make_renderer
from vla3d.errors import ConfigError

HEIGHT, WIDTH = 48, 64
CAMERAS = ("side", "top")

CLUTTER = """
<mujoco>
  <visual><headlight ambient="0.3 0.3 0.3" diffuse="0.4 0.4 0.4"/></visual>
  <asset><material name="wood" rgba="0.6 0.4 0.2 1"/></asset>
  <worldbody>
    <light pos="0.3 0.2 2" dir="-0.1 -0.1 -1" type="directional" diffuse="0.5 0.5 0.5"/>
    <geom name="floor" type="plane" size="2 2 0.1" pos="0 0 -0.5" rgba="0.3 0.3 0.35 1"/>
    <body name="table"><geom name="table" type="box" size="0.5 0.5 0.02" pos="0 0 -0.02" material="wood"/></body>
    <camera name="unused" pos="0 0 5"/>
    <camera name="top" pos="0.1 0 1.2" fovy="60"/>
    <camera name="side" pos="1.1 0.2 0.5" xyaxes="-0.18 0.98 0 -0.4 -0.08 0.9" fovy="50"/>
    <body name="arm" pos="-0.2 0 0"><joint axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 0.4" size="0.04"/>
      <body pos="0 0 0.4"><joint axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 0.3" size="0.03" rgba="0.9 0.9 0.9 1"/>
      </body></body>
    <body pos="0.1 0.2 0.05"><freejoint/><geom name="cube" type="box" size="0.04 0.04 0.04" rgba="0.9 0.1 0.1 1"/></body>
    <body pos="0.2 -0.2 0.05"><freejoint/><geom type="cylinder" size="0.05 0.04" rgba="0.1 0.8 0.1 1"/></body>
    <body pos="0.3 0 0.05"><freejoint/><geom type="sphere" size="0.05" rgba="0.1 0.1 0.9 1"/></body>
    <body pos="0 0 0.05"><freejoint/><geom type="ellipsoid" size="0.08 0.05 0.03" rgba="0.9 0.8 0.1 1"/></body>
    <geom name="helper" type="sphere" size="0.3" pos="0 0 0.5" group="3"/>
    <geom name="clear" type="sphere" size="0.3" pos="0 0 0.5" rgba="1 1 1 0"/>
  </worldbody>
</mujoco>
"""

# One camera 2 m above a plate of 1.0 m by 0.5 m, looking straight down with image right = +x and image up = +y.
PLATE = """
<mujoco>
  <worldbody>
    <camera name="down" pos="0 0 2.1" fovy="45"/>
    <geom name="plate" type="box" size="0.5 0.25 0.1" rgba="1 0 0 1"/>
    <geom name="ball" type="sphere" size="0.05" pos="0.4 0.2 0.1" rgba="0 1 0 1"/>
  </worldbody>
</mujoco>
"""


def load(xml: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def scramble(model: mujoco.MjModel, data: mujoco.MjData, seed: int) -> None:
    """A random arm posture and random poses of the free bodies above the table."""
    rng = np.random.default_rng(seed)
    data.qpos[:2] = rng.uniform(-1.2, 1.2, 2)
    for start in range(2, model.nq, 7):
        data.qpos[start : start + 3] = rng.uniform([-0.35, -0.35, 0.0], [0.35, 0.35, 0.3])
        quaternion = rng.normal(size=4)
        data.qpos[start + 3 : start + 7] = quaternion / np.linalg.norm(quaternion)
    mujoco.mj_forward(model, data)


def render_one(name: str, model: mujoco.MjModel, data: mujoco.MjData, **options: object) -> dict[str, CameraImage]:
    renderer = make_renderer(name, model, CAMERAS, height=HEIGHT, width=WIDTH, **options)
    images = renderer.render([data])[0]
    renderer.close()
    return images


def to_bytes(images: dict[str, CameraImage]) -> bytes:
    return b"".join(part.tobytes() for image in images.values() for part in (image.rgb, image.depth, image.geom_ids))


def away_from_edges(ids: np.ndarray) -> np.ndarray:
    """Pixels whose eight neighbours show the same geom."""
    padded = np.pad(ids, 1, mode="edge")
    height, width = ids.shape
    shifts = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.all([shift == ids for shift in shifts], axis=0)


def assert_agrees(image: CameraImage, reference: CameraImage) -> None:
    """The contract between any renderer and the rays of C MuJoCo."""
    assert (image.geom_ids == reference.geom_ids).mean() >= 0.98
    error = np.abs(image.depth - reference.depth)
    assert np.median(error) < 1e-4
    inner = away_from_edges(reference.geom_ids)
    assert inner.mean() > 0.5
    assert (error[inner] < 2e-3).mean() >= 0.98


@pytest.fixture(scope="module")
def clutter() -> tuple[mujoco.MjModel, mujoco.MjData]:
    return load(CLUTTER)


@pytest.mark.parametrize("name", ["warp", "raycast"])
class TestEveryRenderer:
    def test_shapes_types_and_protocol(self, name: str, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        renderer = make_renderer(name, model, CAMERAS, height=HEIGHT, width=WIDTH)
        assert isinstance(renderer, Renderer)
        worlds = renderer.render([data])
        assert len(worlds) == 1 and tuple(worlds[0]) == CAMERAS == renderer.cameras
        for image in worlds[0].values():
            assert (image.rgb.shape, image.rgb.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
            assert (image.depth.shape, image.depth.dtype) == ((HEIGHT, WIDTH), np.float32)
            assert (image.geom_ids.shape, image.geom_ids.dtype) == ((HEIGHT, WIDTH), np.int32)

    def test_pixels_computed_by_hand(self, name: str) -> None:
        model, data = load(PLATE)
        image = make_renderer(name, model, ["down"], height=100, width=120).render([data])[0]["down"]
        plate, ball = model.geom("plate").id, model.geom("ball").id
        focal = 50 / np.tan(np.deg2rad(22.5))
        # Planar depth is the camera's height over the plate at every pixel, however far from the optical axis.
        np.testing.assert_allclose(image.depth[image.geom_ids == plate], 2.0, atol=1e-5)
        rows, columns = np.nonzero(image.geom_ids == plate)
        # The plate's edges lie at x = +-0.5, y = +-0.25 at depth 2: a pixel belongs to it when its centre does.
        assert (columns.min(), columns.max()) == (round(60 - focal * 0.25), round(60 + focal * 0.25) - 1)
        assert (rows.min(), rows.max()) == (round(50 - focal * 0.125), round(50 + focal * 0.125) - 1)
        # The ball sits at +x, +y: right of the centre and above it.
        rows, columns = np.nonzero(image.geom_ids == ball)
        assert abs(columns.mean() + 0.5 - (60 + focal * 0.4 / 2.0)) < 1
        assert abs(rows.mean() + 0.5 - (50 - focal * 0.2 / 2.0)) < 1
        assert abs(image.depth[image.geom_ids == ball].min() - 1.95) < 2e-3
        assert image.rgb[50, 60].argmax() == 0

    def test_background(self, name: str) -> None:
        model, data = load(PLATE)
        image = make_renderer(name, model, ["down"], height=40, width=60).render([data])[0]["down"]
        missed = image.geom_ids == MISS
        assert 0.1 < missed.mean() < 0.9
        assert (image.depth[missed] == 0).all() and (image.depth[~missed] > 1).all()
        assert (image.rgb[missed] == BACKGROUND_COLOR).all()

    def test_helper_and_clear_geoms_are_not_seen(self, name: str, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        hidden = {model.geom("helper").id, model.geom("clear").id}
        for image in render_one(name, model, data).values():
            assert not hidden & set(np.unique(image.geom_ids))

    def test_several_worlds_equal_one_at_a_time(self, name: str, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, _ = clutter
        datas = []
        for seed in range(3):
            own = model.__copy__()
            own.geom_rgba[model.geom("cube").id, :3] = np.eye(3)[seed]
            datas.append(mujoco.MjData(own))
            scramble(own, datas[-1], seed)
        together = make_renderer(name, model, CAMERAS, height=HEIGHT, width=WIDTH, num_worlds=3)
        singles = [to_bytes(render_one(name, model, data)) for data in datas]
        assert len(set(singles)) == 3
        assert [to_bytes(images) for images in together.render(datas)] == singles
        # Fewer worlds than the renderer has room for, in another order.
        assert [to_bytes(images) for images in together.render(datas[2:0:-1])] == singles[2:0:-1]

    def test_same_bytes_every_time(self, name: str, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        scramble(model, data, 5)
        renderer = make_renderer(name, model, CAMERAS, height=HEIGHT, width=WIDTH)
        first = renderer.render([data])[0]
        kept = to_bytes(first)
        scramble(model, data, 6)
        other = to_bytes(renderer.render([data])[0])
        scramble(model, data, 5)
        assert to_bytes(renderer.render([data])[0]) == kept == to_bytes(render_one(name, model, data))
        assert other != kept
        assert to_bytes(first) == kept, "an answer must not change under a later render"

    def test_worlds_are_left_alone(self, name: str, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        state = mujoco.mjtState.mjSTATE_INTEGRATION
        before, after = np.empty((2, mujoco.mj_stateSize(model, state)))
        mujoco.mj_getState(model, data, before, state)
        rgba, poses = model.geom_rgba.copy(), data.geom_xpos.copy()
        render_one(name, model, data)
        mujoco.mj_getState(model, data, after, state)
        assert (before == after).all() and (rgba == model.geom_rgba).all() and (poses == data.geom_xpos).all()

    def test_refuses_what_it_cannot_draw(self, name: str, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        size = {"height": HEIGHT, "width": WIDTH}
        with pytest.raises(ConfigError, match=r"camera 'tops'.*Did you mean 'top'"):
            make_renderer(name, model, ["tops"], **size)
        for cameras in ([], ["top", "top"]):
            with pytest.raises(ConfigError, match="one or more different cameras"):
                make_renderer(name, model, cameras, **size)
        with pytest.raises(ConfigError, match="1 or more; got 0"):
            make_renderer(name, model, CAMERAS, height=0, width=WIDTH)
        flat, _ = load(PLATE.replace("<camera ", "<camera projection='orthographic' "))
        with pytest.raises(ConfigError, match="'down' is orthographic"):
            make_renderer(name, flat, ["down"], **size)
        renderer = make_renderer(name, model, CAMERAS, **size)
        for worlds in ([], [data, data]):
            with pytest.raises(ConfigError, match=f"1 to 1 worlds here; got {len(worlds)}"):
                renderer.render(worlds)
        with pytest.raises(ConfigError, match="World 0 belongs to another model"):
            renderer.render([load(PLATE)[1]])
        zoomed = model.__copy__()
        zoomed.cam_fovy[zoomed.cam("top").id] = 30
        with pytest.raises(ConfigError, match="lenses"):
            renderer.render([mujoco.MjData(zoomed)])


def test_unknown_renderer(clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    with pytest.raises(ConfigError, match=r"renderer 'wrap'.*Did you mean 'warp'"):
        make_renderer("wrap", clutter[0], CAMERAS, height=8, width=8)


def test_unknown_device(clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    with pytest.raises(ConfigError, match=r"no device 'tpu'.*cpu"):
        make_renderer("warp", clutter[0], CAMERAS, height=8, width=8, device="tpu")


class TestWarpAgainstRays:
    @pytest.mark.parametrize("seed", range(8))
    def test_random_scenes(self, seed: int, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        scramble(model, data, seed)
        rays, images = render_one("raycast", model, data), render_one("warp", model, data)
        assert len(np.unique(rays["side"].geom_ids)) >= 6
        for camera in CAMERAS:
            assert_agrees(images[camera], rays[camera])

    def test_furniture_and_sizes_change_without_a_new_renderer(self) -> None:
        model, data = load(CLUTTER)
        renderer = make_renderer("warp", model, CAMERAS, height=HEIGHT, width=WIDTH)
        before = renderer.render([data])[0]
        model.body_pos[model.body("table").id] = [0.1, -0.2, -0.1]
        model.geom_size[model.geom("cube").id] = [0.1, 0.02, 0.06]
        mujoco.mj_forward(model, data)
        after, rays = renderer.render([data])[0], render_one("raycast", model, data)
        for camera in CAMERAS:
            assert (before[camera].depth != after[camera].depth).mean() > 0.2
            assert_agrees(after[camera], rays[camera])


@pytest.mark.parametrize("task", ["pick_and_lift", "place_in_container", "open_drawer", "push_buttons", "reach_target"])
def test_built_in_tasks_look_the_same_by_warp_and_by_rays(task: str) -> None:
    seen = []
    for renderer in ("warp", "raycast"):
        env = make_env(task, image_size=96, renderer=renderer)
        seen.append(env.reset(seed=3).frames)
        env.close()
    for camera, frame in seen[0].items():
        instances, reference = frame.segmentation, seen[1][camera].segmentation
        assert instances is not None and reference is not None
        assert len(np.unique(reference)) >= 3
        assert (instances == reference).mean() >= 0.98
        error = np.abs(frame.depth - seen[1][camera].depth)
        assert np.median(error) <= 1e-4 and (error[away_from_edges(reference)] < 2e-3).mean() >= 0.98


@pytest.mark.gpu
def test_cuda_equals_cpu(clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = clutter
    scramble(model, data, 2)
    host, device = (render_one("warp", model, data, shadows=True, device=name) for name in ("cpu", "cuda"))
    for camera in CAMERAS:
        assert (host[camera].geom_ids == device[camera].geom_ids).mean() > 0.99
        assert np.median(np.abs(host[camera].depth - device[camera].depth)) < 1e-5
        assert np.median(np.abs(host[camera].rgb.astype(int) - device[camera].rgb)) <= 1


class TestWarpColors:
    def test_a_recolored_geom_changes_its_own_pixels_only(self) -> None:
        model, data = load(CLUTTER)
        cube = model.geom("cube").id
        renderer = make_renderer("warp", model, CAMERAS, height=HEIGHT, width=WIDTH)
        red = renderer.render([data])[0]["top"]
        model.geom_rgba[cube] = [0.1, 0.1, 0.9, 1]
        blue = renderer.render([data])[0]["top"]
        of_cube = red.geom_ids == cube
        assert of_cube.sum() > 5
        assert (red.rgb[of_cube].argmax(axis=1) == 0).all() and (blue.rgb[of_cube].argmax(axis=1) == 2).all()
        assert (red.rgb[~of_cube] == blue.rgb[~of_cube]).all()

    def test_material_and_light_follow_the_model(self) -> None:
        model, data = load(CLUTTER)
        table = model.geom("table").id
        renderer = make_renderer("warp", model, CAMERAS, height=HEIGHT, width=WIDTH)
        image = renderer.render([data])[0]["top"]
        on_table = image.geom_ids == table
        model.mat_rgba[0] = [0.2, 0.4, 0.6, 1]
        assert (image.rgb[on_table].argmax(axis=1) == 0).all()
        recolored = renderer.render([data])[0]["top"].rgb[on_table].astype(int)
        assert (recolored.argmax(axis=1) == 2).all()
        model.light_diffuse[:] *= 0.2
        dim = renderer.render([data])[0]["top"].rgb[on_table].astype(int)
        assert (dim.sum(axis=1) < recolored.sum(axis=1)).all()
        model.light_active[:] = False
        assert (renderer.render([data])[0]["top"].rgb[on_table].sum(axis=1) < dim.sum(axis=1)).all()

    def test_lambert_shading_by_hand(self) -> None:
        # One directional light straight down, no headlight: a horizontal face has albedo * (ambient + diffuse), a
        # 60 degree ramp albedo * (ambient + diffuse / 2), whatever the camera.
        model, data = load(
            """<mujoco><visual><headlight active="0"/></visual><worldbody>
            <light type="directional" dir="0 0 -1" ambient="0.2 0.2 0.2" diffuse="0.6 0.6 0.6" specular="1 1 1"/>
            <camera name="down" pos="0 0 3" fovy="60"/>
            <geom name="flat" type="box" size="0.3 0.3 0.001" pos="-1 0 0" rgba="1 0.5 0 1"/>
            <geom name="ramp" type="box" size="0.3 0.3 0.3" euler="60 0 0" rgba="1 0.5 0 1"/>
            </worldbody></mujoco>"""
        )
        image = make_renderer("warp", model, ["down"], height=60, width=60).render([data])[0]["down"]
        flat = np.unique(image.rgb[image.geom_ids == model.geom("flat").id].astype(int), axis=0)
        assert np.abs(flat - [0.8 * 255, 0.4 * 255, 0]).max() <= 2
        ramp = image.rgb[image.geom_ids == model.geom("ramp").id].astype(int)
        # Faces tilted by 60 and by 30 degrees are both in sight.
        expected = np.array([[0.5, 0.25, 0.0], (0.2 + 0.6 * np.sqrt(3) / 2) * np.array([1, 0.5, 0])]) * 255
        nearest = np.abs(ramp[:, None] - expected).max(axis=2)
        assert (nearest.min(axis=1) <= 2).mean() > 0.98
        assert set(nearest.argmin(axis=1)) == {0, 1}

    def test_shadows_darken_and_touch_nothing_else(self, clutter: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
        model, data = clutter
        scramble(model, data, 1)
        lit, shaded = (render_one("warp", model, data, shadows=shadows)["top"] for shadows in (False, True))
        assert (lit.depth == shaded.depth).all() and (lit.geom_ids == shaded.geom_ids).all()
        darker = (shaded.rgb.astype(int) < lit.rgb).any(axis=2)
        assert (shaded.rgb <= lit.rgb).all() and 0.01 < darker.mean() < 0.5

    def test_textures(self) -> None:
        xml = PLATE.replace(
            "<worldbody>",
            """<asset><texture name="checker" type="2d" builtin="checker" rgb1="1 1 1" rgb2="0 0 0" width="64" height="64"/>
            <material name="checker" texture="checker" texrepeat="4 4"/></asset><worldbody>""",
        ).replace('rgba="1 0 0 1"', 'material="checker"')
        model, data = load(xml)
        image = make_renderer("warp", model, ["down"], height=60, width=60).render([data])[0]["down"]
        brightness = image.rgb[image.geom_ids == model.geom("plate").id].max(axis=1)
        assert (brightness < 20).mean() > 0.3 and (brightness > 60).mean() > 0.3
