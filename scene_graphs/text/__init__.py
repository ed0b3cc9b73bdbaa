"""Sentences about scene graphs: what they claim, their words, whether they are true, and sentences that are proved false."""
