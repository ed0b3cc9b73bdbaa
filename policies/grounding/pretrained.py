"""A grounder that begins with what scene-graph pre-training learned."""

from pathlib import Path

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import CheckpointError
from vla3d.policies.grounding.config import Scoring
from vla3d.policies.grounding.grounder import Grounder
from vla3d.policies.learned import read_weights
from vla3d.scene_graphs.encoder.files import WEIGHTS_FILE, read_encoder_config

_ENCODER = {"encoder.": "encoder."}
_FUSED = {"temperatures.sentence_object.": "scoring.temperature."}


def pretrained_grounder(directory: Path | str, scoring: Scoring = "composed") -> Grounder:
    """A grounder with the encoder and the tokenizer of a folder that ``vla3d pretrain`` wrote.

    Fused scoring begins with its temperature too. What else scoring needs is new: pre-training neither composes phrases nor
    knows the answer "none of them".

    Raises:
        CheckpointError: the folder is missing, damaged, or holds something else.
    """
    folder = Path(directory)
    grounder = Grounder(read_encoder_config(folder), InstructionTokenizer.load(folder), scoring)
    path = folder / WEIGHTS_FILE
    stored = read_weights(path)
    weights = {
        own + key.removeprefix(theirs): value
        for theirs, own in (_ENCODER | (_FUSED if scoring == "fused" else {})).items()
        for key, value in stored.items()
        if key.startswith(theirs)
    }
    try:
        lacking, surplus = grounder.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"The weights {path} do not fit the configuration beside them: {error}") from error
    lacking = [name for name in lacking if not name.startswith("scoring.") or name.startswith(tuple(_FUSED.values()))]
    if lacking or surplus:
        raise CheckpointError(
            f"The weights {path} do not fit the configuration beside them: {len(lacking)} are missing and {len(surplus)} are "
            f"too many, the first is {(*lacking, *surplus)[0]!r}."
        )
    return grounder
