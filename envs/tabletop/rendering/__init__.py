"""Camera images of a simulated scene: one interface, three implementations.

``make_renderer("warp", model, cameras, height=128, width=128)`` gives the default; see ``base`` for the contract.
"""

from vla3d.envs.tabletop.rendering.base import (
    BACKGROUND_COLOR,
    MISS,
    RENDERERS,
    CameraImage,
    Renderer,
    make_renderer,
)

__all__ = ["BACKGROUND_COLOR", "MISS", "RENDERERS", "CameraImage", "Renderer", "make_renderer"]
