"""Output heads shared by policies."""
