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
from vla3d.data.samples import KeyframeSample
from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.base import Decision, terminal_answer
from vla3d.policies.bridgevla.answers import AbsenceHead, choice_loss, moving_mean
from vla3d.policies.bridgevla.augmentation import augment, crop, uniform
from vla3d.policies.bridgevla.base import Look, ViewPolicy
from vla3d.policies.bridgevla.config import BridgeVLAConfig
from vla3d.policies.bridgevla.prediction import Prediction, keyframe_metrics
from vla3d.policies.bridgevla.processor import BridgeVLABatch, PreparedSample
from vla3d.policies.grounding.controls import controlled
from vla3d.policies.grounding.grounder import Grounder, Grounding
from vla3d.policies.grounding.route import GROUNDER_FOLDER, GraphRoute, new_grounder
from vla3d.policies.grounding.scenes import SceneReader
from vla3d.policies.grounding.targets import grounding_accuracy, grounding_loss, target_slots
from vla3d.policies.grounding.triplets import prompt, vocabulary
from vla3d.policies.heads.heatmap import ConvexUpsampling, heatmap_cross_entropy, heatmap_probabilities
from vla3d.policies.heads.rotation import make_rotation_head
from vla3d.types import Expert, Observation
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
        grounder: says which thing a sentence means, where the configuration asks for a graph; None makes a new one.

    Raises:
        CheckpointError: the pre-trained grounder cannot be read.
    """

    name: ClassVar[str] = "bridgevla"
    config: BridgeVLAConfig
    _episode: tuple[int, Expert | None] = (0, None)

    def __init__(
        self, config: BridgeVLAConfig, tokenizer: InstructionTokenizer, *, seed: int = 0, grounder: Grounder | None = None
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.backbone = PaliGemmaBackbone(config.backbone, tokenizer, seed=seed)
        self.config = config = replace(config, backbone=self.backbone.config)
        self.view_set = ViewSet.from_names(config.views)
        self.rotation = make_rotation_head(config.rotation, config.rotation_label_sigma)
        dim = self.backbone.dim
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            self.heatmap_head = ConvexUpsampling(dim, config.backbone.patch, config.head_width, config.head_layers)
            self.action_head = _action_head(2 * dim * len(config.views), config.action_width, self.rotation.num_outputs + 4)
        self.backbone.freeze(config.frozen)
        self._keep_workspace(config.workspace)
        self._add_options(grounder, seed)

    def _add_options(self, grounder: Grounder | None, seed: int) -> None:
        """The parts that are off by default. Their seeds are their own: they leave the weights of the others as they were."""
        config, dim = self.config, self.backbone.dim
        self.route: GraphRoute | None = None
        self.absence_head: AbsenceHead | None = None
        if config.graph.enabled:
            grounder = grounder or new_grounder(config.graph, self.tokenizer, seed + 2)
            backbone = config.backbone
            self.route = GraphRoute(grounder, self.view_set, resolution=backbone.resolution, patch=backbone.patch, dim=dim)
            graph = replace(config.graph, pretrained="", encoder=grounder.encoder.config)
            self.config = replace(config, graph=graph)
            self._scenes = SceneReader(config.cameras, graph.encoder, triplets=graph.triplets > 0)
        if config.answers:
            with torch.random.fork_rng():
                torch.manual_seed(seed + 3)
                grounded = self.route is not None
                self.absence_head = AbsenceHead(len(config.views), dim, config.action_width, grounded=grounded)

    @classmethod
    def from_config(cls, values: Mapping[str, Any], *, sentences: Sequence[str], seed: int) -> Self:
        """A new policy whose vocabulary is learnt from the sentences.

        Raises:
            ConfigError: for unknown keys or values that do not fit.
            InstructionError: a sentence is empty or too long to be read whole.
        """
        config = BridgeVLAConfig.from_dict(dict(values))
        words = vocabulary() if config.graph.enabled and config.graph.triplets else ()
        policy = cls(config, InstructionTokenizer.train([*sentences, *words]), seed=seed)
        policy.backbone.tokenize(sentences)  # refuses now what some later batch would stumble over
        if policy.route is not None:
            policy.route.grounder.read(sentences, len(sentences))
        return policy

    @classmethod
    def check_config(cls, values: Mapping[str, Any]) -> None:
        """Refuse what `BridgeVLAConfig` refuses."""
        BridgeVLAConfig.from_dict(dict(values))

    @property
    def reads_graph(self) -> bool:
        """Whether the graph route is on."""
        return self.route is not None

    @property
    def terminal_answers(self) -> tuple[str, ...]:
        """``absent``, where it learned to say so."""
        return () if self.absence_head is None else ("absent",)

    # Data

    def prepare(self, sample: KeyframeSample) -> PreparedSample:
        """Fuse and crop; build the scene graph if it is read."""
        return self._with_scene(super().prepare(sample), sample.observation)

    def _observed(self, observation: Observation) -> PreparedSample:
        return self._with_scene(super()._observed(observation), observation)

    def _with_scene(self, prepared: PreparedSample, observation: Observation) -> PreparedSample:
        return prepared if self.route is None else replace(prepared, scene=self._scenes.read(observation))

    def _prompts(self, batch: BridgeVLABatch, sentences: Sequence[str], told: Sequence[bool]) -> list[str]:
        """Sentences, each with the relations that matter for it where they may be told."""
        most, scenes, budget = self.config.graph.triplets, batch.scenes, self.config.backbone.max_text_tokens
        if scenes is None or not most:
            return list(sentences)
        triplets = [mine if may else () for mine, may in zip(scenes.triplets, told, strict=True)]
        return [
            prompt(said, mine, most, lambda text: self.tokenizer.fits(text, budget))
            for said, mine in zip(sentences, triplets, strict=True)
        ]

    # Looking

    def look(
        self,
        batch: BridgeVLABatch,
        to_view: SimilarityTransform,
        text: TextBatch,
        grounding: Grounding | None = None,
    ) -> Look:
        """Render the clouds through ``to_view`` (world to [-1, 1]^3) and pass the views and the sentence to the model.

        With a grounding, what the sentence is taken to mean is drawn into the views' tokens.
        """
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
        prior = hints = None
        if grounding is not None:
            assert self.route is not None and batch.scenes is not None, "only a policy that reads graphs grounds anything"
            prior = self.route.prior(batch.scenes, grounding, to_view)
            hints = self.route.hints(prior)
        grid = self.backbone(rendered.rgb, text, proprio, hints).grid
        return Look(views=rendered.rgb, heatmap_logits=self.heatmap_head(grid), grid=grid, prior=prior)

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
        """Losses of an augmented batch (BridgeVLA, section 3.4); ``"loss"`` is their weighted sum.

        Of a policy that can answer "absent", samples to which that is the right response count in ``absence`` and, as "none of
        them", in ``grounding``, and nowhere else.
        """
        sentences = self._training_sentences(batch.sentences, generator)
        batch = crop(augment(batch, self.config.augmentation, self.low, self.high, generator), self.low, self.high)
        to_cube = self._to_cube()
        target = to_cube.apply(batch.position)
        jitter = uniform(target.shape, self.config.zoom_jitter, generator).to(target.device)
        to_zoom = SimilarityTransform.about(target + jitter, self.config.zoom)
        grounding, losses = self._grounding_loss(batch, sentences, generator)
        told = [True] * len(sentences) if grounding is None else (grounding.total > 0).tolist()
        text = self.backbone.tokenize(self._prompts(batch, sentences, told))
        coarse = self.look(batch, to_cube, text, grounding)
        fine = self.look(batch, to_zoom.compose(to_cube), text, grounding)
        fine_pixels = self._pixels(to_zoom.apply(target))
        rotation, gripper, collisions = self._action_outputs(fine.grid, fine_pixels)
        moving = None
        if self.absence_head is not None:
            moving = ~batch.absent
            absence = self.absence_head(coarse.grid, grounding)
            losses["absence"] = F.binary_cross_entropy_with_logits(absence, batch.absent.to(absence.dtype))
        losses |= {
            "heatmap_coarse": moving_mean(self._heatmap_loss(coarse, self._pixels(target)), moving),
            "heatmap_fine": moving_mean(self._heatmap_loss(fine, fine_pixels), moving),
            "rotation": moving_mean(self.rotation.loss(rotation, batch.quaternion), moving),
            "gripper": choice_loss(gripper, batch.gripper_open.long(), moving),
            "collisions": choice_loss(collisions, batch.ignore_collisions.long(), moving),
        }
        weights = {"rotation": self.config.rotation_weight, "grounding": self.config.graph.weight}
        weighted = {name: weights[name] * value if name in weights else value for name, value in losses.items()}
        return losses | {"loss": torch.stack(list(weighted.values())).sum()}

    def _grounding_loss(
        self, batch: BridgeVLABatch, sentences: Sequence[str], generator: torch.Generator
    ) -> tuple[Grounding | None, dict[str, Tensor]]:
        """What the sentences are taken to mean, as the looks are to see it, and the loss of that; nothing without a graph.

        The looks see the grounder's own answer, right or wrong, as they will at run time.
        """
        if self.route is None or batch.scenes is None:
            return None, {}
        config = self.config.graph
        logits = self.route.logits(batch.scenes, sentences)
        slots = target_slots(batch.scenes, batch.position, batch.absent, config.reach)
        luck = torch.rand(len(sentences), generator=generator, device=generator.device).to(logits.device)
        grounding = Grounding.of(logits).kept(luck >= config.dropout)
        return grounding if config.end_to_end else grounding.detached(), {"grounding": grounding_loss(logits, slots)}

    def _heatmap_loss(self, look: Look, pixels: Float[Tensor, "B V 2"]) -> Float[Tensor, " B"]:
        targets = heatmap_targets(pixels, self.config.backbone.resolution, self.config.heatmap_sigma)
        return heatmap_cross_entropy(look.heatmap_logits, targets)

    # Acting

    def reset(self, seed: int, expert: Expert | None = None) -> None:
        """Begin an episode; seed and expert matter only under ``graph_control``."""
        self._episode = (seed, expert)

    @torch.no_grad()
    def answer(self, batch: BridgeVLABatch, sentences: Sequence[str] | None) -> Prediction:
        """See `ViewPolicy.answer`; the sentences are grounded first, and ``graph_control`` is followed.

        Raises:
            ConfigError: ``graph_control`` needs an expert that ``reset`` was not given.
        """
        if self.route is None or batch.scenes is None:
            return super().answer(batch, sentences)
        seed, expert = self._episode
        grounding = controlled(
            self.graph_control,
            Grounding.of(self.route.logits(batch.scenes, sentences)),
            batch.scenes,
            seed=seed,
            expert=expert,
            reach=self.config.graph.reach,
        )
        if sentences is None:
            text = self.backbone.blank(len(batch.points))
        else:
            text = self.backbone.tokenize(self._prompts(batch, sentences, (grounding.total > 0).tolist()))
        return self.predict(batch, text, grounding)

    @torch.no_grad()
    def predict(self, batch: BridgeVLABatch, text: TextBatch, grounding: Grounding | None = None) -> Prediction:
        """Both looks, the second centred where the first one pointed.

        Args:
            batch: scenes.
            text: what is said in each.
            grounding: what that means, for a policy that reads graphs; without it nothing is drawn into the views.
        """
        to_cube = self._to_cube()
        coarse = self.look(batch, to_cube, text, grounding)
        coarse_heat = heatmap_probabilities(coarse.heatmap_logits)
        coarse_point, _ = lift_heatmaps(coarse_heat, self.view_set)
        to_zoom = SimilarityTransform.about(coarse_point, self.config.zoom)
        zoomed = to_zoom.compose(to_cube)
        fine = self.look(batch, zoomed, text, grounding)
        fine_heat = heatmap_probabilities(fine.heatmap_logits)
        fine_point, _ = lift_heatmaps(fine_heat, self.view_set, refine=True)
        rotation, gripper, collisions = self._action_outputs(fine.grid, self._pixels(fine_point))
        from_cube = to_cube.inverse()
        absence = None if self.absence_head is None else self.absence_head(coarse.grid, grounding).float().sigmoid()
        priors = None if coarse.prior is None or fine.prior is None else torch.stack([coarse.prior, fine.prior], dim=1)
        return Prediction(
            position=from_cube.apply(to_zoom.inverse().apply(fine_point)).clamp(self.low, self.high),
            coarse_position=from_cube.apply(coarse_point),
            quaternion=self.rotation.decode(rotation),
            gripper_open=gripper.argmax(dim=-1).bool(),
            ignore_collisions=collisions.argmax(dim=-1).bool(),
            views=torch.stack([coarse.views, fine.views], dim=1),
            heatmaps=torch.stack([coarse_heat, fine_heat], dim=1),
            pixel_maps=torch.stack([self._pixel_maps(transform, len(coarse_point)) for transform in (to_cube, zoomed)], dim=1),
            absence=absence,
            grounding=grounding,
            priors=priors,
        )

    def _decided(self, prediction: Prediction, row: int, observation: Observation) -> Decision:
        """The motion, or that what is asked for is absent."""
        decision = super()._decided(prediction, row, observation)
        if prediction.absence is None or float(prediction.absence[row]) <= self.config.absent_threshold:
            return decision
        return replace(decision, action=terminal_answer(observation, "absent"))

    def metrics(self, batch: BridgeVLABatch) -> dict[str, float]:
        """See `ViewPolicy.metrics`; also how often the right thing is grounded, and "absent" told from what is there."""
        prediction = self.answer(batch, [options[0] for options in batch.sentences])
        found = keyframe_metrics(prediction, batch)
        if prediction.absence is not None:
            right = (prediction.absence > self.config.absent_threshold) == batch.absent
            found["absence_accuracy"] = float(right.float().mean())
        if prediction.grounding is not None and batch.scenes is not None:
            slots = target_slots(batch.scenes, batch.position, batch.absent, self.config.graph.reach)
            accuracy = grounding_accuracy(prediction.grounding, slots)
            found |= {} if accuracy is None else {"grounding_accuracy": accuracy}
        return found

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

    def _save_parts(self, directory: Path) -> dict[str, Any]:
        if self.route is not None:
            folder = directory / GROUNDER_FOLDER
            folder.mkdir(exist_ok=True)
            self.route.grounder.tokenizer.save(folder)
        return super()._save_parts(directory)

    @classmethod
    def _load_parts(cls, directory: Path, config: Mapping[str, Any]) -> Self:
        read, tokenizer = BridgeVLAConfig.from_dict(dict(config)), InstructionTokenizer.load(directory)
        if not read.graph.enabled:
            return cls(read, tokenizer)
        words = InstructionTokenizer.load(directory / GROUNDER_FOLDER)
        return cls(read, tokenizer, grounder=Grounder(read.graph.encoder, words, read.graph.scoring))


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
