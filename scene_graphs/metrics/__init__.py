"""Measures of grounding, of predicted graphs, of captions and answers. Each function says what exactly it computes."""
