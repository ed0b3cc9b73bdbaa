"""BridgeVLA's 2025 release (Li et al. 2025): two looks through one network, in the release's own conventions.

Written from a description of what the official program does and from numbers that it computed
(`tests/policies/test_bridgevla_v1_golden.py`); no line of it is used.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from vla3d.backbones.base import TextBatch
from vla3d.backbones.paligemma import PaliGemmaBackbone
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.data.samples import KeyframeSample
from vla3d.errors import TrainingError
from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.bridgevla.augmentation import augment, crop, uniform
from vla3d.policies.bridgevla.base import Look, ViewPolicy
from vla3d.policies.bridgevla.prediction import Prediction
from vla3d.policies.bridgevla.processor import BridgeVLABatch, PreparedSample, collate_samples, prepare_sample
from vla3d.policies.bridgevla_v1.config import BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.heads import ActionHead, ActionLogits, action_features
from vla3d.policies.bridgevla_v1.processor import augmentation_reach
from vla3d.policies.bridgevla_v1.rotation import ROTATION_BINS, quaternion_to_rotation_bins, rotation_bins_to_quaternion
from vla3d.policies.heads.heatmap import ConvexUpsampling, heatmap_cross_entropy, heatmap_probabilities
from vla3d.policies.learned import WEIGHTS_FILE, load_weights
from vla3d.views.rvt2 import render_rvt2_views, rvt2_bytes, rvt2_colors
from vla3d.views.rvt2_heatmaps import lift_rvt2_heatmaps, project_to_rvt2_views, rvt2_heatmap_targets, rvt2_votes


class BridgeVLAV1(ViewPolicy):
    """Predicts the next keyframe from a fused cloud and a sentence, as the published weights expect it to be done.

    Args:
        config: what it sees and how.
        tokenizer: turns sentences into tokens; it travels with the weights. None only to look at the architecture.
        seed: of the initial weights.
    """

    name: ClassVar[str] = "bridgevla_v1"
    config: BridgeVLAV1Config

    def __init__(self, config: BridgeVLAV1Config, tokenizer: InstructionTokenizer | None, *, seed: int = 0) -> None:
        super().__init__()
        if tokenizer is not None:
            self.tokenizer = tokenizer
        dtype: torch.dtype = getattr(torch, config.backbone_dtype)
        self.backbone = PaliGemmaBackbone(config.backbone, tokenizer, seed=seed, dtype=dtype)
        self.config = replace(config, backbone=self.backbone.config)
        dim = self.backbone.dim
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            self.heatmap_head = ConvexUpsampling(dim, config.backbone.patch, config.head_width)
            self.action_head = ActionHead(dim, len(config.views), config.action_widths)
        self._keep_workspace(config.workspace)
        self.backbone.freeze(config.frozen)

    @classmethod
    def from_config(cls, values: Mapping[str, Any], *, sentences: Sequence[str], seed: int) -> Self:
        """A new policy: with ``pretrained``, that folder's weights and tokenizer; else a vocabulary learnt from the sentences.

        Raises:
            ConfigError: for unknown keys or values that do not fit.
            CheckpointError: ``pretrained`` cannot be read, or is of another size.
            InstructionError: a sentence is empty or too long to be read whole.
        """
        config = BridgeVLAV1Config.from_dict(values)
        folder = Path(config.pretrained)
        tokenizer = InstructionTokenizer.load(folder) if config.pretrained else InstructionTokenizer.train(sentences)
        policy = cls(replace(config, pretrained=""), tokenizer, seed=seed)
        policy.backbone.tokenize(sentences)  # refuses now what some later batch would stumble over
        if config.pretrained:
            load_weights(policy, folder / WEIGHTS_FILE)
        return policy

    @classmethod
    def check_config(cls, values: Mapping[str, Any]) -> None:
        """Refuse what `BridgeVLAV1Config` refuses."""
        BridgeVLAV1Config.from_dict(values)

    # Data

    def prepare(self, sample: KeyframeSample) -> PreparedSample:
        """Fuse, and crop to what the augmentation may bring into the workspace."""
        reach = augmentation_reach(self.config.workspace, self.config.augmentation)
        return prepare_sample(sample, self.config.cameras, reach)

    def collate(self, samples: Sequence[PreparedSample]) -> BridgeVLABatch:
        """Pad and stack; colours are rounded as in the release."""
        return collate_samples(samples, rvt2_colors)

    # Looking

    def look(self, points: Float[Tensor, "B N 3"], batch: BridgeVLABatch, text: TextBatch) -> Look:
        """Render a batch's clouds at other places, in [-1, 1]^3, and pass the views and the sentence to the model."""
        rendered = render_rvt2_views(points, batch.colors, batch.lengths, self.config.backbone.resolution)
        views = rvt2_bytes(rendered.rgb).float() / 255
        grid = self.backbone(views, text).grid.float()
        with self._full_precision():
            return Look(views=views, heatmap_logits=self.heatmap_head(grid), grid=grid)

    def act_at(
        self, grid: Float[Tensor, "B V gh gw D"], pixels: Float[Tensor, "B V 2"], given: Int64[Tensor, "B 2"] | None = None
    ) -> ActionLogits:
        """Rotation, gripper and collision flag for a place.

        Args:
            grid: view tokens.
            pixels: the place in each view.
            given: bins that the heads of y and z read; None takes the likeliest.
        """
        with self._full_precision():
            return self.action_head(action_features(grid, pixels / self.config.backbone.patch), given)

    def _full_precision(self) -> AbstractContextManager[Any]:
        """The heads compute in float32 whatever the model does."""
        return torch.autocast(self.low.device.type, enabled=False)

    def _project(self, points: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K V 2"]:
        return project_to_rvt2_views(points, self.config.backbone.resolution)

    # Differences before products, as in the release: a point on a pixel's border must fall to the same side.

    def _in_cube(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        center, scale = self._cube()
        return (points - center) * scale

    def _from_cube(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        center, scale = self._cube()
        return points / scale + center

    def _cube(self) -> tuple[Float[Tensor, "3"], float]:
        workspace = self.config.workspace
        return torch.from_numpy(workspace.center).to(self.low), 2.0 / float(workspace.extent.max())

    # Training

    def loss(self, batch: BridgeVLABatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of an augmented batch; ``"loss"`` is the mean of both heatmap losses plus all others.

        Raises:
            TrainingError: a batch of one, over which nothing can be normalised.
        """
        config = self.config
        if self.training and len(batch.position) < 2:
            raise TrainingError("Got a batch of 1 sample, expected at least 2 to normalise features over; raise batch_size.")
        text = self.backbone.tokenize(self._training_sentences(batch.sentences, generator))
        batch = crop(augment(batch, config.augmentation, self.low, self.high, generator), self.low, self.high)
        points, target = self._in_cube(batch.points), self._in_cube(batch.position)
        center = target + uniform(target.shape, config.zoom_jitter, generator).to(target.device)
        coarse = self.look(points, batch, text)
        fine = self.look((points - center[:, None]) * config.zoom, batch, text)
        pixels = self._pixels((target - center) * config.zoom)
        bins = quaternion_to_rotation_bins(batch.quaternion)
        at = pixels.clamp(0, config.backbone.resolution - 1)
        logits = self.act_at(fine.grid, at, self._given_bins(bins, generator))
        losses = {
            "heatmap_coarse": self._heatmap_loss(coarse, self._pixels(target)),
            "heatmap_fine": self._heatmap_loss(fine, pixels),
            **{f"rotation_{axis}": F.cross_entropy(logits.rotation[:, i], bins[:, i]) for i, axis in enumerate("xyz")},
            "gripper": F.cross_entropy(logits.gripper, batch.gripper_open.long()),
            "collisions": F.cross_entropy(logits.collisions, batch.ignore_collisions.long()),
        }
        weights = {"heatmap_coarse": 0.5, "heatmap_fine": 0.5}
        return losses | {"loss": torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()}

    def _heatmap_loss(self, look: Look, pixels: Float[Tensor, "B V 2"]) -> Tensor:
        targets = rvt2_heatmap_targets(pixels, self.config.backbone.resolution, self.config.heatmap_sigma)
        return heatmap_cross_entropy(look.heatmap_logits, targets).mean()

    def _given_bins(self, bins: Int64[Tensor, "B 3"], generator: torch.Generator) -> Int64[Tensor, "B 2"]:
        """The true bins of x and y, a little off, so that a wrong x at run time does not lead y and z astray."""
        most = self.config.rotation_noise
        if most == 0:
            return bins[:, :2]
        noise = torch.randint(-most, most, (len(bins), 2), generator=generator, device=generator.device)
        return (bins[:, :2] + noise.to(bins.device)) % ROTATION_BINS

    # Acting

    @torch.no_grad()
    def predict(self, batch: BridgeVLABatch, text: TextBatch) -> Prediction:
        """Both looks, the second centred where the first one pointed; points outside the workspace are not seen.

        The heatmaps are given as the lifting reads them, at the pixels' centres.
        """
        config = self.config
        batch = crop(batch, self.low, self.high)
        points = self._in_cube(batch.points)
        coarse = self.look(points, batch, text)
        coarse_heat = heatmap_probabilities(coarse.heatmap_logits)
        center, _ = lift_rvt2_heatmaps(coarse_heat)
        fine = self.look((points - center[:, None]) * config.zoom, batch, text)
        fine_heat = heatmap_probabilities(fine.heatmap_logits)
        place, _ = lift_rvt2_heatmaps(fine_heat)
        logits = self.act_at(fine.grid, self._pixels(place))
        to_cube = self._to_cube()
        zoomed = SimilarityTransform.about(center, config.zoom).compose(to_cube)
        return Prediction(
            position=self._from_cube(place / config.zoom + center).clamp(self.low, self.high),
            coarse_position=self._from_cube(center),
            quaternion=rotation_bins_to_quaternion(logits.rotation.argmax(dim=-1)),
            gripper_open=logits.gripper.argmax(dim=-1).bool(),
            ignore_collisions=logits.collisions.argmax(dim=-1).bool(),
            views=torch.stack([coarse.views, fine.views], dim=1),
            heatmaps=torch.stack([_at_pixel_centers(coarse_heat), _at_pixel_centers(fine_heat)], dim=1),
            pixel_maps=torch.stack([self._pixel_maps(transform, len(center)) for transform in (to_cube, zoomed)], dim=1),
        )

    # Keeping

    def architecture(self) -> dict[str, Any]:
        """The whole configuration less what leaves no trace in the weights' shapes or their input."""
        config = self.config.to_dict()
        for name in ("augmentation", "pretrained"):
            del config[name]
        return {"policy": self.name, **config}

    @classmethod
    def _load_parts(cls, directory: Path, config: Mapping[str, Any]) -> Self:
        return cls(BridgeVLAV1Config.from_dict(config), InstructionTokenizer.load(directory))


def _at_pixel_centers(heat: Float[Tensor, "B V R R"]) -> Float[Tensor, "B V R R"]:
    """Heat whose values lie at whole numbers, read half a pixel further, where images have their pixels' centres."""
    votes = rvt2_votes(heat)
    return votes / votes.sum((-2, -1), keepdim=True).clamp(min=torch.finfo(votes.dtype).tiny)
