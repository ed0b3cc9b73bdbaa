"""Names of the release's weights in its checkpoints, and here.

They depend on the version of `transformers` that saved them. 4.51 has ``vision_tower.vision_model.*``,
``language_model.model.*`` and ``language_model.lm_head.*``; later versions put ``model.`` in front and move ``lm_head`` out;
5 drops ``vision_model``. A fine-tuned checkpoint has ``mvt1.`` before the heads and ``mvt1.model.`` before the vision-language
model; what was saved from a distributed model has ``module.`` before everything.
"""

import re

HEAD_NAMES = {
    "up0.net_out": "heatmap_head.logits",
    "up0.net_mask": "heatmap_head.mask",
    "feat_fc_ex_rot": "action_head.gripper_and_collisions",
    "feat_fc_init_bn": "action_head.normalization",
    "feat_fc_x": "action_head.rotation.0",
    "feat_fc_y": "action_head.rotation.1",
    "feat_fc_z": "action_head.rotation.2",
}
EMBEDDINGS = "backbone.model.language_model.embed_tokens.weight"
LM_HEAD = "lm_head.weight"
POSITIONAL_CODE = "feat_fc_pe.div_term"
TOWERS = ("vision_tower", "language_model", "multi_modal_projector")
_NEEDLESS = {
    re.compile(r"lm_head\.weight"): "the output layer for words: heatmaps are read from the hidden states below it",
    re.compile(r"feat_fc_pe\.div_term"): "the frequencies of the positional code: computed here, and compared",
    re.compile(r"vision_tower\.head\..*"): "SigLIP's pooling: every patch is read by itself",
    re.compile(r".*(position_ids|inv_freq|embed_scale)"): "computed from the configuration, not learned",
}


def bare_name(official: str) -> str:
    """A name without the prefixes that saving put before it.

    ``mvt1.model.language_model.model.norm.weight`` and ``model.language_model.norm.weight`` are both
    ``language_model.norm.weight``.
    """
    name = re.sub(r"^(module\.)+", "", official)
    name = re.sub(r"^(mvt1\.)?(model\.)*", "", name)
    name = re.sub(r"^language_model\.(model\.)?", "language_model.", name)
    name = name.replace("language_model.lm_head.", "lm_head.", 1)
    return re.sub(r"^vision_tower\.vision_model\.", "vision_tower.", name)


def our_name(official: str) -> str | None:
    """What the policy would call a weight; None when it has none of the kind."""
    name = bare_name(official)
    if name.partition(".")[0] in TOWERS:
        return f"backbone.model.{name}"
    for theirs, ours in HEAD_NAMES.items():
        if name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    return None


def reason_left_over(official: str) -> str | None:
    """Why a weight is not needed; None when nothing is known of it."""
    name = bare_name(official)
    return next((reason for pattern, reason in _NEEDLESS.items() if pattern.fullmatch(name)), None)
