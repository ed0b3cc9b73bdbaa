"""What every BridgeVLA shares: from observations to batches, and from predictions to answers."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from vla3d.backbones.base import TextBatch
from vla3d.backbones.paligemma import PaliGemmaBackbone
from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.data.samples import KeyframeSample
from vla3d.geometry.transforms import SimilarityTransform
from vla3d.geometry.workspace import workspace_to_cube
from vla3d.policies.base import Decision, PolicyExplanation
from vla3d.policies.bridgevla.prediction import Prediction, keyframe_metrics
from vla3d.policies.bridgevla.processor import (
    BridgeVLABatch,
    PreparedSample,
    collate_samples,
    observed_cloud,
    prepare_sample,
    proprioception,
    unlabelled_sample,
)
from vla3d.policies.learned import LearnedPolicy
from vla3d.types import KeyframeAction, Observation, Workspace


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """One pass over rendered views.

    Attributes:
        views: rendered RGB.
        heatmap_logits: one logit per pixel.
        grid: view tokens.
        prior: where grounded things stand, of a policy that reads scene graphs.
    """

    views: Float[Tensor, "B V 3 R R"]
    heatmap_logits: Float[Tensor, "B V R R"]
    grid: Float[Tensor, "B V gh gw D"]
    prior: Float[Tensor, "B V R R"] | None = None


class SceneConfig(Protocol):
    """What the configuration of such a policy says of the scene."""

    @property
    def cameras(self) -> tuple[str, ...]: ...

    @property
    def views(self) -> tuple[str, ...]: ...

    @property
    def workspace(self) -> Workspace: ...

    def to_dict(self) -> dict[str, Any]: ...


class ViewPolicy(LearnedPolicy):
    """A policy that fuses cameras, draws virtual views and reads them with a vision-language model; subclasses look and learn.

    Attributes:
        low: lower corner of the workspace, a buffer of shape (3,).
        high: upper corner.
    """

    name: ClassVar[str] = ""
    selection_metric: ClassVar[str] = "position_error_mm"
    config: SceneConfig
    tokenizer: InstructionTokenizer
    backbone: PaliGemmaBackbone
    low: Tensor
    high: Tensor
    _explanation: PolicyExplanation | None = None

    def frozen_first(self) -> Iterator[str]:
        """The vision-language model's own weights: with ``freeze_steps``, they wait until the new heads can read them."""
        return (f"backbone.{name}" for name in self.backbone.pretrained_names())

    @abstractmethod
    def predict(self, batch: BridgeVLABatch, text: TextBatch) -> Prediction:
        """The next keyframes of a batch of scenes, without gradients."""

    @abstractmethod
    def _project(self, points: Float[Tensor, "B K 3"]) -> Float[Tensor, "B K V 2"]:
        """Pixel coordinates in each view of points in [-1, 1]^3."""

    def _keep_workspace(self, workspace: Workspace) -> None:
        for name, corner in (("low", workspace.low), ("high", workspace.high)):
            self.register_buffer(name, torch.from_numpy(corner).float(), persistent=False)

    # Places

    def _to_cube(self) -> SimilarityTransform:
        return workspace_to_cube(self.config.workspace).to(self.low.device)

    def _pixels(self, points: Float[Tensor, "B 3"]) -> Float[Tensor, "B V 2"]:
        return self._project(points[:, None])[:, 0]

    def _pixel_maps(self, to_view: SimilarityTransform, batch: int) -> Float[Tensor, "B V 2 4"]:
        """The affine maps from the world to the pixels of each view, read off at the origin and one step along each axis."""
        corners = torch.cat([torch.eye(3), torch.zeros(1, 3)]).to(self.low.device).expand(batch, 4, 3)
        pixels = self._project(to_view.apply(corners))
        origin = pixels[:, 3:]
        return torch.cat([pixels[:, :3] - origin, origin], dim=1).permute(0, 2, 3, 1)

    # Data

    @property
    def required_cameras(self) -> tuple[str, ...]:
        """Cameras that are fused."""
        return self.config.cameras

    def prepare(self, sample: KeyframeSample) -> PreparedSample:
        """Fuse and crop."""
        return prepare_sample(sample, self.config.cameras, self.config.workspace)

    def collate(self, samples: Sequence[PreparedSample]) -> BridgeVLABatch:
        """Pad and stack."""
        return collate_samples(samples)

    def _training_sentences(self, sentences: Sequence[Sequence[str]], generator: torch.Generator) -> list[str]:
        """One of each sample's sentences, at random."""
        picks = torch.rand(len(sentences), generator=generator, device=generator.device).tolist()
        return [options[int(pick * len(options))] for options, pick in zip(sentences, picks, strict=True)]

    # Acting

    def metrics(self, batch: BridgeVLABatch) -> dict[str, float]:
        """Keyframe errors of ``predict`` on the recorded sentences: what a rollout would have done."""
        return keyframe_metrics(self.answer(batch, [options[0] for options in batch.sentences]), batch)

    @torch.no_grad()
    def answer(self, batch: BridgeVLABatch, sentences: Sequence[str] | None) -> Prediction:
        """What ``predict`` makes of scenes and sentences; None for sentences that must not be read."""
        text = self.backbone.blank(len(batch.points)) if sentences is None else self.backbone.tokenize(sentences)
        return self.predict(batch, text)

    def act(self, observation: Observation) -> KeyframeAction:
        """The next keyframe; with ``mask_text`` set, from the images alone."""
        (decision,) = self.decide([observation])
        self._explanation = decision.explanation
        return decision.action

    @torch.no_grad()
    def decide(self, observations: Sequence[Observation]) -> list[Decision]:
        """See ``LearnedPolicy.decide``; all observations in one batch."""
        batch = self.collate([self._observed(seen) for seen in observations]).to(self.low.device)
        prediction = self.answer(batch, None if self.mask_text else [seen.instruction for seen in observations])
        return [self._decided(prediction, row, seen) for row, seen in enumerate(observations)]

    def _observed(self, observation: Observation) -> PreparedSample:
        """What is read of an observation at run time."""
        cloud = observed_cloud(observation, self.config.cameras, self.config.workspace)
        return unlabelled_sample(*cloud, proprioception(observation))

    def _decided(self, prediction: Prediction, row: int, observation: Observation) -> Decision:
        """One row of a prediction as the answer to what was observed."""
        return prediction.decision(row, self.config.views)

    def explain(self) -> PolicyExplanation | None:
        """Views, heatmaps and points of both looks of the last ``act``."""
        return self._explanation

    # Keeping

    def _save_parts(self, directory: Path) -> dict[str, Any]:
        self.tokenizer.save(directory)
        return self.config.to_dict()
