"""The default renderer: ``mujoco_warp``'s batched ray tracer, on the CPU or on CUDA."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import mujoco
import numpy as np

from vla3d.envs.tabletop.rendering.base import (
    APPEARANCE_FIELDS,
    BACKGROUND_COLOR,
    GEOM_GROUPS,
    POSE_FIELDS,
    CameraImage,
    camera_ids,
    check_size,
    check_worlds,
)
from vla3d.errors import ConfigError
from vla3d.kernels.warp_runtime import load_warp


def _check_device(warp: ModuleType, device: str) -> None:
    """Refuse a device that this machine lacks.

    Raises:
        ConfigError: naming those it has.
    """
    names = ["cpu", *(str(known) for known in warp.get_cuda_devices())]
    if device not in names and not (device == "cuda" and len(names) > 1):
        raise ConfigError(f"Warp has no device {device!r} on this machine. Devices: {', '.join(names)}.")


class WarpRenderer:
    """Ray-traced colours, depth and geom ids of all cameras of all worlds in one kernel launch.

    The first renderer on a machine compiles kernels (seconds), which the on-disk kernel cache of ``warp`` keeps. The far
    plane of the model is ignored: a camera sees a geom at any distance.

    ``device="cuda"`` uses the same code; it has not been run on a CUDA device yet.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        *,
        height: int,
        width: int,
        num_worlds: int = 1,
        shadows: bool = False,
        device: str = "cpu",
    ) -> None:
        """Build the scene's bounding volumes and compile or load the kernels.

        Args:
            model: the compiled scene.
            cameras: names of cameras in the model.
            height: pixels.
            width: pixels.
            num_worlds: the most worlds one call renders.
            shadows: whether lights that cast shadows do.
            device: ``"cpu"`` or a CUDA device of ``warp`` such as ``"cuda:0"``.

        Raises:
            ConfigError: for an unknown camera or device, or a size below 1.
        """
        check_size(height, width, num_worlds)
        self.cameras = tuple(cameras)
        self.height, self.width, self.num_worlds = height, width, num_worlds
        self._camera_ids = camera_ids(model, cameras)
        self._model = model.__copy__()
        self._warp = load_warp()
        _check_device(self._warp, device)
        self._tracer = importlib.import_module("mujoco_warp")
        with self._warp.ScopedDevice(device):
            self._build(shadows)

    def _build(self, shadows: bool) -> None:
        model, tracer = self._model, self._tracer
        self._device_model = tracer.put_model(model, batch_sizes=dict.fromkeys(APPEARANCE_FIELDS, self.num_worlds))
        # The tracer reads poses only: no room for contacts or constraints is needed.
        self._device_data = tracer.make_data(model, nworld=self.num_worlds, nconmax=0, njmax=0)
        self._context = tracer.create_render_context(
            model,
            nworld=self.num_worlds,
            cam_res=(self.width, self.height),
            render_rgb=True,
            render_depth=True,
            render_seg=True,
            use_textures=bool(model.ntex),
            use_shadows=shadows,
            enable_specular=False,
            enabled_geom_groups=list(GEOM_GROUPS),
            cam_active=self._camera_ids,
            background_color=(*((channel + 0.5) / 255 for channel in BACKGROUND_COLOR), 1.0),
        )
        # The clipping planes are compiled into the kernel and follow the scene's size: with fixed ones every task
        # shares one compiled kernel. 0 turns far clipping off; the near plane does not enter precomputed rays.
        self._context.znear, self._context.zfar = 0.01, 0.0
        self._poses = {name: self._staging(getattr(self._device_data, name)) for name in POSE_FIELDS}
        self._appearance = {name: self._staging(getattr(self._device_model, name)) for name in APPEARANCE_FIELDS}

    def _staging(self, array: Any) -> tuple[np.ndarray, Any]:
        """Host memory to write a device array through: the array itself on the CPU, a mirror to upload elsewhere."""
        return array.numpy(), None if array.device.is_cpu else array

    def render(self, datas: Sequence[mujoco.MjData]) -> list[dict[str, CameraImage]]:
        """Render every camera of each world; see ``Renderer.render``."""
        assert self._context is not None, "render() after close()"
        check_worlds(self._model, self._camera_ids, datas, self.num_worlds)
        for world, data in enumerate(datas):
            for name, (host, _) in self._poses.items():
                host[world] = getattr(data, name).reshape(host.shape[1:])
            for name, (host, _) in self._appearance.items():
                host[world] = getattr(data.model, name).reshape(host.shape[1:])
        for host, device_array in (*self._poses.values(), *self._appearance.values()):
            if device_array is not None:
                device_array.assign(host)
        self._device_data.nworld = len(datas)
        with self._warp.ScopedDevice(self._device_data.geom_xpos.device):
            self._tracer.refit_bvh(self._device_model, self._device_data, self._context)
            self._tracer.render(self._device_model, self._device_data, self._context)
        return self._images(len(datas))

    def _images(self, num_worlds: int) -> list[dict[str, CameraImage]]:
        shape = (self.num_worlds, len(self.cameras), self.height, self.width)
        # Colours are packed as 0xAARRGGBB, that is B, G, R, A in memory.
        bgra = self._context.rgb_data.numpy().view(np.uint8).reshape(*shape, 4)[:num_worlds]
        rgb = np.empty((*bgra.shape[:-1], 3), dtype=np.uint8)
        for channel in range(3):  # four times faster than one copy with a negative stride
            rgb[..., channel] = bgra[..., 2 - channel]
        depth = self._context.depth_data.numpy().reshape(shape)[:num_worlds].copy()
        ids = np.ascontiguousarray(self._context.seg_data.numpy()[:num_worlds, :, 0]).reshape(num_worlds, *shape[1:])
        return [
            {
                camera: CameraImage(rgb[world, index], depth[world, index], ids[world, index])
                for index, camera in enumerate(self.cameras)
            }
            for world in range(num_worlds)
        ]

    def close(self) -> None:
        """Free the device arrays."""
        self._poses, self._appearance = {}, {}
        self._context = self._device_data = self._device_model = None
