"""Demonstrations of other programs turned into vla3d's own store: parallel, resumable, with a record of what was left out."""
