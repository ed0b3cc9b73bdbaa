"""BridgeVLA: orthographic views through a vision-language model, heatmaps lifted back to 3D, two looks."""

from vla3d.policies.bridgevla.config import AugmentationConfig, BridgeVLAConfig
from vla3d.policies.bridgevla.modeling import BridgeVLA

__all__ = ["AugmentationConfig", "BridgeVLA", "BridgeVLAConfig"]
