"""Configuration of the 2025 release of BridgeVLA; its conventions are fixed, its sizes are not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from vla3d.backbones.config import PaliGemmaBackboneConfig, check_parts
from vla3d.errors import ConfigError, unknown_name
from vla3d.policies.bridgevla.config import AugmentationConfig, check_workspace, from_plain
from vla3d.types import Workspace

VIEWS = ("top", "front", "right")
BACKBONE_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class BridgeVLAV1Config:
    """BridgeVLA (Li et al. 2025) as released. The defaults are those of the release, for RLBench.

    Attributes:
        workspace_low: lower corner of what is seen and acted on, world metres.
        workspace_high: upper corner.
        cameras: names of the cameras that are fused, in the order in which equally near points win a pixel.
        backbone: the vision-language model, with three views, a bidirectional mask and no proprioception.
        backbone_dtype: number format of its weights, ``"float32"`` or ``"bfloat16"``; the heads are always float32.
        frozen: parts of the backbone that never train (``vla3d.backbones.config.PARTS``).
        pretrained: a folder of this policy to start training from, weights and tokenizer; empty for fresh weights.
        zoom: magnification of the second look.
        zoom_jitter: largest offset, in cube units, of the second look's centre during training.
        heatmap_sigma: standard deviation of the heatmap targets, pixels.
        head_width: channels of the heatmap head.
        action_widths: hidden units of each action head's two layers.
        rotation_noise: in training the heads of y and z read bins that are off by -n ... n - 1.
        augmentation: see ``AugmentationConfig``.
    """

    workspace_low: tuple[float, float, float] = (-0.3, -0.5, 0.6)
    workspace_high: tuple[float, float, float] = (0.7, 0.5, 1.6)
    cameras: tuple[str, ...] = ("front", "left_shoulder", "right_shoulder", "wrist")
    backbone: PaliGemmaBackboneConfig = field(default_factory=lambda: PaliGemmaBackboneConfig(size="paligemma-3b-224"))
    backbone_dtype: str = "bfloat16"
    frozen: tuple[str, ...] = ("vision_tower", "embeddings")
    pretrained: str = ""
    zoom: float = 4.0
    zoom_jitter: float = 0.1
    heatmap_sigma: float = 1.5
    head_width: int = 4096
    action_widths: tuple[int, int] = (4096, 2048)
    rotation_noise: int = 2
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ConfigError("policy.cameras: got an empty list, expected at least one name.")
        if self.backbone_dtype not in BACKBONE_DTYPES:
            raise unknown_name("policy.backbone_dtype", self.backbone_dtype, BACKBONE_DTYPES)
        check_parts(self.frozen)
        for name in ("zoom", "heatmap_sigma"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"policy.{name}: got {getattr(self, name)}, expected a positive number.")
        for name in ("zoom_jitter", "rotation_noise"):
            if getattr(self, name) < 0:
                raise ConfigError(f"policy.{name}: got {getattr(self, name)}, expected zero or more.")
        if len(self.action_widths) != 2 or min(self.head_width, *self.action_widths) < 1:
            raise ConfigError(
                f"policy.head_width and policy.action_widths: got {self.head_width} and {self.action_widths}, "
                "expected a number and two numbers, each at least 1."
            )
        check_workspace(self.workspace_low, self.workspace_high)
        if self.backbone.mask != "bidirectional":
            raise ConfigError(f"policy.backbone.mask: got {self.backbone.mask!r}, expected 'bidirectional', as released.")
        object.__setattr__(self, "backbone", replace(self.backbone, num_views=len(VIEWS), proprio_dim=0))

    @property
    def views(self) -> tuple[str, ...]:
        """The three virtual cameras of the release."""
        return VIEWS

    @property
    def workspace(self) -> Workspace:
        """The workspace as a box."""
        return Workspace.from_bounds(self.workspace_low, self.workspace_high)

    def to_dict(self) -> dict[str, Any]:
        """Plain, JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the plain form.

        Raises:
            ConfigError: for unknown keys or invalid values.
        """
        return from_plain(cls, values)
