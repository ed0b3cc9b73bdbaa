"""Readers of published sets of scenes and sentences. None of them is shipped: get them from their owners."""
