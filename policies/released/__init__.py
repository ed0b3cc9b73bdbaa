"""Policies that come with vla3d: a folder each, with weights, configuration, tokenizer and a model card."""

from importlib.resources import files
from pathlib import Path


def released_policies() -> dict[str, Path]:
    """The folders by name; each can be opened by ``load_policy(name)`` and ``vla3d rollout checkpoint=name``."""
    root = Path(str(files(__name__)))
    return {folder.parent.name: folder.parent for folder in sorted(root.glob("*/policy.json"))}
