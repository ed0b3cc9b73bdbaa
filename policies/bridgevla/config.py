"""Configuration of BridgeVLA."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from vla3d.backbones.config import PaliGemmaBackboneConfig, check_parts
from vla3d.errors import ConfigError, unknown_name
from vla3d.policies.grounding.config import GraphRouteConfig
from vla3d.policies.heads.rotation import make_rotation_head
from vla3d.types import Workspace
from vla3d.views.view_set import ViewSet

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
PROPRIOCEPTION_DIM = 3
TABLETOP_CAMERAS = ("front", "left_shoulder", "right_shoulder", "wrist")


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """SE(3) augmentation of a training sample about its target.

    Attributes:
        translation: largest shift along x, y and z, as a share of the workspace's edge there.
        yaw_degrees: largest rotation about the vertical.
    """

    translation: tuple[float, float, float] = (0.125, 0.125, 0.125)
    yaw_degrees: float = 45.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "translation", tuple(self.translation))
        shares = len(self.translation) == 3 and all(0 <= share < 1 for share in self.translation)
        if not (shares and 0 <= self.yaw_degrees <= 180):
            raise ConfigError(
                f"policy.augmentation: got translation={self.translation} yaw_degrees={self.yaw_degrees}, "
                "expected three shares in [0, 1) and yaw_degrees in [0, 180]."
            )


@dataclass(frozen=True, kw_only=True)
class BridgeVLAConfig:
    """BridgeVLA (Li et al. 2025): what it sees, how it looks, what it answers.

    Attributes:
        workspace_low: lower corner of what is seen and acted on, world metres.
        workspace_high: upper corner.
        cameras: names of the cameras that are fused; each must be in every observation.
        views: virtual orthographic views.
        backbone: the vision-language model; its number of views and of proprioceptive inputs follow from this configuration.
        zoom: magnification of the second look.
        zoom_jitter: largest offset, in cube units, of the second look's centre during training.
        heatmap_sigma: standard deviation of the heatmap targets, pixels.
        footprint: radius in pixels of a splatted point.
        rotation: ``"6d"`` or ``"euler_bins"``.
        rotation_label_sigma: softening of binned rotation labels, bins.
        rotation_weight: weight of the rotation loss.
        head_width: channels of the heatmap head.
        head_layers: hidden layers of the heatmap head.
        action_width: hidden units of the rotation, gripper and collision head.
        proprioception: whether finger width and step fraction enter as a token.
        frozen: parts of the backbone that never train (``vla3d.backbones.config.PARTS``). BridgeVLA freezes the vision tower
            and the embeddings.
        augmentation: see ``AugmentationConfig``.
        graph: whether and how the scene graph of what is seen takes part, see ``GraphRouteConfig``.
        answers: whether it can answer that what a sentence asks for is absent. Train it with ``demos.answers=true``.
        absent_threshold: probability above which it does.
    """

    workspace_low: tuple[float, float, float]
    workspace_high: tuple[float, float, float]
    cameras: tuple[str, ...] = TABLETOP_CAMERAS
    views: tuple[str, ...] = ("top", "front", "right")
    backbone: PaliGemmaBackboneConfig = field(default_factory=PaliGemmaBackboneConfig)
    zoom: float = 4.0
    zoom_jitter: float = 0.1
    heatmap_sigma: float = 1.5
    footprint: int = 1
    rotation: str = "6d"
    rotation_label_sigma: float = 0.0
    rotation_weight: float = 1.0
    head_width: int = 64
    head_layers: int = 2
    action_width: int = 256
    proprioception: bool = True
    frozen: tuple[str, ...] = ()
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    graph: GraphRouteConfig = field(default_factory=GraphRouteConfig)
    answers: bool = False
    absent_threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("cameras", "views"):
            if not getattr(self, name):
                raise ConfigError(f"policy.{name}: got an empty list, expected at least one name.")
        for name in ("zoom", "heatmap_sigma"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"policy.{name}: got {getattr(self, name)}, expected a positive number.")
        for name in ("head_width", "action_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"policy.{name}: got {getattr(self, name)}, expected at least 1.")
        for name in ("zoom_jitter", "footprint", "rotation_label_sigma", "head_layers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"policy.{name}: got {getattr(self, name)}, expected zero or more.")
        if not isinstance(self.answers, bool):
            raise ConfigError(f"policy.answers: got {self.answers!r}, expected true or false.")
        if not 0 <= self.absent_threshold <= 1:
            raise ConfigError(f"policy.absent_threshold: got {self.absent_threshold}, expected a probability.")
        check_parts(self.frozen)
        ViewSet.from_names(self.views)
        make_rotation_head(self.rotation)
        check_workspace(self.workspace_low, self.workspace_high)
        fitted = replace(self.backbone, num_views=len(self.views), proprio_dim=PROPRIOCEPTION_DIM if self.proprioception else 0)
        object.__setattr__(self, "backbone", fitted)

    @property
    def workspace(self) -> Workspace:
        """The workspace as a box."""
        return Workspace.from_bounds(self.workspace_low, self.workspace_high)

    def to_dict(self) -> dict[str, Any]:
        """Plain, JSON-able form. What is off is left out: it leaves no trace in a policy."""
        values = asdict(self)
        if not self.graph.enabled:
            del values["graph"]
        if not self.answers:
            del values["answers"], values["absent_threshold"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BridgeVLAConfig":
        """Build from the plain form, see `from_plain`."""
        return from_plain(cls, values)


def from_plain(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A policy's configuration from its plain form (lists become tuples, sections become their dataclasses).

    Raises:
        ConfigError: for unknown keys or invalid values.
    """
    known = [field.name for field in fields(cls)]
    for key in values:
        if key not in known:
            raise unknown_name("policy setting", key, known)
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        for name, section in _SECTIONS.items():
            if isinstance(plain.get(name), dict):
                plain[name] = section(**plain[name])
        return cls(**plain)
    except TypeError as error:
        raise ConfigError(f"policy: {error}") from error


_SECTIONS: dict[str, type] = {
    "augmentation": AugmentationConfig,
    "backbone": PaliGemmaBackboneConfig,
    "graph": GraphRouteConfig,
}


def check_workspace(low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Refuse corners that are no box.

    Raises:
        ConfigError: naming them.
    """
    try:
        Workspace.from_bounds(low, high)
    except ValueError as error:
        raise ConfigError(f"policy.{error}") from error
