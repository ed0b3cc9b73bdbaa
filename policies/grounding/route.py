"""From scene graphs and sentences to what is added to a policy's image tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.geometry.transforms import SimilarityTransform
from vla3d.policies.grounding.config import GraphRouteConfig
from vla3d.policies.grounding.grounder import Grounder, Grounding
from vla3d.policies.grounding.pretrained import pretrained_grounder
from vla3d.policies.grounding.prior import PriorEmbedding, box_prior
from vla3d.policies.grounding.scenes import SeenScenes
from vla3d.views.view_set import ViewSet

GROUNDER_FOLDER = "grounder"
"""Within a policy's: the tokenizer of the grounder."""


class GraphRoute(nn.Module):
    """Grounds a sentence in a scene graph and draws the grounded boxes into the views.

    Args:
        grounder: says what is meant.
        views: the policy's cameras.
        resolution: side of its views, pixels.
        patch: side of its image patches, pixels.
        dim: width of its tokens.
    """

    def __init__(self, grounder: Grounder, views: ViewSet, *, resolution: int, patch: int, dim: int) -> None:
        super().__init__()
        self.grounder = grounder
        self.embedding = PriorEmbedding(dim, patch)
        self._views, self._resolution = views, resolution

    def logits(self, scenes: SeenScenes, sentences: Sequence[str] | None) -> Float[Tensor, "B S"]:
        """See `Grounder.forward`; None for sentences that must not be read."""
        return self.grounder(scenes, self.grounder.read(sentences, len(scenes.things)))

    def prior(self, scenes: SeenScenes, grounding: Grounding, to_view: SimilarityTransform) -> Float[Tensor, "B V R R"]:
        """How probable it is that a pixel shows what is meant."""
        with torch.autocast(scenes.things.device.type, enabled=False):
            return box_prior(scenes.boxes, grounding.things.float(), to_view, self._views, self._resolution)

    def hints(self, prior: Float[Tensor, "B V R R"]) -> Float[Tensor, "B V gh gw D"]:
        """What is added to the image tokens; see `vla3d.backbones.base.ViewBackbone.forward`."""
        tokens: Tensor = self.embedding(prior)
        return tokens


def new_grounder(config: GraphRouteConfig, tokenizer: InstructionTokenizer, seed: int) -> Grounder:
    """A grounder to train: pre-trained if the configuration names a folder, else fresh, with the policy's own tokenizer.

    Raises:
        CheckpointError: the folder cannot be read.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.pretrained:
            return pretrained_grounder(config.pretrained, config.scoring)
        return Grounder(config.encoder, tokenizer, config.scoring)
