"""Losses of scene-graph pre-training: contrast at several levels, and what was masked. Tensors only."""
