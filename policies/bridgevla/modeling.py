"""BridgeVLA (Li et al. 2025): both looks go through one network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vla3d.backbones.base import TextBatch
from vla3d.backbones.paligemma import PaliGemmaBackbone
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.bridgevla.augmentation import augment, crop, uniform
from vla3d.policies.bridgevla.base import Look, ViewPolicy
from vla3d.policies.bridgevla.config import BridgeVLAConfig
from vla3d.policies.bridgevla.prediction import Prediction
from vla3d.policies.bridgevla.processor import BridgeVLABatch
from vla3d.policies.heads.heatmap import ConvexUpsampling, heatmap_cross_entropy, heatmap_probabilities
from vla3d.policies.heads.rotation import make_rotation_head
from vla3d.views.heatmaps import heatmap_targets
from vla3d.views.lifting import lift_heatmaps
from vla3d.views.projection import project_to_views
from vla3d.views.splat import render_views
from vla3d.views.view_set import ViewSet


class BridgeVLA(ViewPolicy):
    """Predicts the next keyframe from a fused cloud and a sentence.

    The first look renders the whole workspace and finds where to act; the second renders the neighbourhood of that point,
    magnified, refines the point, and reads off rotation, gripper state and collision flag. Both share all weights.

    Args:
        config: what it sees and how.
        tokenizer: turns sentences into tokens; it travels with the weights.
        seed: of the initial weights.
    """

    name: ClassVar[str] = "bridgevla"
    config: BridgeVLAConfig

    def __init__(self, config: BridgeVLAConfig, tokenizer: InstructionTokenizer, *, seed: int = 0) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.backbone = PaliGemmaBackbone(config.backbone, tokenizer, seed=seed)
        self.config = replace(config, backbone=self.backbone.config)
        self.view_set = ViewSet.from_names(config.views)
        self.rotation = make_rotation_head(config.rotation, config.rotation_label_sigma)
        dim = self.backbone.dim
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            self.heatmap_head = ConvexUpsampling(dim, config.backbone.patch, config.head_width, config.head_layers)
            self.action_head = _action_head(2 * dim * len(config.views), config.action_width, self.rotation.num_outputs + 4)
        self.backbone.freeze(config.frozen)
        self._keep_workspace(config.workspace)

    @classmethod
    def from_config(cls, values: Mapping[str, Any], *, sentences: Sequence[str], seed: int) -> Self:
        """A new policy whose vocabulary is learnt from the sentences.

        Raises:
            ConfigError: for unknown keys or values that do not fit.
            InstructionError: a sentence is empty or too long to be read whole.
        """
        policy = cls(BridgeVLAConfig.from_dict(dict(values)), InstructionTokenizer.train(sentences), seed=seed)
        policy.backbone.tokenize(sentences)  # refuses now what some later batch would stumble over
        return policy

    @classmethod
    def check_config(cls, values: Mapping[str, Any]) -> None:
        """Refuse what `BridgeVLAConfig` refuses."""
        BridgeVLAConfig.from_dict(dict(values))

    # Looking

    def look(
        self,
        batch: BridgeVLABatch,
        to_view: SimilarityTransform,
        text: TextBatch,
    ) -> Look:
        """Render the clouds through ``to_view`` (world to [-1, 1]^3) and pass the views and the sentence to the model."""
        config = self.config
        rendered = render_views(
            to_view.apply(batch.points),
            batch.colors,
            batch.lengths,
            self.view_set,
            resolution=config.backbone.resolution,
            footprint=config.footprint,
        )
        proprio = batch.proprioception if config.proprioception else None
        grid = self.backbone(rendered.rgb, text, proprio).grid
        return Look(views=rendered.rgb, heatmap_logits=self.heatmap_head(grid), grid=grid)

    def _project(self, points: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K V 2"]:
        return project_to_views(points, self.view_set, self.config.backbone.resolution)

    def _action_outputs(
        self, grid: Float[Tensor, "B V gh gw D"], pixels: Float[Tensor, "B V 2"]
    ) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B 2"], Float[Tensor, "B 2"]]:
        """Rotation outputs, gripper logits and collision logits, read at a pixel of each view and over the whole views."""
        overall = grid.flatten(2, 3).amax(dim=2).flatten(1)
        local = sample_grid(grid, pixels / self.config.backbone.patch).flatten(1)
        outputs = self.action_head(torch.cat([overall, local], dim=-1))
        rotation = self.rotation.num_outputs
        return outputs[:, :rotation], outputs[:, rotation : rotation + 2], outputs[:, rotation + 2 :]

    # Training

    def loss(self, batch: BridgeVLABatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of an augmented batch (BridgeVLA, section 3.4); ``"loss"`` is their weighted sum."""
        text = self._training_text(batch.sentences, generator)
        batch = crop(augment(batch, self.config.augmentation, self.low, self.high, generator), self.low, self.high)
        to_cube = self._to_cube()
        target = to_cube.apply(batch.position)
        jitter = uniform(target.shape, self.config.zoom_jitter, generator).to(target.device)
        to_zoom = SimilarityTransform.about(target + jitter, self.config.zoom)
        coarse = self.look(batch, to_cube, text)
        fine = self.look(batch, to_zoom.compose(to_cube), text)
        fine_pixels = self._pixels(to_zoom.apply(target))
        rotation, gripper, collisions = self._action_outputs(fine.grid, fine_pixels)
        losses = {
            "heatmap_coarse": self._heatmap_loss(coarse, self._pixels(target)),
            "heatmap_fine": self._heatmap_loss(fine, fine_pixels),
            "rotation": self.rotation.loss(rotation, batch.quaternion).mean(),
            "gripper": F.cross_entropy(gripper, batch.gripper_open.long()),
            "collisions": F.cross_entropy(collisions, batch.ignore_collisions.long()),
        }
        weighted = losses | {"rotation": self.config.rotation_weight * losses["rotation"]}
        return losses | {"loss": torch.stack(list(weighted.values())).sum()}

    def _heatmap_loss(self, look: Look, pixels: Float[Tensor, "B V 2"]) -> Tensor:
        targets = heatmap_targets(pixels, self.config.backbone.resolution, self.config.heatmap_sigma)
        return heatmap_cross_entropy(look.heatmap_logits, targets).mean()

    # Acting

    @torch.no_grad()
    def predict(self, batch: BridgeVLABatch, text: TextBatch) -> Prediction:
        """Both looks, the second centred where the first one pointed."""
        to_cube = self._to_cube()
        coarse = self.look(batch, to_cube, text)
        coarse_heat = heatmap_probabilities(coarse.heatmap_logits)
        coarse_point, _ = lift_heatmaps(coarse_heat, self.view_set)
        to_zoom = SimilarityTransform.about(coarse_point, self.config.zoom)
        zoomed = to_zoom.compose(to_cube)
        fine = self.look(batch, zoomed, text)
        fine_heat = heatmap_probabilities(fine.heatmap_logits)
        fine_point, _ = lift_heatmaps(fine_heat, self.view_set, refine=True)
        rotation, gripper, collisions = self._action_outputs(fine.grid, self._pixels(fine_point))
        from_cube = to_cube.inverse()
        return Prediction(
            position=from_cube.apply(to_zoom.inverse().apply(fine_point)).clamp(self.low, self.high),
            coarse_position=from_cube.apply(coarse_point),
            quaternion=self.rotation.decode(rotation),
            gripper_open=gripper.argmax(dim=-1).bool(),
            ignore_collisions=collisions.argmax(dim=-1).bool(),
            views=torch.stack([coarse.views, fine.views], dim=1),
            heatmaps=torch.stack([coarse_heat, fine_heat], dim=1),
            pixel_maps=torch.stack([self._pixel_maps(transform, len(coarse_point)) for transform in (to_cube, zoomed)], dim=1),
        )

    # Keeping

    def architecture(self) -> dict[str, Any]:
        """The whole configuration less the augmentation, which leaves no trace in the weights' shapes or their input.

        Frozen parts do not either, but a run goes on only with those it began with: its optimiser knows no others.
        """
        config = self.config.to_dict()
        del config["augmentation"]
        if not config["frozen"]:
            del config["frozen"]
        return {"policy": self.name, **config}

    @classmethod
    def _load_parts(cls, directory: Path, config: Mapping[str, Any]) -> Self:
        return cls(BridgeVLAConfig.from_dict(dict(config)), InstructionTokenizer.load(directory))


def _action_head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


def sample_grid(grid: Float[Tensor, "B V gh gw D"], cells: Float[Tensor, "B V 2"]) -> Float[Tensor, "B V D"]:
    """Bilinear samples of a token grid at ``(x, y)`` in cells (cell centres at half-integers); the border is extended."""
    batch, views, height, width, dim = grid.shape
    maps = grid.reshape(batch * views, height, width, dim).permute(0, 3, 1, 2)
    size = torch.tensor([width, height], device=cells.device, dtype=cells.dtype)
    at = (2 * cells / size - 1).view(batch * views, 1, 1, 2).to(maps.dtype)
    sampled = F.grid_sample(maps, at, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.view(batch, views, dim)
