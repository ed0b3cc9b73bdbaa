"""BridgeVLA as published in 2025, convention by convention, so that its weights mean here what they meant there."""

from vla3d.policies.bridgevla_v1.config import BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.modeling import BridgeVLAV1

__all__ = ["BridgeVLAV1", "BridgeVLAV1Config"]
